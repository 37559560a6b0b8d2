// Subscriptions as they happen (RFC 6121 §3): carries out what the table of subscription-state.ts says, on the roster
// first and then towards the contact or the user's clients.

import type { Jid } from "../../src/jid/jid.ts";
import type { ModuleApi, Roster, RosterItem, Session } from "../../src/module.ts";
import type { Stanza } from "../../src/stanza/stanza.ts";
import { StanzaError } from "../../src/stanza/stanza-error.ts";
import type { Broadcaster } from "./broadcaster.ts";
import { seesUser } from "./broadcaster.ts";
import { availableSessions, barePresence, Outbox, sendCurrent } from "./outbox.ts";
import { keptRequest } from "./pending-request.ts";
import { inbound, inState, outbound, type State, type SubscriptionType, stateOf } from "./subscription-state.ts";

/** How much of it one account may have. */
export interface SubscriptionLimits {
  /** Contacts on the roster. */
  readonly maxContacts: number;
  /** Requests of strangers that wait for an answer. */
  readonly maxRequests: number;
}

/** Carries out subscription stanzas. */
export class Subscriptions {
  #api: ModuleApi;
  #broadcaster: Broadcaster;
  #limits: SubscriptionLimits;
  /** The sessions that asked for the roster: they are told of subscriptions that came about or ended (§2.2, §3). */
  #interested = new WeakSet<Session>();

  constructor(api: ModuleApi, broadcaster: Broadcaster, limits: SubscriptionLimits) {
    this.#api = api;
    this.#broadcaster = broadcaster;
    this.#limits = limits;
  }

  /** Notes that a session asked for the roster. */
  addInterested(session: Session): void {
    this.#interested.add(session);
  }

  isInterested(session: Session): boolean {
    return this.#interested.has(session);
  }

  /** Carries out what the user sent (§3.1.2, §3.2.2, §3.3.2, §3.4.2); an error is for the user. */
  async sent(account: Jid, contact: Jid, type: SubscriptionType, stanza: Stanza): Promise<StanzaError | undefined> {
    // A user always sees himself.
    if (contact.equals(account)) return undefined;
    let before: State = "none";
    let isFull = false;
    await this.#api.rosters.update(account, contact.toString(), (item, roster) => {
      before = stateOf(item);
      const next = itemAfterSent(item, contact, type);
      const isNew = next !== undefined && (item === undefined || item.hidden === true) && next !== "remove";
      isFull = isNew && countShown(roster) >= this.#limits.maxContacts;
      return isFull ? undefined : next;
    });
    if (isFull) return new StanzaError("resource-constraint", "the roster is full");
    const { pass, next } = outbound(type, before);
    if (!pass) return undefined;
    const outbox = new Outbox(this.#api);
    if (type === "unsubscribed" && before !== next && isSeen(before)) {
      this.#broadcaster.withdraw(account, contact, outbox);
    }
    await this.#api.route(stanza.readdressed(account, contact));
    // §3.1.5: the contact's presence follows the approval; before it, it would be from a stranger.
    if (type === "subscribed") sendCurrent(this.#api, account, contact, outbox);
    await outbox.sent();
    return undefined;
  }

  /** Carries out what the contact sent (§3.1.3, §3.1.6, §3.2.3, §3.3.3); an error is for the contact. */
  async received(account: Jid, type: SubscriptionType, stanza: Stanza): Promise<StanzaError | undefined> {
    const contact = stanza.from.bare;
    if (contact.equals(account)) return undefined;
    let before: State = "none";
    let isApproved = false;
    let isFull = false;
    const outbox = new Outbox(this.#api);
    const tellInterested = (): void => {
      for (const session of this.#api.sessionsOf(account)) {
        if (this.#interested.has(session)) outbox.deliver(session, stanza.readdressed(contact, account));
      }
    };
    await this.#api.rosters.update(
      account,
      contact.toString(),
      (item, roster) => {
        before = stateOf(item);
        isApproved = type === "subscribe" && (item?.approved === true || isSeen(before));
        const next = itemAfterReceived(item, contact, type, stanza);
        isFull =
          next !== undefined &&
          item === undefined &&
          roster.items.size - countShown(roster) >= this.#limits.maxRequests;
        return isFull ? undefined : next;
      },
      type === "subscribe" ? undefined : tellInterested,
    );
    if (isFull) return new StanzaError("resource-constraint", "too many requests wait for an answer");
    if (isApproved) await this.#approve(account, contact, outbox);
    else if (type === "subscribe" && inbound(type, before).pass) {
      for (const session of availableSessions(this.#api, account)) {
        outbox.deliver(session, stanza.readdressed(contact, account));
      }
    } else if (type === "unsubscribe" && isSeen(before)) this.#broadcaster.withdraw(account, contact, outbox);
    await outbox.sent();
    return undefined;
  }

  /** Tells a contact that was removed, and saw the user, that each of his resources is gone (§2.5.2, §3.2.1). */
  removed(account: Jid, contact: Jid): void {
    const outbox = new Outbox(this.#api);
    this.#broadcaster.withdraw(account, contact, outbox);
    outbox.sent()?.catch((thrown: unknown) => this.#api.log.warn({ err: thrown }, "presence was not delivered"));
  }

  /** Answers a request for the user: it is approved already (§3.1.3 rule 2, §3.4.2). */
  async #approve(account: Jid, contact: Jid, outbox: Outbox): Promise<void> {
    await this.#api.route(barePresence("subscribed", account, contact));
    sendCurrent(this.#api, account, contact, outbox);
  }
}

/** Tells whether the contact sees the user's presence in `state`. */
function isSeen(state: State): boolean {
  return state === "from" || state === "from+out" || state === "both";
}

function countShown(roster: Roster): number {
  let count = 0;
  for (const item of roster.items.values()) if (item.hidden !== true) count++;
  return count;
}

function itemAfterSent(
  item: RosterItem | undefined,
  contact: Jid,
  type: SubscriptionType,
): RosterItem | "remove" | undefined {
  const state = stateOf(item);
  const { next, pass } = outbound(type, state);
  const known = item ?? { jid: contact.toString(), groups: [], subscription: "none" };
  // §3.4.2: an approval that nobody asked for yet is kept for when somebody does.
  if (type === "subscribed" && !pass && !seesUser(known))
    return known.approved ? undefined : { ...known, approved: true };
  if (type === "unsubscribed" && known.approved) {
    const { approved: _approved, ...rest } = known;
    return moved(rest, next);
  }
  return next === state ? undefined : moved(known, next);
}

function itemAfterReceived(
  item: RosterItem | undefined,
  contact: Jid,
  type: SubscriptionType,
  stanza: Stanza,
): RosterItem | "remove" | undefined {
  const state = stateOf(item);
  const { next } = inbound(type, state);
  if (next === state) return undefined;
  if (type === "subscribe") {
    if (item?.approved) {
      // §3.4: an approval given ahead is for one request.
      const { approved: _approved, ...rest } = item;
      return moved(rest, outbound("subscribed", next).next);
    }
    const known = item ?? { jid: contact.toString(), groups: [], subscription: "none", hidden: true };
    return inState(known, next, keptRequest(stanza));
  }
  return item === undefined ? undefined : moved(item, next);
}

/** Returns the item in its new state; one that existed only for a request ends with it, or becomes a contact. */
function moved(item: RosterItem, next: State): RosterItem | "remove" {
  if (item.hidden !== true || next === "none+in") return inState(item, next, item.pendingIn);
  if (next === "none") return "remove";
  const { hidden: _hidden, ...shown } = item;
  return inState(shown, next, item.pendingIn);
}
