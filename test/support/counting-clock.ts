// The system's clock, with a count of the timers that are pending: for tests that nothing is left behind.

import { type Clock, sleepOn, systemClock } from "../../src/util/clock.ts";

/** A clock that counts its timers. */
export class CountingClock implements Clock {
  /** Timers that have neither fired nor been cancelled. */
  pending = 0;

  now(): number {
    return systemClock.now();
  }

  wallTime(): number {
    return systemClock.wallTime();
  }

  setTimer(ms: number, fire: () => void): { cancel(): void } {
    let isPending = true;
    this.pending++;
    const over = (): boolean => {
      if (!isPending) return false;
      isPending = false;
      this.pending--;
      return true;
    };
    const timer = systemClock.setTimer(ms, () => {
      if (over()) fire();
    });
    return {
      cancel: () => {
        if (over()) timer.cancel();
      },
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  turn(): Promise<void> {
    return systemClock.turn();
  }

  soon(run: () => void): void {
    systemClock.soon(run);
  }
}
