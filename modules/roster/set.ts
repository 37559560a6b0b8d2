// Changes of a roster by its owner (RFC 6121 §2.3 to §2.5): adding, updating and removing a contact, the last with the
// end of the subscriptions in both directions.

import type { Jid } from "../../src/jid/jid.ts";
import type { IqAnswer, IqRequest, ModuleApi, Roster, RosterItem, Session } from "../../src/module.ts";
import { Stanza } from "../../src/stanza/stanza.ts";
import { StanzaError } from "../../src/stanza/stanza-error.ts";
import { xml } from "../../src/xml/element.ts";
import { type RosterLimits, type RosterWish, readWish } from "./item.ts";

/** Carries out roster sets. */
export class RosterSets {
  #api: ModuleApi;
  #limits: RosterLimits;

  constructor(api: ModuleApi, limits: RosterLimits) {
    this.#api = api;
    this.#limits = limits;
  }

  /** Answers a roster set; the answer comes when the change is on disk. */
  set({ payload, session, target, asked }: IqRequest): IqAnswer | Promise<IqAnswer> | undefined {
    if (target !== "account" || !payload.is("query")) return undefined;
    // §2.3.3, rule 1: only the account's own resources.
    if (!session?.account.equals(asked)) return new StanzaError("forbidden");
    const wish = readWish(payload, this.#limits);
    if (wish instanceof StanzaError) return wish;
    if (wish.contact.equals(asked)) return new StanzaError("not-allowed", "an account is not on its own roster");
    return wish.isRemoval ? this.#remove(session, wish.contact) : this.#put(session, wish);
  }

  async #put(session: Session, { contact, name, groups }: RosterWish): Promise<IqAnswer> {
    const jid = contact.toString();
    let isFull = false;
    await this.#api.rosters.update(session.account, jid, (item, roster) => {
      isFull = (item === undefined || item.hidden === true) && countShown(roster) >= this.#limits.maxItems;
      if (isFull) return undefined;
      // What the client says of the subscription is ignored (§2.1.2.5): only presence changes that.
      const { name: _name, hidden: _hidden, ...kept } = item ?? { jid, groups, subscription: "none" };
      return { ...kept, groups, ...(name !== undefined && { name }) };
    });
    return isFull ? new StanzaError("resource-constraint", "the roster is full") : "empty";
  }

  async #remove(session: Session, contact: Jid): Promise<IqAnswer> {
    let removed: RosterItem | undefined;
    await this.#api.rosters.update(session.account, contact.toString(), (item) => {
      if (item === undefined || item.hidden === true) return undefined;
      removed = item;
      return "remove";
    });
    if (removed === undefined) return new StanzaError("item-not-found");
    await this.#endSubscriptions(session.account, contact, removed);
    return "empty";
  }

  /** §2.5.2: the contact learns that neither sees the other any more. */
  async #endSubscriptions(account: Jid, contact: Jid, item: RosterItem): Promise<void> {
    const { subscription } = item;
    const presence = (type: string): void | Promise<void> => {
      const attrs = { type, from: account.toString(), to: contact.toString() };
      return this.#api.route(new Stanza(xml("presence", attrs), account, contact));
    };
    if (subscription === "to" || subscription === "both" || item.ask) await presence("unsubscribe");
    // That each of the user's resources is gone, which the contact is told before this (§3.2.1), is modules/presence.
    if (subscription === "from" || subscription === "both" || item.pendingIn !== undefined) {
      await presence("unsubscribed");
    }
  }
}

/** Counts the contacts: what strangers asked for is not the owner's doing. */
function countShown(roster: Roster): number {
  let count = 0;
  for (const item of roster.items.values()) if (item.hidden !== true) count++;
  return count;
}
