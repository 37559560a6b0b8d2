// How long a link waits before it dials again: twice as long after each failure in a row, up to a bound, and never quite as
// long as the next link does.

import type { WheelTimeout } from "../../util/timer-wheel.ts";
import type { S2sContext } from "./context.ts";

/** Back-off grows up to this multiple of the configured delay. */
const MAX_FACTOR = 10;

/** The waits of one link, one at a time. */
export class BackOff {
  #context: S2sContext;
  #failures = 0;
  #failedAt = 0;
  #timer: WheelTimeout | undefined;

  constructor(context: S2sContext) {
    this.#context = context;
  }

  /** One more failure; `wait` then knows how long. */
  failed(): void {
    this.#failures++;
    this.#failedAt = this.#context.clock.now();
  }

  /** The other server has proved something: failures before that count no more. */
  forget(): void {
    this.#failures = 0;
  }

  /** Whether failures are remembered, `now`: for as long as the longest wait. */
  remembers(now: number): boolean {
    return this.#failures > 0 && now - this.#failedAt < this.#context.config.retry_delay * MAX_FACTOR;
  }

  /** Calls `over` after a wait that grows with the failures, or of about `ms` when that is given. */
  wait(over: () => void, ms?: number): void {
    const factor = Math.min(2 ** (this.#failures - 1), MAX_FACTOR);
    const longest = ms ?? this.#context.config.retry_delay * factor;
    // Between half of it and all of it.
    const delay = longest / 2 + this.#context.random.below(Math.max(1, Math.ceil(longest / 2)));
    this.#timer = this.#context.wheel.add(delay, over);
  }

  /** Ends the wait without a word. */
  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
