// A clock that stands still until a test moves it, so that minutes pass in a millisecond and always in the same order.

import { type Clock, sleepOn, type Timer } from "../util/clock.ts";

interface Pending {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
}

/** A clock moved by hand. Timers due at the same moment fire in the order in which they were set. */
export class ManualClock implements Clock {
  #now = 0;
  #order = 0;
  #epoch: number;
  #pending = new Set<Pending>();

  /** Starts at 0, which is `epoch` on the wall (2026-01-01 unless told). */
  constructor(epoch: number = Date.UTC(2026, 0, 1)) {
    this.#epoch = epoch;
  }

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return this.#epoch + this.#now;
  }

  setTimer(ms: number, fire: () => void): Timer {
    const pending: Pending = { at: this.#now + Math.max(0, ms), order: this.#order++, fire };
    this.#pending.add(pending);
    return {
      cancel: () => {
        this.#pending.delete(pending);
      },
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  turn(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  soon(run: () => void): void {
    setImmediate(run);
  }

  /** How many timers wait: a test that ends with one has found a leak. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  /** Moves time on by `ms`, firing what falls due in order, and lets promises settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const next = this.#next(end);
      if (next === undefined) break;
      this.#pending.delete(next);
      this.#now = next.at;
      next.fire();
      await settle();
    }
    this.#now = end;
    await settle();
  }

  #next(end: number): Pending | undefined {
    let next: Pending | undefined;
    for (const pending of this.#pending) {
      if (pending.at > end) continue;
      if (next === undefined || pending.at < next.at || (pending.at === next.at && pending.order < next.order)) {
        next = pending;
      }
    }
    return next;
  }
}

/** Lets promises and immediates that are ready run. */
async function settle(): Promise<void> {
  for (let round = 0; round < 3; round++) await new Promise<void>((resolve) => setImmediate(resolve));
}
