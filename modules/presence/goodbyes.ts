// The goodbyes that a crash prevented: reads what earlier lives had told and not taken back (ledger.ts), and sends unavailable
// presence to whoever may still believe it, unless it is true again. A record is deleted when all its stanzas have their
// fate; a crash in between says them again, which changes nothing for who has heard them.

import { Jid } from "../../src/jid/jid.ts";
import type { Key, ModuleApi, Timer, Value } from "../../src/module.ts";
import { type Broadcaster, contactOf, seesUser } from "./broadcaster.ts";
import { type Ledger, LIFE, TOLD } from "./ledger.ts";
import { barePresence } from "./outbox.ts";

/** Records that are read at a time. */
const PAGE = 200;
/** Stanzas that may be without a fate before the next page, and how long to wait for that at most, in milliseconds. */
const MAX_OPEN = 2_000;
const PATIENCE_MS = 10_000;
const LOOK_MS = 100;
/** Where damaged records are kept for people to look at, and how many at most. */
const DAMAGED = "damaged";
const MAX_DAMAGED = 100;

interface Belief {
  readonly jid: Jid;
  readonly target: Jid | undefined;
}

export interface GoodbyesOptions {
  readonly api: ModuleApi;
  readonly ledger: Ledger;
  readonly broadcaster: Broadcaster;
  /** The sessions that are here are those of the earlier life: it was the module that ended, and not the server. */
  readonly adopts: boolean;
}

/** Says the goodbyes of earlier lives. */
export class Goodbyes {
  #options: GoodbyesOptions;
  #api: ModuleApi;
  #ledger: Ledger;
  #broadcaster: Broadcaster;
  #timer: Timer | undefined;
  #saying: Promise<void> | undefined;
  #isClosed = false;
  /** Stanzas without a fate. */
  #open = 0;
  #sent = 0;

  constructor(options: GoodbyesOptions) {
    const { api, ledger, broadcaster } = options;
    this.#options = options;
    this.#api = api;
    this.#ledger = ledger;
    this.#broadcaster = broadcaster;
  }

  /** Says them in `graceMs`: until then clients may be back, and what they say needs no goodbye before. */
  soon(graceMs: number): void {
    this.#timer = this.#api.clock.setTimer(graceMs, () => void this.now());
  }

  /** Says them now, unless that has begun; resolves when all have been handed on. Never rejects. */
  now(): Promise<void> {
    this.#timer?.cancel();
    this.#saying ??= this.#sayAll();
    return this.#saying;
  }

  /** Says no more. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  async #sayAll(): Promise<void> {
    const { storage, log } = this.#api;
    try {
      for (const [key] of await storage.range([LIFE])) {
        if (key[1] !== this.#ledger.life && !this.#isClosed) await this.#settle(key);
      }
      if (!this.#isClosed) this.#ledger.settledWithThePast();
    } catch (thrown) {
      log.error({ err: thrown }, "the presence ledger of an earlier run cannot be read to its end");
    }
    if (this.#sent > 0) log.info({ goodbyes: this.#sent }, "said the goodbyes that an earlier run had left unsaid");
  }

  /** Deals with all that one life told. */
  async #settle(life: Key): Promise<void> {
    let unsettled = 1;
    const settled = (): void => {
      if (--unsettled === 0) this.#ledger.erase(life);
    };
    let after: Key | undefined;
    for (;;) {
      const page = await this.#api.storage.range([TOLD, life[1] ?? ""], PAGE, after);
      for (const [key, value] of page) {
        if (this.#isClosed) return;
        unsettled++;
        after = key;
        const belief = await this.#read(key, value);
        if (belief === undefined) settled();
        else if (await this.#dealWith(belief, key, settled)) continue;
        else return;
      }
      if (page.length < PAGE) break;
      await this.#room();
    }
    settled();
  }

  /** False when this process is not the one to deal with it any more. */
  async #dealWith({ jid, target }: Belief, key: Key, settled: () => void): Promise<boolean> {
    const done = (): void => {
      this.#ledger.erase(key);
      settled();
    };
    if (!this.#api.hosts.includes(jid.domain)) {
      this.#api.log.warn(
        { jid: jid.toString() },
        "nobody can be told that it is gone: its host is not served any more",
      );
      done();
      return true;
    }
    if (this.#ledger.knows(jid.toString(), target?.toString())) {
      done();
      return true;
    }
    const audience = await this.#audience(jid.bare);
    if (!this.#api.isLocal(jid)) return false;
    const session = this.#api.session(jid);
    const isBack = session?.presence !== undefined;
    if (target !== undefined && session !== undefined && this.#options.adopts) {
      this.#broadcaster.restore(session, [target]);
      done();
    } else if (audience === undefined && (target === undefined || isBack)) return true;
    // Its own presence, which is not to be contradicted, goes to the same people.
    else if (isBack && (target === undefined || audience?.some((jid) => jid.equals(target.bare)))) done();
    else await this.#tell(jid, target === undefined ? (audience ?? []) : [target], done);
    return true;
  }

