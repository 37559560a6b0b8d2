// The rosters of all local accounts: their types, and their keeping in the store with versions, a bounded log of changes
// and a shared cache. Knows nothing of stanzas or of who may change what: modules/roster and modules/presence do.

import type { Jid } from "../jid/jid.ts";
import type { Store, Value, Write } from "../store/store.ts";
import type { Random } from "../util/random.ts";
import type { RosterChanged } from "./catalogue.ts";
import { decodeItem, encodeItem, sameForClients } from "./roster-item.ts";

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
  /** The inbound subscription request that waits for the user's answer, as text; only modules/presence reads it. */
  readonly pendingIn?: string;
  /** True when the item exists only for its `pendingIn`, and is not shown to clients. */
  readonly hidden?: boolean;
}

/** A roster item with the roster's version after its last change. */
export interface ChangedItem extends RosterItem {
  readonly version: string;
}

/** An account's roster in memory: shared by whoever asked for it, always equal to what is stored. */
export interface Roster {
  readonly account: Jid;
  readonly version: string;
  readonly items: ReadonlyMap<string, RosterItem>;
}

/** What a change of one item makes of it: the item as it shall be, `remove`, or undefined to leave it alone. */
export type ItemChange = (item: RosterItem | undefined, roster: Roster) => RosterItem | "remove" | undefined;

/** The rosters of all local accounts. */
export interface Rosters {
  /** Returns the account's roster; the same object while anybody holds it. */
  load(account: Jid): Promise<Roster>;
  /** Stores the item and resolves when it is on disk; then `roster/changed` is told (not for hidden items). */
  put(account: Jid, item: RosterItem): Promise<void>;
  /** Removes the item; resolves when that is on disk, then `roster/changed` is told with `remove`. */
  remove(account: Jid, jid: string): Promise<void>;
  /**
   * Reads and changes one item with no other change in between, and resolves when that is on disk. `onDisk` is called
   * just before `roster/changed` is told: for what must reach clients ahead of the roster push.
   */
  update(account: Jid, jid: string, change: ItemChange, onDisk?: () => void): Promise<void>;
  /** Returns the changes since `version` in order, or undefined when that is not known any more (RFC 6121 §2.6). */
  changesSince(account: Jid, version: string): Promise<readonly ChangedItem[] | undefined>;
}

/** What rosters are kept with. */
export interface RostersOptions {
  readonly store: Store;
  readonly random: Random;
  /** Told of every change that clients can see, when it is on disk. */
  readonly changed: (change: RosterChanged) => void;
  /** How many items may stay in memory for rosters that nobody holds. */
  readonly cachedItems?: number;
  /** How many changes of each roster are remembered for `changesSince`. */
  readonly loggedChanges?: number;
}

const ITEMS = "roster";
const VERSIONS = "roster-version";
const LOG = "roster-log";
/** The version of a roster that was never written. */
const UNWRITTEN = "0";

/** A roster as its keeper sees it. */
class KeptRoster implements Roster {
  readonly account: Jid;
  readonly items: Map<string, RosterItem>;
  /** Distinguishes this roster from one that an account of the same name had before. */
  epoch: string;
  /** How many changes there were. */
  count: number;
  /** Settles when the last write that was begun has been done. */
  writing: Promise<unknown> = Promise.resolve();
  /** Settles when the last change that was begun has been told. */
  telling: Promise<unknown> = Promise.resolve();

  constructor(account: Jid, items: Map<string, RosterItem>, epoch: string, count: number) {
    this.account = account;
    this.items = items;
    this.epoch = epoch;
    this.count = count;
  }

  get version(): string {
    return versionText(this.epoch, this.count);
  }

  /** What it counts for in the cache: an empty roster is not free. */
  get weight(): number {
    return this.items.size + 4;
  }
}

/** The rosters in a Store. Changes of one account happen one after the other; those of several share a flush. */
export class StoredRosters implements Rosters {
  #store: Store;
  #random: Random;
  #changed: (change: RosterChanged) => void;
  #cachedItems: number;
  #loggedChanges: number;
  /** Every roster somebody may still hold, so that there are never two of one account. */
  #known = new Map<string, WeakRef<KeptRoster>>();
  #collected: FinalizationRegistry<string>;
  #loading = new Map<string, Promise<KeptRoster>>();
  /** The rosters kept in memory though nobody may hold them, least recently used first. */
  #recent = new Map<string, { readonly roster: KeptRoster; weight: number }>();
  #recentWeight = 0;

