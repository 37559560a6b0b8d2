// One moment by which work must be over, with the arithmetic and the AbortSignal that go with it. It can be brought
// forward, never put off: whoever was told a deadline can rely on it as the latest.

import type { Clock, Timer } from "./clock.ts";

/** A moment on a clock. Cancel it when the work is over: its timer holds the event loop until then. */
export class Deadline {
  #clock: Clock;
  #at: number;
  #timer: Timer | undefined;
  #controller = new AbortController();

  /** Sets the deadline `ms` from now. */
  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#at = clock.now() + Math.max(0, ms);
    this.#arm();
  }

  /** The moment, on the clock's `now()`. */
  get at(): number {
    return this.#at;
  }

  /** Aborts when the moment has come. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Returns the milliseconds left, never below 0. */
  remaining(): number {
    return Math.max(0, this.#at - this.#clock.now());
  }

  /** Brings the moment forward to `ms` from now; does nothing if it is nearer already. */
  shrink(ms: number): void {
    const at = this.#clock.now() + Math.max(0, ms);
    if (at >= this.#at || this.#controller.signal.aborted) return;
    this.#at = at;
    this.#timer?.cancel();
    this.#arm();
  }

  /** Lets go of the timer; the signal will not abort any more. */
  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer = this.#clock.setTimer(this.remaining(), () => this.#controller.abort());
  }
}
