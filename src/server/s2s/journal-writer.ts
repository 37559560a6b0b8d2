// Takes the journal's writes to the disk: what comes in the same turn goes into one transaction, one transaction after the
// other, and what is only to be deleted waits a moment for company. Not for: what is written, and why (journal.ts).

import type { Store, Write } from "../../store/store.ts";
import type { Clock } from "../../util/clock.ts";
import { asError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import type { TimerWheel, WheelTimeout } from "../../util/timer-wheel.ts";

export interface JournalWriterOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly log: Logger;
}

/** Tells whoever waits that something is on the disk, or why not; `isUnknown` when it may be there all the same. */
export type Done = (error: Error | undefined, isUnknown?: boolean) => void;

interface Awaited {
  readonly write: Write;
  readonly done: Done;
}

/** Records in one transaction: a bound on how long the event loop is busy with them. */
const BATCH = 1_000;
/** How long a proved entry may stay on the disk: a crash within that time sends it again. */
const DELETE_MS = 500;

/** Writes in batches. */
export class JournalWriter {
  #options: JournalWriterOptions;
  #awaited: Awaited[] = [];
  /** What the disk is busy with, of that. */
  #underWay: readonly Awaited[] = [];
  #others: Write[] = [];
  #running: Promise<void> | undefined;
  #later: WheelTimeout | undefined;
  #isClosed = false;

  constructor(options: JournalWriterOptions) {
    this.#options = options;
  }

  /** Writes at the end of this turn; `done` is told when it is on the disk, or why not. */
  write(write: Write, done: Done): void {
    this.#awaited.push({ write, done });
    this.#running ??= this.#run();
  }

  /** Writes soon what nobody waits for; tried again until the store takes it. */
  writeSoon(...writes: Write[]): void {
    this.#others.push(...writes);
    this.#runSoon();
  }

  /** Resolves when everything that was to be written is on the disk, or the store has refused it. Never rejects. */
  async settled(): Promise<void> {
    this.#later?.cancel();
    this.#later = undefined;
    if (this.#awaited.length + this.#others.length > 0) this.#running ??= this.#run();
    await this.#running;
  }

  /** Begins nothing more, and tells whom that concerns; what the disk is busy with is told when it has come to an end. */
  close(): void {
    this.#isClosed = true;
    this.#later?.cancel();
    const error = new Error("the journal is closed");
    for (const { done } of this.#awaited.splice(0)) done(error);
  }

  /** Resolves when the disk is not busy with anything of ours any more. Never rejects. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Tells those with whom the disk is still busy that nobody knows what comes of it. */
  abandon(): void {
    const error = new Error("the disk was busy with it when the server ended");
    for (const { done } of this.#underWay) done(error, true);
    this.#underWay = [];
  }

  #runSoon(): void {
    if (this.#running !== undefined || this.#later !== undefined || this.#isClosed) return;
    this.#later = this.#options.wheel.add(DELETE_MS, () => {
      this.#later = undefined;
      this.#running ??= this.#run();
    });
  }

  /** Writes what there is to write, one transaction after the other. Never rejects. */
  async #run(): Promise<void> {
    const { clock, store, log } = this.#options;
    this.#later?.cancel();
    this.#later = undefined;
    // What comes in the same turn goes into the same transaction.
    await clock.turn();
    while (this.#awaited.length + this.#others.length > 0) {
      const awaited = this.#awaited.splice(0, BATCH);
      this.#underWay = awaited;
      const others = this.#others.splice(0, BATCH);
      let error: Error | undefined;
      try {
        await store.batch([...awaited.map(({ write }) => write), ...others]);
        await store.flushed();
      } catch (thrown) {
        error = asError(thrown);
        const fields = { err: error, stanzas: awaited.length };
        // Nobody waits for what is to be deleted, and when time is over the store goes too.
        if (this.#isClosed && awaited.length === 0)
          log.warn(fields, "s2s: the journal closed with something to delete");
        else log.error(fields, "s2s: the journal cannot be written");
        this.#others.unshift(...others);
      }
      // Those that were abandoned meanwhile have been told.
      for (const { done } of this.#underWay) done(error);
      this.#underWay = [];
      if (error !== undefined && this.#awaited.length === 0) break;
    }
    this.#running = undefined;
    if (this.#others.length > 0) this.#runSoon();
  }
}