  constructor({ store, random, changed, cachedItems = 200_000, loggedChanges = 100 }: RostersOptions) {
    this.#store = store;
    this.#random = random;
    this.#changed = changed;
    this.#cachedItems = cachedItems;
    this.#loggedChanges = loggedChanges;
    this.#collected = new FinalizationRegistry((name) => {
      if (this.#known.get(name)?.deref() === undefined) this.#known.delete(name);
    });
  }

  async load(account: Jid): Promise<Roster> {
    return await this.#kept(account);
  }

  async put(account: Jid, item: RosterItem): Promise<void> {
    await this.update(account, item.jid, () => item);
  }

  async remove(account: Jid, jid: string): Promise<void> {
    await this.update(account, jid, (item) => (item === undefined ? undefined : "remove"));
  }

  async update(account: Jid, jid: string, change: ItemChange, onDisk?: () => void): Promise<void> {
    const roster = await this.#kept(account);
    await this.#write(
      roster,
      () => {
        const item = roster.items.get(jid);
        const next = change(item, roster);
        if (next === undefined) return [];
        return [next === "remove" || next.subscription === "remove" ? { jid, next: undefined } : { jid, next }];
      },
      onDisk,
    );
  }

  /** Adds or replaces many items at once; resolves when they are on disk. Each is told as a change. */
  async importItems(account: Jid, items: readonly RosterItem[]): Promise<void> {
    if (items.length === 0) return;
    const roster = await this.#kept(account);
    await this.#write(roster, () => items.map((item) => ({ jid: item.jid, next: item })));
  }

  /** Forgets the account's roster for good, with nobody told: the account itself goes. Resolves when it is on disk. */
  async removeAll(account: Jid): Promise<void> {
    const roster = await this.#kept(account);
    const name = account.toString();
    await this.#serially(roster, async () => {
      const log = await this.#store.range(LOG, [name]);
      const writes: Write[] = log.map(([key]) => ({ op: "delete", collection: LOG, key }));
      for (const jid of roster.items.keys()) writes.push({ op: "delete", collection: ITEMS, key: [name, jid] });
      writes.push({ op: "delete", collection: VERSIONS, key: [name] });
      await this.#store.batch(writes);
      roster.items.clear();
      roster.epoch = "";
      roster.count = 0;
    });
    await this.#store.flushed();
  }

  async changesSince(account: Jid, version: string): Promise<readonly ChangedItem[] | undefined> {
    const roster = await this.#kept(account);
    const { epoch, count } = roster;
    if (version === versionText(epoch, count)) return [];
    const known = countOf(version, epoch);
    if (known === undefined || known > count || count - known > this.#loggedChanges) return undefined;
    const lastChanges = new Map<string, number>();
    for (const [key, value] of await this.#store.range(LOG, [account.toString()])) {
      const number = key[1];
      if (typeof value !== "string" || typeof number !== "number" || number <= known) continue;
      // Deleted first, so that the order is that of the last changes.
      lastChanges.delete(value);
      lastChanges.set(value, number);
    }
    if (roster.epoch !== epoch) return undefined;
    return Array.from(lastChanges, ([jid, number]) => ({
      ...asClientsSeeIt(jid, roster.items.get(jid)),
      version: versionText(epoch, number),
    }));
  }

  async #write(
    roster: KeptRoster,
    plan: () => readonly { readonly jid: string; readonly next: RosterItem | undefined }[],
    onDisk?: () => void,
  ): Promise<void> {
    const name = roster.account.toString();
    const told: RosterChanged[] = [];
    let isWritten = false;
    await this.#serially(roster, async () => {
      const changes = plan();
      if (changes.length === 0) return;
      const epoch = roster.epoch === "" ? this.#random.bytes(6).toString("hex") : roster.epoch;
      let count = roster.count;
      const writes: Write[] = [];
      for (const { jid, next } of changes) {
        const key = [name, jid];
        if (next === undefined) writes.push({ op: "delete", collection: ITEMS, key });
        else writes.push({ op: "put", collection: ITEMS, key, value: encodeItem(next) });
        const before = roster.items.get(jid);
        if (!isVisibleChange(before, next)) continue;
        count++;
        const item = asClientsSeeIt(jid, next);
        told.push({ account: roster.account, item, before, version: versionText(epoch, count) });
      }
      this.#logChanges(writes, name, roster.count, told);
      writes.push({ op: "put", collection: VERSIONS, key: [name], value: [epoch, count] });
      await this.#store.batch(writes);
      isWritten = true;
      for (const { jid, next } of changes) {
        if (next === undefined) roster.items.delete(jid);
        else roster.items.set(jid, next);
      }
      roster.epoch = epoch;
      roster.count = count;
      this.#keepRecent(name, roster);
    });
    if (isWritten) await this.#tell(roster, told, onDisk);
  }

  /** Waits for the disk, then tells the changes after those that were written before. */
  async #tell(roster: KeptRoster, told: readonly RosterChanged[], onDisk: (() => void) | undefined): Promise<void> {
    const before = roster.telling;
    const telling = this.#store.flushed().then(async () => {
      await before;
      onDisk?.();
      for (const change of told) this.#changed(change);
    });
    roster.telling = telling.catch(() => undefined);
    await telling;
  }

  #logChanges(writes: Write[], name: string, from: number, told: readonly RosterChanged[]): void {
    const to = from + told.length;
    const oldest = Math.max(0, to - this.#loggedChanges);
    for (const [index, change] of told.entries()) {
      const number = from + index + 1;
      if (number > oldest) writes.push({ op: "put", collection: LOG, key: [name, number], value: change.item.jid });
    }
    for (let number = Math.max(1, from - this.#loggedChanges + 1); number <= Math.min(oldest, from); number++) {
      writes.push({ op: "delete", collection: LOG, key: [name, number] });
    }
  }

  /** Runs `work` when every earlier work on the roster is done, whether well or not. */
  async #serially(roster: KeptRoster, work: () => Promise<void>): Promise<void> {
    const turn = roster.writing.then(work);
    roster.writing = turn.catch(() => undefined);
    await turn;
  }

  async #kept(account: Jid): Promise<KeptRoster> {
    const name = account.toString();
    const known = this.#known.get(name)?.deref();
    if (known !== undefined) {
      this.#keepRecent(name, known);
      return known;
    }
    let loading = this.#loading.get(name);
    if (loading === undefined) {
      loading = this.#read(account, name).finally(() => this.#loading.delete(name));
      this.#loading.set(name, loading);
    }
    return await loading;
  }

  async #read(account: Jid, name: string): Promise<KeptRoster> {
    const version = await this.#store.get(VERSIONS, [name]);
    const items = new Map<string, RosterItem>();
    if (version !== undefined) {
      for (const [key, value] of await this.#store.range(ITEMS, [name])) {
        const item = decodeItem(String(key[1]), value);
        if (item !== undefined) items.set(item.jid, item);
      }
    }
    const [epoch, count] = decodeVersion(version);
    const roster = new KeptRoster(account, items, epoch, count);
    this.#known.set(name, new WeakRef(roster));
    this.#collected.register(roster, name);
    this.#keepRecent(name, roster);
    return roster;
  }

  #keepRecent(name: string, roster: KeptRoster): void {
    this.#recentWeight += roster.weight - (this.#recent.get(name)?.weight ?? 0);
    this.#recent.delete(name);
    this.#recent.set(name, { roster, weight: roster.weight });
    for (const [oldest, { weight }] of this.#recent) {
      if (this.#recentWeight <= this.#cachedItems) break;
      this.#recent.delete(oldest);
      this.#recentWeight -= weight;
    }
  }
}

