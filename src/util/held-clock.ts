// A clock whose timers can be kept from firing for a while, for those whose work is to stand still meanwhile. Time itself goes
// on, and so do turns of the event loop.

import { type Clock, sleepOn, type Timer } from "./clock.ts";

/** A clock that can be held. */
export class HeldClock implements Clock {
  #clock: Clock;
  #isHeld = false;
  /** What was due meanwhile, in order. */
  #due = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Lets no timer fire until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Goes on after `hold`: what was due meanwhile fires in the next turn. */
  release(): void {
    this.#isHeld = false;
    this.#clock.soon(() => {
      if (this.#isHeld) return;
      for (const fire of this.#due) {
        this.#due.delete(fire);
        fire();
      }
    });
  }

  now(): number {
    return this.#clock.now();
  }

  wallTime(): number {
    return this.#clock.wallTime();
  }

  setTimer(ms: number, fire: () => void): Timer {
    const once = (): void => fire();
    const timer = this.#clock.setTimer(ms, () => {
      if (this.#isHeld) this.#due.add(once);
      else fire();
    });
    return {
      cancel: () => {
        timer.cancel();
        this.#due.delete(once);
      },
    };
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
}
