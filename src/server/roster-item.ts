// Roster items as store values and back, and their comparison. Values come from disk: what does not look like an item
// is refused, not guessed at.

import type { Value } from "../store/store.ts";
import type { RosterItem, Subscription } from "./rosters.ts";

const SUBSCRIPTIONS: ReadonlySet<unknown> = new Set<Subscription>(["none", "to", "from", "both"]);

/** Returns the item without its JID, which is in the key, and without what is as usual. */
export function encodeItem(item: RosterItem): Value {
  return {
    subscription: item.subscription,
    ...(item.name !== undefined && { name: item.name }),
    ...(item.groups.length > 0 && { groups: item.groups }),
    ...(item.ask && { ask: true }),
    ...(item.approved && { approved: true }),
    ...(item.pendingIn !== undefined && { pendingIn: item.pendingIn }),
    ...(item.hidden && { hidden: true }),
  };
}

/** Returns the item stored for `jid`, or undefined when `value` is none. */
export function decodeItem(jid: string, value: Value): RosterItem | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { subscription, name, groups, ask, approved, pendingIn, hidden } = value as Record<string, unknown>;
  if (!SUBSCRIPTIONS.has(subscription)) return undefined;
  return {
    jid,
    subscription: subscription as Subscription,
    groups: Array.isArray(groups) ? groups.filter((group) => typeof group === "string") : [],
    ...(typeof name === "string" && { name }),
    ...(ask === true && { ask }),
    ...(approved === true && { approved }),
    ...(typeof pendingIn === "string" && { pendingIn }),
    ...(hidden === true && { hidden }),
  };
}

/** Tells whether two items of the same contact look the same to a client. */
export function sameForClients(one: RosterItem, other: RosterItem): boolean {
  return (
    one.subscription === other.subscription &&
    one.name === other.name &&
    Boolean(one.ask) === Boolean(other.ask) &&
    Boolean(one.approved) === Boolean(other.approved) &&
    one.groups.length === other.groups.length &&
    one.groups.every((group, index) => group === other.groups[index])
  );
}