  /** Calls `done` when everybody is known to have heard it; not when one never will, so that the next start tries again. */
  async #tell(jid: Jid, targets: readonly Jid[], done: () => void): Promise<void> {
    let left = 1;
    let isLost = false;
    const settled = (fate: string): void => {
      isLost ||= fate === "lost";
      if (--left === 0 && !isLost) done();
    };
    const waits: Promise<void>[] = [];
    for (const target of targets) {
      left++;
      this.#open++;
      this.#sent++;
      const wait = this.#api.route(barePresence("unavailable", jid, target), (fate) => {
        this.#open--;
        settled(fate);
      });
      if (wait !== undefined) waits.push(wait);
    }
    settled("handled");
    try {
      await Promise.all(waits);
    } catch (thrown) {
      this.#api.log.warn({ err: thrown, jid: jid.toString() }, "a goodbye could not be said");
    }
  }

  /** All who may see the account's presence; undefined when that cannot be read. */
  async #audience(account: Jid): Promise<readonly Jid[] | undefined> {
    try {
      const roster = await this.#api.rosters.load(account);
      const contacts = Array.from(roster.items.values()).filter(seesUser).map(contactOf);
      // Clients of this server were connected to what crashed, unless another process had them.
      return [account, ...contacts].filter((jid) => this.#broadcaster.isReachable(jid));
    } catch (thrown) {
      this.#api.log.error({ err: thrown, account: account.toString() }, "who is to be told goodbye cannot be read");
      return undefined;
    }
  }

  /** Waits until not too many stanzas lack their fate; for a server that is away not for long. */
  async #room(): Promise<void> {
    const { clock } = this.#api;
    const until = clock.now() + PATIENCE_MS;
    await clock.turn();
    while (this.#open > MAX_OPEN && clock.now() < until && !this.#isClosed) await clock.sleep(LOOK_MS);
  }

  /** Undefined for a damaged record, which is set aside. */
  async #read(key: Key, value: Value): Promise<Belief | undefined> {
    const [from, to, ...rest] = Array.isArray(value) ? (value as readonly Value[]) : [];
    const jid = typeof from === "string" ? Jid.parse(from) : undefined;
    const target = typeof to === "string" ? Jid.parse(to) : undefined;
    const isWhole = jid?.isFull === true && jid.local !== "" && rest.length === 0 && (to === undefined || target);
    if (jid !== undefined && isWhole) return { jid, target };
    const { storage, log } = this.#api;
    const isKept = (await storage.range([DAMAGED], MAX_DAMAGED)).length < MAX_DAMAGED;
    log.error({ record: key.join(" "), value, isKept }, "a record of the presence ledger is damaged, and set aside");
    await storage.batch([
      [key, undefined],
      [[DAMAGED, ...key], isKept ? value : undefined],
    ]);
    return undefined;
  }
}
