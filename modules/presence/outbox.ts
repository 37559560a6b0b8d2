// Sending to many at once: hands stanzas over one after the other without letting one slow recipient hold up the rest,
// and tells when other servers' queues have taken theirs.

import type { Jid } from "../../src/jid/jid.ts";
import type { ModuleApi, Session } from "../../src/module.ts";
import { Stanza } from "../../src/stanza/stanza.ts";
import { xml } from "../../src/xml/element.ts";
import type { Farewell } from "./ledger.ts";

/** What one broadcast sends. */
export class Outbox {
  #api: ModuleApi;
  #waits: Promise<void>[] = [];

  constructor(api: ModuleApi) {
    this.#api = api;
  }

  /** Routes `stanza` to its addressee, as part of a `farewell` if it is a goodbye. */
  send(stanza: Stanza, farewell?: Farewell): void {
    const wait = farewell === undefined ? this.#api.route(stanza) : this.#api.route(stanza, farewell.expect());
    if (wait === undefined) return;
    // A local client that reads slowly is ended by its own bounds. Waiting for it would let it hold up the goodbye of
    // everybody who has it as a contact.
    if (stanza.to !== undefined && this.#api.isLocal(stanza.to)) this.#watch(wait);
    else this.#waits.push(wait);
  }

  /** Hands `stanza` to a session of this server. */
  deliver(session: Session, stanza: Stanza): void {
    if (!session.open) return;
    const wait = session.deliver(stanza);
    if (wait !== undefined) this.#watch(wait);
  }

  /** Resolves when everything for other servers has been taken over; undefined when it has been already. */
  sent(): undefined | Promise<void> {
    return this.#waits.length === 0 ? undefined : Promise.all(this.#waits).then(() => undefined);
  }

  #watch(wait: Promise<void>): void {
    wait.catch((thrown: unknown) => this.#api.log.warn({ err: thrown }, "presence was not delivered"));
  }
}

/** Builds a presence stanza without content. */
export function barePresence(type: string, from: Jid, to: Jid): Stanza {
  return new Stanza(xml("presence", { type, from: from.toString(), to: to.toString() }), from, to);
}

/** Returns the sessions of `account` that are available and can take stanzas. */
export function availableSessions(api: ModuleApi, account: Jid): readonly Session[] {
  return api.sessionsOf(account).filter((session) => session.open && session.presence !== undefined);
}

/** Sends `to` the presence that each available session of `account` last broadcast. */
export function sendCurrent(api: ModuleApi, account: Jid, to: Jid, outbox: Outbox): number {
  let count = 0;
  for (const { jid, presence } of availableSessions(api, account)) {
    if (presence === undefined) continue;
    outbox.send(presence.readdressed(jid, to));
    count++;
  }
  return count;
}