function versionText(epoch: string, count: number): string {
  return epoch === "" ? UNWRITTEN : `${epoch}-${count}`;
}

/** The count in a version text of the given epoch. */
function countOf(version: string, epoch: string): number | undefined {
  if (epoch === "" || !version.startsWith(`${epoch}-`)) return undefined;
  const digits = version.slice(epoch.length + 1);
  return /^\d{1,15}$/.test(digits) ? Number(digits) : undefined;
}

function decodeVersion(value: Value | undefined): readonly [string, number] {
  if (!Array.isArray(value)) return ["", 0];
  const [epoch, count] = value as readonly Value[];
  return typeof epoch === "string" && typeof count === "number" ? [epoch, count] : ["", 0];
}

/** What clients are shown of an item: one that is hidden or gone is removed. */
function asClientsSeeIt(jid: string, item: RosterItem | undefined): RosterItem {
  return item === undefined || item.hidden === true ? { jid, groups: [], subscription: "remove" } : item;
}

/**
 * Tells whether clients must hear of a change. One that leaves everything as it was counts too: a client that sets an
 * item expects a push (RFC 6121 §2.3.2). Only what concerns the inbound request alone stays inside.
 */
function isVisibleChange(before: RosterItem | undefined, next: RosterItem | undefined): boolean {
  const wasShown = before !== undefined && before.hidden !== true;
  const isShown = next !== undefined && next.hidden !== true;
  if (!wasShown || !isShown) return wasShown || isShown;
  return before.pendingIn === next.pendingIn || !sameForClients(before, next);
}
