// How late the event loop is, all the time, as a histogram that several readers can share because it only grows. A short
// sample ten times a second. Not for: the delay during a run of the pipeline, which is in the report (shutdown/loop-delay.ts).

import type { Clock, Timer } from "../../util/clock.ts";
import type { Family } from "./exposition.ts";

const EVERY_MS = 100;
const BOUNDS_MS = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];

/** Measures how late timers fire. */
export class LoopLag {
  #clock: Clock;
  #timer: Timer | undefined;
  #counts = BOUNDS_MS.map(() => 0);
  #count = 0;
  #sumMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Begins. It holds the process until `stop`. */
  start(): void {
    const due = this.#clock.now() + EVERY_MS;
    this.#timer = this.#clock.setTimer(EVERY_MS, () => {
      this.#add(Math.max(0, this.#clock.now() - due));
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** The delays so far. */
  family(): Family {
    const buckets = BOUNDS_MS.map((bound, index) => {
      const value = this.#counts[index] ?? 0;
      return { suffix: "_bucket", labels: { le: canonical(bound / 1_000) }, value };
    });
    return {
      name: "morendo_event_loop_delay_seconds",
      type: "histogram",
      help: "How late timers fired, sampled ten times a second.",
      samples: [
        ...buckets,
        { suffix: "_bucket", labels: { le: "+Inf" }, value: this.#count },
        { suffix: "_sum", value: this.#sumMs / 1_000 },
        { suffix: "_count", value: this.#count },
      ],
    };
  }

  #add(lateMs: number): void {
    this.#count++;
    this.#sumMs += lateMs;
    for (const [index, bound] of BOUNDS_MS.entries()) {
      if (lateMs <= bound) this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    }
  }
}

/** OpenMetrics wants a point in every bound. */
function canonical(seconds: number): string {
  return Number.isInteger(seconds) ? seconds.toFixed(1) : String(seconds);
}
