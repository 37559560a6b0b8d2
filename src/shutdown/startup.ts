// The start of a server as far as a stop is concerned: that it is to end early, that it is over, and how long a stop
// waits for it. Not for: the steps of the start, which the program has (Lifecycle.start).

import type { Clock } from "../util/clock.ts";

/** The one start of a server. */
export class Startup {
  #ending = new AbortController();
  #over = new AbortController();

  /** Aborts when it is to end early. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Whether it is over, or nobody waits for it any longer. */
  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** Says that it is over: complete, ended early, or not to be waited for. */
  over(): void {
    this.#over.abort();
  }

  /** Asks it to end and waits until it is over or `left` says that no time is left. Tells whether it came to its end. */
  async end(clock: Clock, left: () => number): Promise<boolean> {
    this.#ending.abort();
    // In steps, because a second signal may shrink what is left meanwhile.
    while (!this.isOver) {
      const ms = left();
      if (ms <= 0) {
        this.over();
        return false;
      }
      await clock.sleep(Math.min(ms, 100), this.#over.signal);
    }
    return true;
  }
}
