// A token bucket for bytes read: a burst is free, and on the long run no more than a rate. It says how long to wait and
// sets no timer itself.

import type { Clock } from "../util/clock.ts";

/** How fast bytes may come. */
export interface RateLimits {
  /** Bytes a second. */
  readonly rate: number;
  readonly burst: number;
}

/** Counts bytes against a rate. */
export class ByteRate {
  #limits: RateLimits;
  #tokens: number;
  #at: number;

  constructor(limits: RateLimits, clock: Pick<Clock, "now">) {
    this.#limits = limits;
    this.#tokens = limits.burst;
    this.#at = clock.now();
  }

  /** Other limits from now on; what was saved up or overdrawn stays so. */
  setLimits(limits: RateLimits): void {
    this.#tokens = Math.min(limits.burst, this.#tokens + Math.max(0, limits.burst - this.#limits.burst));
    this.#limits = limits;
  }

  /** Counts `bytes` that came at `now` and returns the milliseconds to wait before more is read; 0 under the rate. */
  take(bytes: number, now: number): number {
    const { rate, burst } = this.#limits;
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) * rate) / 1000) - bytes;
    this.#at = now;
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens * 1000) / rate);
  }
}
