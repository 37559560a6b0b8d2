// Where those wait who have something for a client that cannot take more: all together, until there is room again, and not
// for ever. Not for: when there is room (delivery.ts).

import type { TimerWheel, WheelTimeout } from "../../util/timer-wheel.ts";

/** What a waiting room needs. */
export interface RoomOptions {
  readonly wheel: TimerWheel;
  /** How long it may take until there is room again, in milliseconds. */
  readonly stallTimeoutMs: number;
}

/** A waiting room. */
export class Room {
  #options: RoomOptions;
  #stalled: () => void;
  #waiting: { readonly promise: Promise<void>; readonly open: () => void } | undefined;
  #stall: WheelTimeout | undefined;

  /** `stalled` is called when it has taken too long; those who wait go on waiting. */
  constructor(options: RoomOptions, stalled: () => void) {
    this.#options = options;
    this.#stalled = stalled;
  }

  /** Resolves when there is room again. Everybody gets the same promise. */
  wait(): Promise<void> {
    if (this.#waiting === undefined) {
      let open: () => void = () => undefined;
      const promise = new Promise<void>((resolve) => {
        open = resolve;
      });
      this.#waiting = { promise, open };
      this.#stall = this.#options.wheel.add(this.#options.stallTimeoutMs, this.#stalled);
    }
    return this.#waiting.promise;
  }

  /** The client has taken something, if not enough: its time begins anew. */
  progressed(): void {
    this.#stall?.restart();
  }

  /** No time runs until `progressed`. */
  hold(): void {
    this.#stall?.cancel();
  }

  /** There is room, or nobody to wait for. */
  open(): void {
    this.#stall?.cancel();
    this.#stall = undefined;
    this.#waiting?.open();
    this.#waiting = undefined;
  }
}
