// Gathers the transports that were written to in one turn of the event loop and flushes them together at its end, so
// that the texts of a turn leave as one write (one TLS record, one system call) per transport. Not for: buffering.

import type { Clock } from "../util/clock.ts";

/** Something that holds text until it is flushed. */
export interface Flushable {
  /** Hands over what was gathered. Must not throw. */
  flush(): void;
}

/** The transports of one network that have text to flush in this turn. */
export class WriteBatch {
  #clock: Clock;
  #waiting: Flushable[] = [];
  #spare: Flushable[] = [];
  #run = (): void => this.#flush();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Flushes `transport` at the end of this turn. The caller sees to it that it is added once. */
  add(transport: Flushable): void {
    if (this.#waiting.push(transport) === 1) this.#clock.soon(this.#run);
  }

  #flush(): void {
    const flushed = this.#waiting;
    // A flush may lead to new writes: they go into the other list, and into the next turn.
    this.#waiting = this.#spare;
    for (const transport of flushed) transport.flush();
    flushed.length = 0;
    this.#spare = flushed;
  }
}
