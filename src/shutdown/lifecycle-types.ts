// What a lifecycle is given when it is made, and what it tells its listeners. Not for: the words of a shutdown that
// participants need as well (types.ts).

import type { Clock } from "../util/clock.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import type { PhaseProgress } from "./phase-progress.ts";
import type { PhaseEvent } from "./pipeline.ts";
import type { DrainReport } from "./report.ts";
import type { SuspendRequest, SuspendStep } from "./suspend-types.ts";
import type { LifecycleState, PhasePlan, StopRequest } from "./types.ts";
import type { Watchdog } from "./watchdog.ts";

/** What a lifecycle tells its listeners. */
export interface LifecycleEvents<Phase extends string = string> {
  /** The state has changed. `request` is what was asked for, unless the server just runs. */
  readonly state: { readonly state: LifecycleState; readonly request?: StopRequest | SuspendRequest };
  /** A phase has started or ended. */
  readonly phase: PhaseEvent<Phase>;
  /** How far the phase, or the step of a suspension, is; several times a second meanwhile. */
  readonly progress: PhaseProgress<Phase | SuspendStep>;
  /** The run is over and its report is on disk: the process is to leave. */
  readonly report: DrainReport;
  /** The run was cancelled, everything is back and its report is on disk: the process stays. */
  readonly cancelled: DrainReport;
}

export interface LifecycleOptions<Phase extends string> {
  /** The phases in their order; the last one always runs. */
  readonly plan: readonly PhasePlan<Phase>[];
  /** The phase from whose beginning on a run cannot be cancelled any more; the first one unless given. */
  readonly pointOfNoReturn?: Phase;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The time all phases have together, unless a request says otherwise. */
  readonly budgetMs: number;
  /** The delay of requests that name none; 0 unless given. */
  readonly delayMs?: number;
  /** What a second signal leaves of the budget. */
  readonly hurryMs: number;
  /** Guards against a run that does not end; none unless given. */
  readonly watchdog?: Watchdog;
  /** Where reports are written; nowhere unless given. A function is asked at each report. */
  readonly reportDir?: string | (() => string | undefined);
  /** How often progress is told (250 ms unless told). */
  readonly progressMs?: number;
  /** How long those who are under way have, all together, to stop when a run is cancelled (2000 ms unless told). */
  readonly settleMs?: number;
  /** How long each participant has to take back what it did when a run is cancelled (5000 ms unless told). */
  readonly undoMs?: number;
}
