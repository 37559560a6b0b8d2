// The subscription states of RFC 6121 appendix A as a table: what each subscription stanza, going out or coming in, does
// to the state of a contact, and whether the stanza itself goes on. Pure; index.ts and its neighbours act on it.

import type { RosterItem, Subscription } from "../../src/module.ts";

/** The nine states of RFC 6121 §A.1; "out" and "in" mean a pending request of the user and of the contact. */
export const STATES = [
  "none",
  "none+out",
  "none+in",
  "none+out+in",
  "to",
  "to+in",
  "from",
  "from+out",
  "both",
] as const;

export type State = (typeof STATES)[number];

/** The presence types that change subscriptions (RFC 6121 §3). */
export const SUBSCRIPTION_TYPES = ["subscribe", "unsubscribe", "subscribed", "unsubscribed"] as const;

export type SubscriptionType = (typeof SUBSCRIPTION_TYPES)[number];

/** What happens: `pass` is whether the stanza is routed (outbound) or delivered (inbound). */
export interface Transition {
  readonly pass: boolean;
  readonly next: State;
}

type Row = readonly [pass: boolean, next: State];
type Table = Readonly<Record<SubscriptionType, Readonly<Record<State, Row>>>>;

const PASS = true;
const KEEP = false;

/** RFC 6121 §A.2: the user sends. Where `subscribed` does not pass in `none` or `to`, it pre-approves (§3.4). */
const OUTBOUND: Table = {
  subscribe: {
    none: [PASS, "none+out"],
    "none+out": [PASS, "none+out"],
    "none+in": [PASS, "none+out+in"],
    "none+out+in": [PASS, "none+out+in"],
    to: [PASS, "to"],
    "to+in": [PASS, "to+in"],
    from: [PASS, "from+out"],
    "from+out": [PASS, "from+out"],
    both: [PASS, "both"],
  },
  unsubscribe: {
    none: [PASS, "none"],
    "none+out": [PASS, "none"],
    "none+in": [PASS, "none+in"],
    "none+out+in": [PASS, "none+in"],
    to: [PASS, "none"],
    "to+in": [PASS, "none+in"],
    from: [PASS, "from"],
    "from+out": [PASS, "from"],
    both: [PASS, "from"],
  },
  subscribed: {
    none: [KEEP, "none"],
    "none+out": [KEEP, "none+out"],
    "none+in": [PASS, "from"],
    "none+out+in": [PASS, "from+out"],
    to: [KEEP, "to"],
    "to+in": [PASS, "both"],
    from: [KEEP, "from"],
    "from+out": [KEEP, "from+out"],
    both: [KEEP, "both"],
  },
  unsubscribed: {
    none: [KEEP, "none"],
    "none+out": [KEEP, "none+out"],
    "none+in": [PASS, "none"],
    "none+out+in": [PASS, "none+out"],
    to: [KEEP, "to"],
    "to+in": [PASS, "to"],
    from: [PASS, "none"],
    "from+out": [PASS, "none+out"],
    both: [PASS, "to"],
  },
};

/** RFC 6121 §A.3: the contact sends. Where `subscribe` does not pass in `from` or `both`, it is answered for the user. */
const INBOUND: Table = {
  subscribe: {
    none: [PASS, "none+in"],
    "none+out": [PASS, "none+out+in"],
    "none+in": [KEEP, "none+in"],
    "none+out+in": [KEEP, "none+out+in"],
    to: [PASS, "to+in"],
    "to+in": [KEEP, "to+in"],
    from: [KEEP, "from"],
    "from+out": [KEEP, "from+out"],
    both: [KEEP, "both"],
  },
  unsubscribe: {
    none: [KEEP, "none"],
    "none+out": [KEEP, "none+out"],
    "none+in": [PASS, "none"],
    "none+out+in": [PASS, "none+out"],
    to: [KEEP, "to"],
    "to+in": [PASS, "to"],
    from: [PASS, "none"],
    "from+out": [PASS, "none+out"],
    both: [PASS, "to"],
  },
  subscribed: {
    none: [KEEP, "none"],
    "none+out": [PASS, "to"],
    "none+in": [KEEP, "none+in"],
    "none+out+in": [PASS, "to+in"],
    to: [KEEP, "to"],
    "to+in": [KEEP, "to+in"],
    from: [KEEP, "from"],
    "from+out": [PASS, "both"],
    both: [KEEP, "both"],
  },
  unsubscribed: {
    none: [KEEP, "none"],
    "none+out": [PASS, "none"],
    "none+in": [KEEP, "none+in"],
    "none+out+in": [PASS, "none+in"],
    to: [PASS, "none"],
    "to+in": [PASS, "none+in"],
    from: [KEEP, "from"],
    "from+out": [PASS, "from"],
    both: [PASS, "from"],
  },
};

/** Returns what a subscription stanza of the user does (RFC 6121 §A.2). */
export function outbound(type: SubscriptionType, state: State): Transition {
  const [pass, next] = OUTBOUND[type][state];
  return { pass, next };
}

/** Returns what a subscription stanza of the contact does (RFC 6121 §A.3). */
export function inbound(type: SubscriptionType, state: State): Transition {
  const [pass, next] = INBOUND[type][state];
  return { pass, next };
}

/** Tells whether `type` is one of the four subscription types. */
export function isSubscriptionType(type: string): type is SubscriptionType {
  return (SUBSCRIPTION_TYPES as readonly string[]).includes(type);
}

/** Returns the state of a roster item; a contact that is not on the roster is in `none`. */
export function stateOf(item: RosterItem | undefined): State {
  if (item === undefined || item.subscription === "remove") return "none";
  const out = item.ask === true;
  const isPendingIn = item.pendingIn !== undefined;
  switch (item.subscription) {
    case "none":
      if (out) return isPendingIn ? "none+out+in" : "none+out";
      return isPendingIn ? "none+in" : "none";
    case "to":
      return isPendingIn ? "to+in" : "to";
    case "from":
      return out ? "from+out" : "from";
    case "both":
      return "both";
  }
}

/** Returns `item` moved to `state`; `pendingIn` is the inbound request to keep where the state has one. */
export function inState(item: RosterItem, state: State, pendingIn?: string): RosterItem {
  const { ask: _ask, pendingIn: _pendingIn, ...rest } = item;
  const [subscription, ...pending] = state.split("+") as [Subscription, ...string[]];
  return {
    ...rest,
    subscription,
    ...(pending.includes("out") && { ask: true }),
    ...(pending.includes("in") && { pendingIn: pendingIn ?? "" }),
  };
}
