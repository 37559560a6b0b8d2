// The one deadline that all phases of a run share, and how much of it each may use. Time a phase does not use flows on
// to the next. Not for: ending a phase when its time is over (phase-run.ts) or killing the process (watchdog.ts).

import type { Clock } from "../util/clock.ts";
import type { PhasePlan } from "./types.ts";

export interface BudgetOptions<Phase extends string> {
  readonly clock: Clock;
  /** The time all phases have together, from now on. */
  readonly totalMs: number;
  /** The phases that will run, in their order. */
  readonly plan: readonly PhasePlan<Phase>[];
  /** How long the phase that is a delay lasts before that time begins; none unless given. */
  readonly delayMs?: number;
}

/**
 * Divides one deadline among phases. A phase may use what is left minus the floors of the phases still to come, at
 * least its own floor, at most its ceiling. When less is left than all floors together, every floor shrinks in the same
 * proportion, so that an early phase cannot starve a late one. The last phase has its whole floor in any case, past the
 * deadline if need be, because it writes the report and flushes the stores. A delay comes before all that: what is cut off it
 * is nobody else's, and the deadline comes nearer by as much.
 */
export class Budget<Phase extends string> {
  #clock: Clock;
  #plan: readonly PhasePlan<Phase>[];
  #totalMs: number;
  #delayedUntil: number;
  #at: number;

  constructor(options: BudgetOptions<Phase>) {
    const { clock, plan, totalMs, delayMs = 0 } = options;
    this.#clock = clock;
    this.#plan = plan;
    this.#totalMs = Math.max(0, totalMs);
    this.#delayedUntil = clock.now() + Math.max(0, delayMs);
    this.#at = this.#delayedUntil + this.#totalMs;
  }

  /** Returns the milliseconds that are left of the delay, never below 0. */
  delay(): number {
    return Math.max(0, this.#delayedUntil - this.#clock.now());
  }

  /** Ends the delay `ms` from now, and brings the deadline forward with it. Tells whether that is sooner than before. */
  shortenDelay(ms: number): boolean {
    const until = this.#clock.now() + Math.max(0, ms);
    if (until >= this.#delayedUntil) return false;
    this.#delayedUntil = until;
    this.#at = Math.min(this.#at, until + this.#totalMs);
    return true;
  }

  /** Returns the milliseconds until the deadline, never below 0. */
  remaining(): number {
    return Math.max(0, this.#at - this.#clock.now());
  }

  /** Returns the milliseconds until the last phase must be over at the latest: what a watchdog goes by. */
  latest(): number {
    return Math.max(0, this.#at + (this.#plan.at(-1)?.floorMs ?? 0) - this.#clock.now());
  }

  /** Brings the deadline forward to `ms` from now; never puts it off. */
  shrink(ms: number): void {
    this.#at = Math.min(this.#at, this.#clock.now() + Math.max(0, ms));
  }

  /** Returns the milliseconds `phase` may use from now on; a phase that is under way may ask again after `shrink`. */
  share(phase: Phase): number {
    const index = this.#plan.findIndex((plan) => plan.name === phase);
    const own = this.#plan[index];
    if (own === undefined) return 0;
    if (own.isDelay === true) return this.delay();
    const left = this.remaining();
    const isLast = index === this.#plan.length - 1;
    if (isLast) return Math.max(own.floorMs, Math.min(own.ceilingMs, left));
    const floorsAfter = sumOfFloors(this.#plan.slice(index + 1));
    const floors = own.floorMs + floorsAfter;
    const free = left >= floors ? left - floorsAfter : (left * own.floorMs) / floors;
    return Math.min(own.ceilingMs, free);
  }

  /** Returns the milliseconds that may be spent before the first phase begins, such as on the end of a start-up. */
  lead(): number {
    return Math.max(0, this.remaining() - this.delay() - sumOfFloors(this.#plan));
  }
}

function sumOfFloors(plan: readonly PhasePlan[]): number {
  return plan.reduce((sum, phase) => sum + phase.floorMs, 0);
}
