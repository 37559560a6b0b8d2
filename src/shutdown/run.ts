// A run of the pipeline as the lifecycle knows it, and the report that is made of it. What happens in it: lifecycle.ts.

import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Budget } from "./budget.ts";
import { exitCode, outcomeOf } from "./exit-codes.ts";
import type { CancelReport, DelayCut, DelayReport, DrainReport, PhaseReport, RepeatedRequest } from "./report.ts";
import type { SuspendReport } from "./suspend-types.ts";
import type { CancelRequest, CancelResult, StopRequest } from "./types.ts";

/** A run of the pipeline that was asked for. */
export interface Run<Phase extends string> {
  readonly request: StopRequest;
  readonly id: string;
  readonly budget: Budget<Phase>;
  readonly budgetMs: number;
  /** What became of its delay; undefined when it has none. */
  delay: Delay | undefined;
  readonly startedAt: number;
  readonly startedWall: number;
  readonly repeated: RepeatedRequest[];
  repeatedCount: number;
  error: Error | undefined;
  hurried: boolean;
  skippedToEnd: boolean;
  startupMs: number;
  readonly finished: Promise<DrainReport>;
  readonly finish: (report: DrainReport) => void;
  /** Set once the run is cancelled. */
  cancel: Cancel | undefined;
  /** The suspension that was taken back for it. */
  suspension: SuspendReport | undefined;
}

/** The delay of a run. */
export interface Delay {
  readonly askedMs: number;
  announcement: string | undefined;
  /** Who made it shorter last, and when. */
  cut: DelayCut | undefined;
}

/** The way back of a run. */
export interface Cancel {
  readonly request: CancelRequest;
  readonly atMs: number;
  readonly done: Promise<CancelResult>;
  readonly finish: (result: CancelResult) => void;
}

/** What a report says beside the run itself. */
export interface RunFacts extends Pick<DrainReport, "phases" | "obligations" | "sections"> {
  /** The moment at which the report is made, on the clock of the run. */
  readonly now: number;
  /** The phase that is the delay. */
  readonly delayPhase?: string | undefined;
  readonly cancelled?: CancelReport | undefined;
}

/** Returns the report of a run, or of what it has come to so far. */
export function reportOf(run: Run<string>, facts: RunFacts): DrainReport {
  const { phases, obligations, sections, now, delayPhase, cancelled } = facts;
  const { cause, reason, trigger } = run.request;
  const { error, startupMs } = run;
  const body = {
    version: 1 as const,
    id: run.id,
    cause,
    reason,
    trigger,
    ...(error === undefined ? {} : { error: error.stack ?? error.message }),
    startedAt: new Date(run.startedWall).toISOString(),
    durationMs: Math.round(now - run.startedAt),
    budgetMs: run.budgetMs,
    ...(run.delay === undefined ? {} : { delay: delayOf(run.delay, phases, delayPhase) }),
    startupMs,
    hurried: run.hurried,
    skippedToEnd: run.skippedToEnd,
    phases,
    obligations: obligations,
    sections: sections,
    repeatedRequests: [...run.repeated],
    repeatedCount: run.repeatedCount,
    ...(cancelled === undefined ? {} : { cancelled }),
  };
  if (cancelled !== undefined) return { ...body, outcome: "cancelled", exitCode: 0 };
  const outcome = outcomeOf(body);
  return { ...body, outcome, exitCode: exitCode(outcome) };
}

function delayOf(
  { askedMs, announcement, cut }: Delay,
  phases: readonly PhaseReport[],
  phase: string | undefined,
): DelayReport {
  const tookMs = phases.find(({ name }) => name === phase)?.durationMs ?? 0;
  return {
    askedMs,
    tookMs,
    ...(announcement === undefined ? {} : { announcement }),
    ...(cut === undefined ? {} : { cut }),
  };
}

/** Returns what each section has to say; one that fails says so. */
export function sectionsOf(contents: ReadonlyMap<string, () => unknown>, log: Logger): Record<string, unknown> {
  // A null prototype, and JSON made here: a section that cannot be written must not take the report with it.
  const sections: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [name, content] of contents) {
    try {
      sections[name] = JSON.parse(JSON.stringify(content() ?? null));
    } catch (thrown) {
      log.error({ err: asError(thrown), section: name }, "a section of the report failed");
      sections[name] = { error: asError(thrown).message };
    }
  }
  return sections;
}
