// Offline messages (XEP-0160): keeps what comes for an account with nobody there, stamped with its time (XEP-0203), and
// hands it over, in order and once, to the first resource that comes. A message leaves the store when the client is known
// to have it. Not an archive.

import { defineModule, z } from "../../src/module.ts";
import { becomesReachable } from "./eligible.ts";
import { OfflineMessages } from "./offline-messages.ts";

export default defineModule({
  name: "offline",
  requires: ["presence"],
  options: z.strictObject({
    /** Messages kept for one account; more go back to their senders. */
    max_messages: z.number().int().positive().default(100),
  }),
  load(api, { max_messages }) {
    const messages = new OfflineMessages(api, max_messages);
    api.feature("msgoffline");
    api.hook("message/offline", (message) => messages.keep(message));
    // Before the presence counts: what comes meanwhile still finds nobody there and queues up behind what waits,
    // instead of overtaking it on the direct way.
    api.hook(
      "presence/sent",
      ({ session, stanza }) => (becomesReachable(session, stanza) ? messages.handOver(session) : undefined),
      "early",
    );
    // For what was on its way into the store at that moment.
    api.on("session/available", (session) => void messages.handOver(session));
    api.on("stanza/taken", (referred) => messages.settle(referred, true));
    api.on("stanza/left", (referred) => messages.settle(referred, false));
    api.on("server-alone", () => messages.onAlone());
    api.handover({
      version: 1,
      save: (sessions) => messages.save(sessions),
      load: (value) => messages.load(value),
    });
    api.on("account/removed", (account) => messages.forget(account));
    return () => messages.done();
  },
});
