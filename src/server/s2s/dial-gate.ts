// The cap on dials under way at one time. A dial that has gone on for a while gives its place to the next one, so that
// domains that do not answer cannot hold up those that would; a second, higher cap bounds the slow ones too.

import type { TimerWheel, WheelTimeout } from "../../util/timer-wheel.ts";

/** After this time a dial no longer counts against the first cap. */
const SLOW_MS = 2_000;

/** The second cap, as a multiple of the first. */
const SLOW_FACTOR = 8;

/** Lets a bounded number of dials go on at once. */
export class DialGate {
  #max: number;
  #wheel: TimerWheel;
  #fresh = 0;
  #all = 0;
  #isHeld = false;
  #waiting = new Set<() => void>();

  constructor(max: number, wheel: TimerWheel) {
    this.#max = max;
    this.#wheel = wheel;
  }

  /** Another cap from now on; who is in stays in. */
  set max(max: number) {
    this.#max = max;
    for (const go of this.#waiting) go();
  }

  /** Waits for a place and returns the function that gives it up; undefined when `signal` aborts first. */
  async enter(signal: AbortSignal): Promise<(() => void) | undefined> {
    while (!this.#hasRoom() && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const go = (): void => {
          this.#waiting.delete(go);
          signal.removeEventListener("abort", go);
          resolve();
        };
        this.#waiting.add(go);
        signal.addEventListener("abort", go);
      });
    }
    if (signal.aborted) {
      this.#wakeOne();
      return undefined;
    }
    return this.#take();
  }

  /** Lets nobody in until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Goes on after `hold`. */
  release(): void {
    this.#isHeld = false;
    for (const go of this.#waiting) go();
  }

  #hasRoom(): boolean {
    return !this.#isHeld && this.#fresh < this.#max && this.#all < this.#max * SLOW_FACTOR;
  }

  #take(): () => void {
    this.#fresh++;
    this.#all++;
    let slow: WheelTimeout | undefined = this.#wheel.add(SLOW_MS, () => {
      slow = undefined;
      this.#fresh--;
      this.#wakeOne();
    });
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#all--;
      if (slow !== undefined) this.#fresh--;
      slow?.cancel();
      this.#wakeOne();
    };
  }

  #wakeOne(): void {
    const [next] = this.#waiting;
    if (this.#hasRoom()) next?.();
  }
}
