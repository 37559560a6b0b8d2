// The presence of a session to all who may see it (RFC 6121 §4): its first, its changes and its end, with the probes
// that the first one sends. Directed presence is noted here too (§4.6), because its end is the same goodbye.

import { Jid } from "../../src/jid/jid.ts";
import type { ModuleApi, Roster, RosterItem, Session } from "../../src/module.ts";
import { Stanza } from "../../src/stanza/stanza.ts";
import { xml } from "../../src/xml/element.ts";
import type { Farewell, Ledger } from "./ledger.ts";
import { availableSessions, barePresence, Outbox } from "./outbox.ts";
import { pendingRequest } from "./pending-request.ts";

/** What is known of a session beyond its presence. */
interface Standing {
  /** Who got directed presence and was not told of its end, by JID. */
  readonly directed: Map<string, Jid>;
  /** Counts the broadcasts: one that had to wait stops when a later one has begun. */
  turn: number;
  /** It was said goodbye to until its client is back after a start. */
  hasParted: boolean;
}

/** Broadcasts presence for sessions. */
export class Broadcaster {
  #api: ModuleApi;
  #ledger: Ledger;
  #maxDirected: number;
  #standings = new WeakMap<Session, Standing>();

  constructor(api: ModuleApi, ledger: Ledger, maxDirected: number) {
    this.#api = api;
    this.#ledger = ledger;
    this.#maxDirected = maxDirected;
  }

