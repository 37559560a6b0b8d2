// A clock that knows which of its timers are pending and who set them. All times are those of the clock behind it.

import { type Clock, sleepOn, type Timer } from "../../util/clock.ts";
import { callersIn, type Leftover } from "./leftover.ts";

/** A clock whose timers are watched. */
export class WatchedClock implements Clock {
  #clock: Clock;
  #pending = new Map<Timer, { readonly ms: number; readonly place: Error }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many timers wait. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  now(): number {
    return this.#clock.now();
  }

  wallTime(): number {
    return this.#clock.wallTime();
  }

  setTimer(ms: number, fire: () => void): Timer {
    const inner = this.#clock.setTimer(ms, () => {
      this.#pending.delete(timer);
      fire();
    });
    const timer: Timer = {
      cancel: () => {
        this.#pending.delete(timer);
        inner.cancel();
      },
    };
    this.#pending.set(timer, { ms, place: new Error() });
    return timer;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  turn(): Promise<void> {
    return this.#clock.turn();
  }

  soon(run: () => void): void {
    this.#clock.soon(run);
  }

  /** The timers that wait, each with who set it. */
  leftovers(): Leftover[] {
    return Array.from(this.#pending.values(), ({ ms, place }) => {
      return { kind: "timer", what: `of ${Math.round(ms)} ms`, madeAt: callersIn(place.stack) };
    });
  }
}
