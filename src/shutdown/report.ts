// The drain report as a type: the machine-readable record of one run of the pipeline. Not for: making one (report-maker.ts),
// the disk (report-file.ts) and how it reads for people (report-text.ts).

import type { RunOutcome } from "./exit-codes.ts";
import type { ObligationReport } from "./obligations.ts";
import type { Cause, Outcome, When } from "./types.ts";

/** Why a phase did not run, or not to its end. */
export type SkipReason = "not asked for" | "told to skip" | "out of time" | "cancelled";

/** How one participant fared in a phase. */
export interface ParticipantReport {
  readonly name: string;
  readonly when: When;
  readonly outcome: Outcome;
  readonly durationMs: number;
  /** What it threw, or why it did not finish. */
  readonly error?: string;
  /** The leases it had not released, by name. */
  readonly leaseHolders?: readonly string[];
}

/** How one phase fared. */
export interface PhaseReport {
  readonly name: string;
  readonly outcome: Outcome;
  readonly skipped?: SkipReason;
  readonly durationMs: number;
  /** The time it was given. */
  readonly budgetMs: number;
  readonly participants: readonly ParticipantReport[];
  /** Who still held the phase when its time was over, by name. */
  readonly leaseHolders: readonly string[];
}

/** A request that came while a run was under way. */
export interface RepeatedRequest {
  readonly cause: Cause;
  readonly reason: string;
  readonly trigger: string;
  /** Milliseconds since the run began. */
  readonly atMs: number;
}

/** How a delay became shorter than it was asked for. */
export interface DelayCut {
  /** Why, for people. */
  readonly why: string;
  /** Milliseconds since the run began. */
  readonly atMs: number;
}

/** The delay of a run, which comes on top of its budget. */
export interface DelayReport {
  readonly askedMs: number;
  readonly tookMs: number;
  /** What was announced. */
  readonly announcement?: string;
  /** Present when it was made shorter; the last time counts. */
  readonly cut?: DelayCut;
}

/** How a run was cancelled. */
export interface CancelReport {
  readonly reason: string;
  readonly trigger: string;
  /** Milliseconds since the run began. */
  readonly atMs: number;
  /** Those who took back what they had done, in that order, and how they fared. */
  readonly undone: readonly ParticipantReport[];
}

/** The record of one run of the pipeline. */
export interface DrainReport {
  readonly version: 1;
  readonly id: string;
  readonly cause: Cause;
  readonly reason: string;
  readonly trigger: string;
  /** The fault that made the stop necessary, or that came up during it. */
  readonly error?: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly durationMs: number;
  readonly budgetMs: number;
  /** Present when the run had a delay. */
  readonly delay?: DelayReport;
  /** Time spent waiting for the end of a start-up before the first phase. */
  readonly startupMs: number;
  /** Whether a second signal shrank the budget. */
  readonly hurried: boolean;
  /** Whether a third signal skipped to the last phase. */
  readonly skippedToEnd: boolean;
  readonly phases: readonly PhaseReport[];
  readonly obligations: ObligationReport;
  /** What participants add, by name. */
  readonly sections: Readonly<Record<string, unknown>>;
  /** The first requests that came during the run; `repeatedCount` counts them all. */
  readonly repeatedRequests: readonly RepeatedRequest[];
  readonly repeatedCount: number;
  /** Present when the run was cancelled: the server serves on. */
  readonly cancelled?: CancelReport;
  readonly outcome: RunOutcome;
  /** What the process ends with; 0 and of no use when the run was cancelled, because then it does not end. */
  readonly exitCode: number;
}
