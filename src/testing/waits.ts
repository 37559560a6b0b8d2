// Waiting for something that is reported: each report is shown to everybody who waits, and who finds what he waits for
// goes on. Times are those of the given clock, so that on a manual clock a wait takes no time unless the test moves it.

import type { Clock, Timer } from "../util/clock.ts";

interface Wait<Report> {
  readonly matches: (report: Report) => boolean;
  readonly resolve: (report: Report) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
}

/** Everybody who waits for reports of one kind. */
export class Waits<Report> {
  #clock: Clock;
  #waits = new Set<Wait<Report>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves with the next report that matches; rejects after `limitMs` with the text that `what` returns then. */
  next(matches: (report: Report) => boolean, limitMs: number, what: () => string): Promise<Report> {
    return new Promise((resolve, reject) => {
      // Made here, so that its stack shows who waits.
      const error = new Error();
      const timer = this.#clock.setTimer(limitMs, () => {
        this.#waits.delete(wait);
        error.message = `waited ${limitMs} ms in vain: ${what()}`;
        reject(error);
      });
      const wait: Wait<Report> = { matches, resolve, reject, timer };
      this.#waits.add(wait);
    });
  }

  /** Shows a report to everybody who waits. */
  tell(report: Report): void {
    if (this.#waits.size === 0) return;
    for (const wait of this.#waits) {
      if (!wait.matches(report)) continue;
      this.#waits.delete(wait);
      wait.timer.cancel();
      wait.resolve(report);
    }
  }

  /** Nothing will be reported any more: everybody who waits learns why. */
  fail(reason: () => string): void {
    for (const wait of this.#waits) {
      wait.timer.cancel();
      wait.reject(new Error(reason()));
    }
    this.#waits.clear();
  }
}
