// The clock of a simulation: time stands still while anything runs and then jumps to the next event. All events form one
// queue, ordered by time and then by the order in which they were set, and promises settle completely between two of
// them: the same program does the same things in the same order, always. Not for tests with real sockets: manual-clock.ts.

import { type Clock, sleepOn, type Timer } from "../../util/clock.ts";

interface Event {
  readonly at: number;
  readonly order: number;
  readonly owner: ClockView;
  fire: (() => void) | undefined;
}

/** How many events are lined up for one turn of the real event loop; promises settle between them all the same. */
const LINED_UP = 64;

/** A clock that goes as fast as the program can. */
export class SimulatedClock {
  #now = 0;
  #order = 0;
  #epoch: number;
  #heap: Event[] = [];
  #ready: Event[] = [];
  #fired = 0;

  /** Starts at 0, which is `epoch` on the wall (2026-01-01 unless told). */
  constructor(epoch: number = Date.UTC(2026, 0, 1)) {
    this.#epoch = epoch;
  }

  get now(): number {
    return this.#now;
  }

  get wallTime(): number {
    return this.#epoch + this.#now;
  }

  /** How many events there have been. */
  get fired(): number {
    return this.#fired;
  }

  /** Returns a clock for one part of the simulation, whose timers can be counted and stopped apart from the others'. */
  view(): ClockView {
    return new ClockView(this);
  }

  /** Lets events happen until `isOver` or until there are none before `limit`. */
  run(isOver: () => boolean, limit = Number.POSITIVE_INFINITY): Promise<void> {
    return new Promise((resolve, reject) => {
      let linedUp = 0;
      let hasEnded = false;
      const lineUp = (): void => {
        for (linedUp = 0; linedUp < LINED_UP; linedUp++) setImmediate(step);
      };
      const step = (): void => {
        linedUp--;
        if (hasEnded) return;
        try {
          hasEnded = isOver() || !this.#fireNext(limit);
        } catch (thrown) {
          hasEnded = true;
          reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
        }
        if (hasEnded) resolve();
        else if (linedUp === 0) lineUp();
      };
      lineUp();
    });
  }

  /** Used by the views. */
  add(ms: number, owner: ClockView, fire: () => void): Event {
    const event = { at: this.#now + Math.max(0, ms), order: this.#order++, owner, fire };
    this.#push(event);
    return event;
  }

  /** Used by the views: before the next event of the queue. */
  addReady(owner: ClockView, fire: () => void): void {
    this.#ready.push({ at: this.#now, order: 0, owner, fire });
  }

  #fireNext(limit: number): boolean {
    const event = this.#ready.shift() ?? this.#pop(limit);
    if (event === undefined) return false;
    const { fire } = event;
    event.fire = undefined;
    if (fire === undefined || event.owner.isStopped) return true;
    if (event.at > this.#now) this.#now = event.at;
    this.#fired++;
    fire();
    return true;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = heap[above] as Event;
      if (isBefore(other, event)) break;
      heap[at] = other;
      at = above;
    }
    heap[at] = event;
  }

  /** Takes out the first event that was not cancelled; undefined when it comes after `limit`. */
  #pop(limit: number): Event | undefined {
    const heap = this.#heap;
    for (;;) {
      const first = heap[0];
      if (first === undefined || (first.fire !== undefined && first.at > limit)) return undefined;
      const last = heap.pop() as Event;
      if (heap.length > 0) this.#sink(last);
      if (first.fire !== undefined) return first;
    }
  }

  #sink(event: Event): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1] as Event, heap[below] as Event)) below++;
      if (isBefore(event, heap[below] as Event)) break;
      heap[at] = heap[below] as Event;
      at = below;
    }
    heap[at] = event;
  }
}

/** A part's clock. */
export class ClockView implements Clock {
  #clock: SimulatedClock;
  #pending = 0;
  #isStopped = false;

  constructor(clock: SimulatedClock) {
    this.#clock = clock;
  }

  /** How many timers of this part wait. */
  get pendingTimers(): number {
    return this.#pending;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** None of this part's timers fires any more, as when its process is killed. */
  stop(): void {
    this.#isStopped = true;
  }

  now(): number {
    return this.#clock.now;
  }

  wallTime(): number {
    return this.#clock.wallTime;
  }

  setTimer(ms: number, fire: () => void): Timer {
    this.#pending++;
    const event = this.#clock.add(ms, this, () => {
      this.#pending--;
      fire();
    });
    return {
      cancel: () => {
        if (event.fire === undefined) return;
        event.fire = undefined;
        this.#pending--;
      },
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.add(0, this, resolve);
    });
  }

  soon(run: () => void): void {
    this.#clock.addReady(this, run);
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}
