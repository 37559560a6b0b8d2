// Whom we have told that a full JID is available, on the disk, so that a start after a crash can say the goodbyes that the
// crash prevented. One record for each session that was broadcast (the roster says to whom), and one for each address that
// got directed presence. Written in batches that nobody waits for: a crash within WRITE_MS leaves what is in the batch
// under way unrecorded. A record goes when every goodbye has its fate. What to do with the records of an earlier life is
// goodbyes.ts's matter.

import type { Jid } from "../../src/jid/jid.ts";
import type { Key, ModuleApi, Timer, Value } from "../../src/module.ts";

/** How long changes are collected before they are written, in milliseconds; those after a pause hardly wait. */
const WRITE_MS = 100;
const SOON_MS = 5;
/** How long to wait after the disk has failed. */
const RETRY_MS = 5_000;

/** The keys of the ledger in the module's storage: lives by their names, and what each of them told, by number. */
export const LIFE = "life";
export const TOLD = "told";

/** That somebody may believe `jid` to be available: `target`, or all who may see the account's presence. */
interface Belief {
  readonly jid: string;
  readonly target: string | undefined;
  isTold: boolean;
  /** Goodbyes under way, and whether one was lost for good: then the next start says it again. */
  leaving: number;
  isLost: boolean;
  /** The record's number; it is on the disk, or may be, when there is one. */
  number: number | undefined;
}

/** Goodbyes to everybody who holds one belief: over when it has ended and each stanza has its fate. */
export interface Farewell {
  /** One more stanza is under way; what is returned is to be told what became of it. */
  expect(): (fate: string) => void;
  /** No more stanzas come. */
  end(): void;
}

/** Keeps the ledger of this life of the server. */
export class Ledger {
  /** Distinguishes this life from others in the same store. */
  readonly life: string;
  #api: ModuleApi;
  #max: number;
  #beliefs = new Map<string, Belief>();
  #dirty = new Set<Belief>();
  #erasures: Key[] = [];
  #numbers = 0;
  #timer: Timer | undefined;
  #writing: Promise<void> | undefined;
  #lastWrite = Number.NEGATIVE_INFINITY;
  #hasLife = false;
  #isStarted = false;
  #isClosed = false;
  #isFailing = false;
  #isFull = false;
  /** What was said goodbye to, until the records of earlier lives are dealt with. */
  #gone: Set<string> | undefined = new Set();

  constructor(api: ModuleApi, max: number) {
    this.#api = api;
    this.#max = max;
    this.life = api.random.id();
  }

  /** Writes from now on: as long as another process serves, it is not to find anything of ours. */
  start(): void {
    this.#isStarted = true;
    this.#writeSoon();
  }

  /** `jid` was said to be available: to `target`, or to all who may see it. */
  told(jid: Jid, target?: Jid): void {
    this.#gone?.delete(nameOf(jid.toString(), target?.toString()));
    const belief = this.#beliefOf(jid, target);
    if (belief === undefined) return;
    belief.isLost = false;
    if (belief.isTold) return;
    belief.isTold = true;
    this.#changed(belief);
  }

  /** `jid` is said to be gone, to `target` or to all who could see it: the belief is remembered until everybody knows. */
  farewell(jid: Jid, target?: Jid): Farewell {
    const name = nameOf(jid.toString(), target?.toString());
    this.#gone?.add(name);
    const belief = this.#beliefs.get(name);
    return belief === undefined ? NOBODY : this.#leave(belief);
  }

  /** `contact` saw the broadcasts of `jid`, is not to any more, and is told: as `farewell`. */
  withdrawal(jid: Jid, contact: Jid): Farewell {
    const belief = this.#beliefOf(jid, contact);
    return belief === undefined ? NOBODY : this.#leave(belief);
  }

