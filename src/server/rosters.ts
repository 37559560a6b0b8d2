// placeholder contract; completed by the roster work
import type { Jid } from "../jid/jid.ts";

export type Subscription = "none" | "to" | "from" | "both";

/** A contact on a roster (RFC 6121 §2.1.2), with the subscription state of RFC 6121 appendix A. */
export interface RosterItem {
  /** The contact's bare JID, prepared. */
  readonly jid: string;
  readonly name?: string;
  readonly groups: readonly string[];
  readonly subscription: Subscription | "remove";
  /** An outbound subscription request is pending (`ask='subscribe'`). */
  readonly ask?: boolean;
  /** The contact's future request is approved already (RFC 6121 §3.4). */
  readonly approved?: boolean;
  /** The XML text of an inbound subscription request that waits for the user's answer. */
  readonly pendingIn?: string;
  /** True when the item exists only for its `pendingIn`, and is not shown to clients. */
  readonly hidden?: boolean;
}

/** An account's roster in memory: shared by whoever asked for it, always equal to what is stored. */
export interface Roster {
  readonly account: Jid;
  readonly version: string;
  readonly items: ReadonlyMap<string, RosterItem>;
}

/** The rosters of all local accounts. */
export interface Rosters {
  /** Returns the account's roster; the same object while anybody holds it. */
  load(account: Jid): Promise<Roster>;
  /** Stores the item and resolves when it is on disk; then `roster/changed` is told (not for hidden items). */
  put(account: Jid, item: RosterItem): Promise<void>;
  /** Removes the item; resolves when that is on disk, then `roster/changed` is told with `remove`. */
  remove(account: Jid, jid: string): Promise<void>;
  /** Returns the changes since `version`, or undefined when that is not known any more (RFC 6121 §2.6). */
  changesSince(account: Jid, version: string): Promise<readonly RosterItem[] | undefined>;
}
