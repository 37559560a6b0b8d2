// One run of the pipeline as it was asked for: its time, its delay, what else was asked for meanwhile, how it was cut
// short. Not for: what happens in it (lifecycle.ts) and the report that is made of it (report-maker.ts).

import type { Clock } from "../util/clock.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { withResolvers } from "../util/with-resolvers.ts";
import { Budget } from "./budget.ts";
import { isWanted } from "./pipeline.ts";
import type { DelayCut, DrainReport, RepeatedRequest } from "./report.ts";
import type { SuspendReport } from "./suspend-types.ts";
import type { CancelResult, PhasePlan, StopRequest } from "./types.ts";
import type { WayBack } from "./way-back.ts";

export interface RunOptions<Phase extends string> {
  readonly request: StopRequest;
  /** The delay that counts for it, whatever the request says. */
  readonly delayMs: number;
  /** The time its phases have together. */
  readonly budgetMs: number;
  readonly plan: readonly PhasePlan<Phase>[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** The delay of a run. */
export interface Delay {
  readonly askedMs: number;
  announcement: string | undefined;
  /** Who made it shorter last, and when. */
  cut: DelayCut | undefined;
}

const MAX_REPEATED = 100;

/** A run of the pipeline, from the moment it is asked for. */
export class Run<Phase extends string> {
  readonly id: string;
  readonly request: StopRequest;
  readonly budgetMs: number;
  readonly budget: Budget<Phase>;
  /** What became of its delay; undefined when it has none. */
  readonly delay: Delay | undefined;
  readonly startedAt: number;
  readonly startedWall: number;
  /** The first requests that came meanwhile; `repeatedCount` counts them all. */
  readonly repeated: RepeatedRequest[] = [];
  repeatedCount = 0;
  error: Error | undefined;
  hurried = false;
  skippedToEnd = false;
  startupMs = 0;
  /** The suspension that was taken back for it. */
  suspension: SuspendReport | undefined;
  /** Set once the run is cancelled. */
  wayBack: WayBack<CancelResult> | undefined;
  /** Set once the run is over, unless it was cancelled. */
  report: DrainReport | undefined;
  readonly finished: Promise<DrainReport>;
  readonly finish: (report: DrainReport) => void;
  #clock: Clock;
  #log: Logger;

  constructor({ request, delayMs, budgetMs, plan, clock, random, log }: RunOptions<Phase>) {
    this.id = random.id();
    this.request = delayMs === (request.delayMs ?? 0) ? request : { ...request, delayMs };
    this.budgetMs = budgetMs;
    const wanted = plan.filter((phase) => isWanted(phase, this.request));
    this.budget = new Budget({ clock, totalMs: budgetMs, plan: wanted, delayMs });
    const { announcement } = request;
    this.delay = delayMs === 0 ? undefined : { askedMs: delayMs, announcement, cut: undefined };
    this.startedAt = clock.now();
    this.startedWall = clock.wallTime();
    this.error = request.error;
    const { promise, resolve } = withResolvers<DrainReport>();
    this.finished = promise;
    this.finish = resolve;
    this.#clock = clock;
    this.#log = log;
  }

  /** Returns the milliseconds since it was asked for. */
  elapsed(): number {
    return Math.round(this.#clock.now() - this.startedAt);
  }

  /** Why there is no way back from it in any phase, for people; undefined when there is one. */
  get whyNoReturn(): string | undefined {
    if (this.error !== undefined) return `a fatal error made the stop necessary: ${this.error.message}`;
    if (this.request.noReturn !== undefined) return this.request.noReturn;
    return this.skippedToEnd ? "it was told to skip to the last phase" : undefined;
  }

  /**
   * Notes a request that came meanwhile, and takes over what it changes: its fault, and during the delay its announcement
   * and the delay that counts for it, if that is over sooner. Tells whether the run has less time now.
   */
  repeat(request: StopRequest, delayMs: number): boolean {
    const { cause, reason, trigger, error, announcement } = request;
    this.repeatedCount++;
    if (this.repeated.length < MAX_REPEATED) {
      this.repeated.push({ cause, reason, trigger, atMs: this.elapsed() });
      this.#log.info({ run: this.id, cause, trigger }, `asked to stop again: ${reason}`);
    }
    if (this.report !== undefined) return false;
    this.error ??= error;
    if (this.delay === undefined || this.budget.delay() <= 0) return false;
    if (announcement !== undefined) this.delay.announcement = announcement;
    return this.shortenDelay(delayMs, `asked to stop again by ${trigger}`);
  }

  /** Brings the end of its delay forward to `ms` from now, and its deadline with it. Tells whether that changed anything. */
  shortenDelay(ms: number, why: string): boolean {
    if (this.delay === undefined || this.budget.delay() <= 0 || !this.budget.shortenDelay(ms)) return false;
    this.delay.cut = { why, atMs: this.elapsed() };
    this.#log.info({ run: this.id, delayMs: ms }, `the delay is shortened: ${why}`);
    return true;
  }
}
