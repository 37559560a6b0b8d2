// Makes the report of a run, of what the run, its phases, the obligations and the sections of others have to say, and
// leaves it on the disk. Not for: the form of a file and its reading (report-file.ts).

import type { Clock } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import { exitCode, outcomeOf } from "./exit-codes.ts";
import type { Obligations } from "./obligations.ts";
import type { CancelReport, DelayReport, DrainReport, PhaseReport } from "./report.ts";
import { writeReport } from "./report-file.ts";
import type { Delay, Run } from "./run.ts";

export interface ReportMakerOptions {
  readonly obligations: Obligations;
  /** The phase that is the delay. */
  readonly delayPhase: string | undefined;
  /** Where reports are written; nowhere unless given. A function is asked at each report. */
  readonly dir: string | (() => string | undefined) | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Makes the reports of one server. */
export class ReportMaker {
  #options: ReportMakerOptions;
  #sections = new Map<string, () => unknown>();

  constructor(options: ReportMakerOptions) {
    this.#options = options;
  }

  /** See `Lifecycle.section`. */
  section(name: string, content: () => unknown): void {
    this.#sections.set(name, content);
  }

  /** Returns the report of a run, or of what it has come to so far. */
  make(run: Run<string>, phases: readonly PhaseReport[], cancelled?: CancelReport): DrainReport {
    const { obligations, clock } = this.#options;
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
      durationMs: Math.round(clock.now() - run.startedAt),
      budgetMs: run.budgetMs,
      ...(run.delay === undefined ? {} : { delay: this.#delayReport(run.delay, phases) }),
      startupMs,
      hurried: run.hurried,
      skippedToEnd: run.skippedToEnd,
      phases,
      obligations: obligations.snapshot(),
      sections: this.#sectionsOf(run),
      repeatedRequests: [...run.repeated],
      repeatedCount: run.repeatedCount,
      ...(cancelled === undefined ? {} : { cancelled }),
    };
    if (cancelled !== undefined) return { ...body, outcome: "cancelled", exitCode: 0 };
    const outcome = outcomeOf(body);
    return { ...body, outcome, exitCode: exitCode(outcome) };
  }

  /** Leaves a report on the disk; a disk that does not take it is logged, with the report. Synchronous. */
  save(report: DrainReport): void {
    const { dir: where, log } = this.#options;
    const reportDir = typeof where === "function" ? where() : where;
    if (reportDir === undefined) return;
    try {
      writeReport(reportDir, report);
    } catch (thrown) {
      log.error({ err: asError(thrown), reportDir, report }, "the drain report could not be written");
    }
  }

  #delayReport({ askedMs, announcement, cut }: Delay, phases: readonly PhaseReport[]): DelayReport {
    const tookMs = phases.find(({ name }) => name === this.#options.delayPhase)?.durationMs ?? 0;
    return {
      askedMs,
      tookMs,
      ...(announcement === undefined ? {} : { announcement }),
      ...(cut === undefined ? {} : { cut }),
    };
  }

  /** What each section has to say; one that fails says so. */
  #sectionsOf(run: Run<string>): Record<string, unknown> {
    // A null prototype, and JSON made here: a section that cannot be written must not take the report with it.
    const sections: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const [name, content] of this.#sections) {
      try {
        sections[name] = JSON.parse(JSON.stringify(content() ?? null));
      } catch (thrown) {
        this.#options.log.error({ err: asError(thrown), section: name }, "a section of the report failed");
        sections[name] = { error: asError(thrown).message };
      }
    }
    if (run.suspension !== undefined) sections.suspension = run.suspension;
    return sections;
  }
}