  #leave(belief: Belief): Farewell {
    belief.isTold = false;
    belief.leaving++;
    this.#changed(belief);
    let pending = 1;
    const done = (): void => {
      if (--pending > 0) return;
      belief.leaving--;
      this.#changed(belief);
    };
    const settled = (fate: string): void => {
      if (fate === "lost" && !belief.isTold) belief.isLost = true;
      done();
    };
    return {
      expect: () => {
        pending++;
        return settled;
      },
      end: done,
    };
  }

  /** Whether this life has told, or said goodbye itself: then what an earlier life told needs no goodbye any more. */
  knows(jid: string, target: string | undefined): boolean {
    const name = nameOf(jid, target);
    return this.#beliefs.has(name) || this.#gone?.has(name) === true;
  }

  /** Deletes a record of an earlier life, together with the next changes: what replaces it is not on the disk later. */
  erase(key: Key): void {
    this.#erasures.push(key);
    this.#writeSoon();
  }

  /** The records of earlier lives are dealt with. */
  settledWithThePast(): void {
    this.#gone = undefined;
  }

  /** Resolves when everything noted so far is on the disk, or could not be written. Never rejects. */
  async written(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#writing;
    if (this.#isStarted && !this.#isClosed) await this.#write();
  }

  /** Writes what is left, and nothing after that. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    if (this.#hasLife && this.#beliefs.size === 0) this.erase([LIFE, this.life]);
    await this.written();
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** Undefined when there is no room for one more. */
  #beliefOf(jid: Jid, target: Jid | undefined): Belief | undefined {
    const [from, to] = [jid.toString(), target?.toString()];
    const name = nameOf(from, to);
    let belief = this.#beliefs.get(name);
    if (belief !== undefined || !this.#hasRoom()) return belief;
    belief = { jid: from, target: to, isTold: false, leaving: 0, isLost: false, number: undefined };
    this.#beliefs.set(name, belief);
    return belief;
  }

  #hasRoom(): boolean {
    if (this.#beliefs.size < this.#max) {
      this.#isFull = false;
      return true;
    }
    if (!this.#isFull) this.#api.log.warn({ max: this.#max }, "the presence ledger is full: a crash may leave ghosts");
    this.#isFull = true;
    return false;
  }

  #changed(belief: Belief): void {
    if (!isNeeded(belief)) this.#beliefs.delete(nameOf(belief.jid, belief.target));
    this.#dirty.add(belief);
    this.#writeSoon();
  }

  #writeSoon(): void {
    if (!this.#isStarted || this.#isClosed || this.#dirty.size + this.#erasures.length === 0) return;
    if (this.#timer !== undefined || this.#writing !== undefined) return;
    const wait = this.#lastWrite + (this.#isFailing ? RETRY_MS : WRITE_MS) - this.#api.clock.now();
    this.#timer = this.#api.clock.setTimer(Math.max(SOON_MS, wait), () => {
      this.#timer = undefined;
      void this.#write();
    });
  }

  #write(): Promise<void> {
    this.#writing ??= this.#writeBatch().finally(() => {
      this.#writing = undefined;
      this.#lastWrite = this.#api.clock.now();
      this.#writeSoon();
    });
    return this.#writing;
  }

  /** Never rejects. */
  async #writeBatch(): Promise<void> {
    const erasures = this.#erasures.splice(0);
    const batch: { readonly belief: Belief; readonly before: number | undefined }[] = [];
    const writes: (readonly [Key, Value | undefined])[] = erasures.map((key) => [key, undefined]);
    for (const belief of this.#dirty) {
      const { jid, target, number: before } = belief;
      if (isNeeded(belief) === (before !== undefined)) continue;
      batch.push({ belief, before });
      belief.number = before === undefined ? ++this.#numbers : undefined;
      if (before !== undefined) writes.push([this.#key(before), undefined]);
      else writes.push([this.#key(this.#numbers), target === undefined ? [jid] : [jid, target]]);
    }
    this.#dirty.clear();
    if (writes.length === 0) return;
    const namesLife = !this.#hasLife && batch.length > 0;
    if (namesLife) writes.push([[LIFE, this.life], this.#api.clock.wallTime()]);
    try {
      await this.#api.storage.batch(writes);
      await this.#api.storage.flushed();
      this.#hasLife ||= namesLife;
      this.#isFailing = false;
    } catch (thrown) {
      const level = isStoreClosed(thrown) ? "warn" : "error";
      if (!this.#isFailing) this.#api.log[level]({ err: thrown }, "the presence ledger cannot be written");
      this.#isFailing = true;
      this.#erasures.push(...erasures);
      for (const { belief, before } of batch) {
        belief.number = before;
        this.#dirty.add(belief);
      }
    }
  }

  #key(number: number): Key {
    return [TOLD, this.life, number];
  }
}

const NOBODY: Farewell = { expect: () => () => undefined, end: () => undefined };

/** The server has had no time for the last batch: what was not deleted is said goodbye for again at the next start. */
function isStoreClosed(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "MORENDO_STORE_CLOSED";
}

function isNeeded({ isTold, leaving, isLost }: Belief): boolean {
  return isTold || leaving > 0 || isLost;
}

/** A JID has no line break in it. */
function nameOf(jid: string, target: string | undefined): string {
  return target === undefined ? jid : `${jid}\n${target}`;
}
