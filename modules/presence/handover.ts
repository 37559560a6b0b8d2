// What the presence module knows of a session besides its presence, as a value that another process takes over: whom the
// session sent directed presence to, and whether it asked for its roster.

import { Jid } from "../../src/jid/jid.ts";
import { type Handover, type ModuleApi, type Session, z } from "../../src/module.ts";
import type { Broadcaster } from "./broadcaster.ts";
import type { Subscriptions } from "./subscriptions.ts";

const address = z.string().transform((text, context): Jid => {
  const jid = Jid.parse(text);
  if (jid !== undefined) return jid;
  context.addIssue({ code: "custom", message: "expected an address" });
  return z.NEVER;
});

const states = z.array(z.strictObject({ jid: address, directed: z.array(address), interested: z.boolean() }));

/** Returns how the module hands over what it holds. */
export function presenceHandover(api: ModuleApi, broadcaster: Broadcaster, subscriptions: Subscriptions): Handover {
  const describe = (session: Session): z.input<typeof states>[number] => ({
    jid: session.jid.toString(),
    directed: broadcaster.directedOf(session).map((jid) => jid.toString()),
    interested: subscriptions.isInterested(session),
  });
  return {
    version: 1,
    save: (sessions) => Array.from(sessions, describe),
    load: (value) => {
      for (const { jid, directed, interested } of states.parse(value)) {
        const session = api.session(jid);
        // One that could not be taken over has ended, and whoever ended it saw to that.
        if (session === undefined) continue;
        broadcaster.restore(session, directed);
        if (interested) subscriptions.addInterested(session);
      }
    },
  };
}
