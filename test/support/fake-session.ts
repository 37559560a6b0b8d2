// A session that writes down what it is given, for tests of everything behind c2s.

import type { Jid } from "../../src/jid/jid.ts";
import type { Session } from "../../src/server/session.ts";
import type { Stanza } from "../../src/stanza/stanza.ts";
import { jid, stanza } from "./stanzas.ts";

/** A recording session. */
export class FakeSession implements Session {
  readonly id: string;
  readonly jid: Jid;
  readonly account: Jid;
  readonly received: Stanza[] = [];
  presence: Stanza | undefined;
  priority = 0;
  open = true;

  constructor(full: string) {
    this.id = full;
    this.jid = jid(full);
    this.account = this.jid.bare;
  }

  setPresence(presence: Stanza | undefined): void {
    this.presence = presence;
    this.priority = Number(presence?.element.getChildText("priority") ?? 0);
  }

  /** Makes the session available with `priority`. */
  available(priority = 0): this {
    this.presence = stanza("presence", { from: this.jid.toString() });
    this.priority = priority;
    return this;
  }

  deliver(received: Stanza): void | Promise<void> {
    this.received.push(received);
    return undefined;
  }

  /** The texts received, for assertions that read well. */
  get texts(): string[] {
    return this.received.map((received) => received.text);
  }
}
