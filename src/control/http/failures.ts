// Counts the wrong tokens that come from each address, so that nobody can guess fast or fill the log. Bounded; it forgets
// addresses rather than grow.

import { addressGroup } from "../../server/address.ts";
import { BoundedCache } from "../../util/bounded-cache.ts";
import type { Clock } from "../../util/clock.ts";

const MAX_ADDRESSES = 1_000;
const MAX_FAILURES = 10;
const WINDOW_MS = 60_000;

interface Count {
  readonly since: number;
  failures: number;
}

/** Wrong tokens by address. */
export class TokenFailures {
  #clock: Clock;
  #counts = new BoundedCache<string, Count>(MAX_ADDRESSES);
  /** How many there were in all. */
  total = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Writes down a failure; returns how many seconds the address has to wait, 0 as long as it may go on trying. */
  add(address: string): number {
    this.total++;
    const group = addressGroup(address);
    const now = this.#clock.now();
    let count = this.#counts.get(group);
    if (count === undefined || now - count.since >= WINDOW_MS) {
      count = { since: now, failures: 0 };
      this.#counts.set(group, count);
    }
    count.failures++;
    if (count.failures <= MAX_FAILURES) return 0;
    return Math.ceil((count.since + WINDOW_MS - now) / 1_000);
  }
}