  /**
   * Broadcasts available presence (§4.2.2, §4.4.2); a session's first, and one that comes `again` after a start, also asks
   * for that of its contacts (§4.3.1).
   */
  async available(session: Session, presence: Stanza, again = false): Promise<void> {
    const isInitial = again || session.presence === undefined;
    session.setPresence(presence);
    this.#ledger.told(session.jid);
    const standing = this.#standing(session);
    const turn = ++standing.turn;
    const roster = await this.#api.rosters.load(session.account);
    // Meanwhile the session may have ended: presence after its goodbye would leave a ghost.
    if (standing.turn !== turn) return;
    const outbox = new Outbox(this.#api);
    for (const own of availableSessions(this.#api, session.account)) {
      outbox.deliver(own, presence.readdressed(session.jid, own.jid));
    }
    for (const item of roster.items.values()) {
      if (!seesUser(item)) continue;
      const contact = contactOf(item);
      if (this.isReachable(contact)) outbox.send(presence.readdressed(session.jid, contact));
    }
    if (isInitial) await this.#welcome(session, roster, outbox, () => standing.turn === turn);
    await outbox.sent();
  }

  /** Broadcasts the client's own unavailable presence (§4.5.2). */
  unavailable(session: Session, presence: Stanza): Promise<void> | undefined {
    return this.#goodbye(session, presence, true);
  }

  /** Broadcasts unavailable presence on behalf of a session that ends (§4.5.2), with `reason` as its status. */
  ended(session: Session, reason: string): Promise<void> | undefined {
    const status = reason === "" ? undefined : xml("status", {}, reason);
    const element = xml("presence", { type: "unavailable", from: session.jid.toString() }, status);
    return this.#goodbye(session, new Stanza(element, session.jid, undefined), false);
  }

  /**
   * The server stops, and the session may go on after the next start: says goodbye until then. Answers `end` when there is
   * directed presence, because nobody but the client can enter a room again.
   */
  parting(session: Session, reason: string): "end" | Promise<undefined> | undefined {
    const standing = this.#standing(session);
    if (standing.directed.size > 0) return "end";
    standing.hasParted = true;
    return this.ended(session, reason)?.then(() => undefined);
  }

  /** Tells whether contacts are not to hear of the session any more, although it is open. */
  hasParted(session: Session): boolean {
    return this.#standings.get(session)?.hasParted === true;
  }

  /**
   * Returns the sessions of `account` that hear when somebody goes: those that have parted as well, because their clients, once
   * they are back, believe what they heard last.
   */
  hearersOfGoodbyes(account: Jid): readonly Session[] {
    return this.#api
      .sessionsOf(account)
      .filter((session) => session.open && (session.presence !== undefined || this.hasParted(session)));
  }

  /**
   * Sends directed presence and takes note of it (§4.6.3). Answers `refused`, and sends nothing, when the session has
   * directed presence to too many already.
   */
  direct(session: Session, presence: Stanza, to: Jid): "refused" | void | Promise<void> {
    const { directed } = this.#standing(session);
    const name = to.toString();
    if (presence.type === "unavailable") {
      directed.delete(name);
      const farewell = this.#ledger.farewell(session.jid, to);
      const wait = this.#api.route(presence, farewell.expect());
      farewell.end();
      return wait;
    }
    if (directed.size >= this.#maxDirected && !directed.has(name)) return "refused";
    directed.set(name, to);
    this.#ledger.told(session.jid, to);
    return this.#api.route(presence);
  }

  /** Whom the session sent directed presence to that has not been taken back. */
  directedOf(session: Session): readonly Jid[] {
    return [...(this.#standings.get(session)?.directed.values() ?? [])];
  }

  /** Takes note of a session that goes on here, and of what `directedOf` returned in another process. */
  restore(session: Session, directed: readonly Jid[]): void {
    const standing = this.#standing(session);
    if (session.presence !== undefined) this.#ledger.told(session.jid);
    for (const jid of directed) {
      standing.directed.set(jid.toString(), jid);
      this.#ledger.told(session.jid, jid);
    }
  }

  /** Tells `contact` that every available session of `account` is gone: it will not be told any more (§3.2.1, §3.3.3). */
  withdraw(account: Jid, contact: Jid, outbox: Outbox): void {
    for (const session of this.#api.sessionsOf(account)) {
      if (session.presence !== undefined) {
        const farewell = this.#ledger.withdrawal(session.jid, contact);
        outbox.send(barePresence("unavailable", session.jid, contact), farewell);
        farewell.end();
      }
      const directed = this.#standings.get(session)?.directed ?? new Map<string, Jid>();
      for (const [name, target] of directed) {
        if (session.presence === undefined || !target.bare.equals(contact)) continue;
        directed.delete(name);
        // The stanza to its account is one to it as well.
        this.#ledger.farewell(session.jid, target).end();
      }
    }
  }

  #goodbye(session: Session, presence: Stanza, toItself: boolean): Promise<void> | undefined {
    const standing = this.#standing(session);
    const wasAvailable = session.presence !== undefined;
    if (!wasAvailable && standing.directed.size === 0) return undefined;
    const directed = [...standing.directed.values()];
    const own = wasAvailable ? this.hearersOfGoodbyes(session.account) : [];
    standing.directed.clear();
    standing.turn++;
    const farewell = wasAvailable ? this.#ledger.farewell(session.jid) : undefined;
    session.setPresence(undefined);
    const outbox = new Outbox(this.#api);
    for (const other of own) {
      if (other !== session || toItself) outbox.deliver(other, presence.readdressed(session.jid, other.jid));
    }
    // At a restart the user's other resources may be another process's by now.
    if (wasAvailable && !this.#api.isLocal(session.jid))
      outbox.send(presence.readdressed(session.jid, session.account), farewell);
    return this.#tellContacts(session, presence, { farewell, directed, outbox });
  }

  async #tellContacts(
    session: Session,
    presence: Stanza,
    {
      farewell,
      directed,
      outbox,
    }: { readonly farewell: Farewell | undefined; readonly directed: readonly Jid[]; readonly outbox: Outbox },
  ): Promise<void> {
    let roster: Roster | undefined;
    try {
      if (farewell !== undefined) roster = await this.#api.rosters.load(session.account);
    } finally {
      // Also when the roster cannot be read: those who got directed presence are known without it.
      for (const item of roster?.items.values() ?? []) {
        if (!seesUser(item)) continue;
        const contact = contactOf(item);
        if (this.isReachable(contact)) outbox.send(presence.readdressed(session.jid, contact), farewell);
      }
      for (const target of directed) {
        const isTold = roster !== undefined && this.#isCovered(session, roster, target);
        const own = this.#ledger.farewell(session.jid, target);
        if (!isTold) outbox.send(presence.readdressed(session.jid, target), own);
        own.end();
      }
      // Without a roster the ledger is all that remembers that contacts are owed a goodbye.
      if (roster !== undefined) farewell?.end();
    }
    await outbox.sent();
  }

  /** Tells whether `target` of directed presence has its unavailable presence from the broadcast. */
  #isCovered(session: Session, roster: Roster, target: Jid): boolean {
    const item = roster.items.get(target.bare.toString());
    const isOwn = target.bare.equals(session.account);
    if (!isOwn && (item === undefined || !seesUser(item))) return false;
    // A local resource that is not available gets nothing of what is sent to its account.
    return !(target.isFull && this.#api.isLocal(target)) || this.#api.session(target)?.presence !== undefined;
  }

  async #welcome(session: Session, roster: Roster, outbox: Outbox, isCurrent: () => boolean): Promise<void> {
    for (const other of availableSessions(this.#api, session.account)) {
      if (other !== session && other.presence !== undefined) {
        outbox.deliver(session, other.presence.readdressed(other.jid, session.jid));
      }
    }
    const local: Jid[] = [];
    for (const item of roster.items.values()) {
      if (item.pendingIn !== undefined) outbox.deliver(session, pendingRequest(item, contactOf(item), session.account));
      if (item.subscription !== "to" && item.subscription !== "both") continue;
      const contact = contactOf(item);
      if (!this.#api.isLocal(contact)) outbox.send(barePresence("probe", session.jid, contact));
      else if (availableSessions(this.#api, contact).length > 0) local.push(contact);
    }
    for (const contact of local) {
      await this.#showContact(session, contact, outbox);
      if (!isCurrent()) return;
    }
  }

  /** Answers for a local contact what a probe would ask. */
  async #showContact(session: Session, contact: Jid, outbox: Outbox): Promise<void> {
    const roster = await this.#api.rosters.load(contact);
    const item = roster.items.get(session.account.toString());
    if (item === undefined || !seesUser(item)) return;
    for (const { jid, presence } of availableSessions(this.#api, contact)) {
      if (presence !== undefined) outbox.deliver(session, presence.readdressed(jid, session.jid));
    }
  }

  /** False for a local account without a session: it would only be asked after to find nobody there. */
  isReachable(contact: Jid): boolean {
    return contact.local === "" || !this.#api.isLocal(contact) || this.#api.sessionsOf(contact).length > 0;
  }

  #standing(session: Session): Standing {
    let standing = this.#standings.get(session);
    if (standing === undefined) {
      standing = { directed: new Map(), turn: 0, hasParted: false };
      this.#standings.set(session, standing);
    }
    return standing;
  }
}

/** Tells whether the contact may see the user's presence. */
export function seesUser({ subscription }: RosterItem): boolean {
  return subscription === "from" || subscription === "both";
}

/** The contact's JID, without preparing again what was prepared before it was stored. */
export function contactOf({ jid }: RosterItem): Jid {
  const at = jid.indexOf("@");
  return at < 0 ? Jid.of("", jid) : Jid.of(jid.slice(0, at), jid.slice(at + 1));
}
