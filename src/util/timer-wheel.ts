// One coarse timer for very many timeouts: sessions, streams and queues share a wheel instead of holding a system timer
// each. Adding, moving and removing are O(1); a timeout fires up to one tick late, never early.

import type { Clock, Timer } from "./clock.ts";

/** A timeout on a wheel. */
export interface WheelTimeout {
  /** Starts the time anew, with the same or another duration. */
  restart(ms?: number): void;
  cancel(): void;
}

interface Slot {
  due: number;
  ms: number;
  bucket: Set<Slot> | undefined;
  readonly fire: () => void;
}

/** A wheel of timeouts. It holds a system timer only while it has a timeout. */
export class TimerWheel {
  #clock: Clock;
  #tickMs: number;
  #buckets = new Map<number, Set<Slot>>();
  #timer: Timer | undefined;
  #size = 0;
  #isPaused = false;

  constructor(clock: Clock, tickMs = 500) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  /** How many timeouts are pending. */
  get size(): number {
    return this.#size;
  }

  /** Lets nothing fire until `resume`. */
  pause(): void {
    this.#isPaused = true;
    this.#stop();
  }

  /** Goes on after `pause`: every timeout has its whole time again. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    // Placing them changes what would be gone through.
    const slots: Slot[] = [];
    for (const bucket of this.#buckets.values()) slots.push(...bucket);
    for (const slot of slots) {
      this.#remove(slot);
      this.#place(slot);
    }
  }

  /** Calls `fire` once, `ms` from now or up to a tick later. */
  add(ms: number, fire: () => void): WheelTimeout {
    const slot: Slot = { due: 0, ms, bucket: undefined, fire };
    this.#place(slot);
    return {
      restart: (next = slot.ms) => {
        slot.ms = next;
        this.#remove(slot);
        this.#place(slot);
      },
      cancel: () => {
        this.#remove(slot);
        if (this.#size === 0) this.#stop();
      },
    };
  }

  #place(slot: Slot): void {
    slot.due = Math.ceil((this.#clock.now() + slot.ms) / this.#tickMs);
    let bucket = this.#buckets.get(slot.due);
    if (bucket === undefined) {
      bucket = new Set();
      this.#buckets.set(slot.due, bucket);
    }
    bucket.add(slot);
    slot.bucket = bucket;
    this.#size++;
    if (!this.#isPaused) this.#timer ??= this.#clock.setTimer(this.#tickMs, () => this.#tick());
  }

  #remove(slot: Slot): void {
    if (slot.bucket === undefined) return;
    slot.bucket.delete(slot);
    if (slot.bucket.size === 0) this.#buckets.delete(slot.due);
    slot.bucket = undefined;
    this.#size--;
  }

  #tick(): void {
    this.#timer = undefined;
    const now = Math.floor(this.#clock.now() / this.#tickMs);
    for (const [due, bucket] of this.#buckets) {
      if (due > now) continue;
      for (const slot of bucket) {
        if (this.#isPaused) return;
        this.#remove(slot);
        slot.fire();
      }
    }
    if (this.#size > 0 && !this.#isPaused) this.#timer ??= this.#clock.setTimer(this.#tickMs, () => this.#tick());
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
