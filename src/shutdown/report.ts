// The drain report: the machine-readable record of one run of the pipeline, how it gets onto the disk, and how it reads
// for people. Not for: counting (obligations.ts) and judging (exit-codes.ts).

import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { asError, codeOf, MorendoError } from "../util/errors.ts";
import { formatDuration } from "../util/units.ts";
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

const LAST = "last-drain.json";
const DATED = /^drain-.*\.json$/;
const KEPT = 10;

/**
 * Writes `report` into `dir` as `last-drain.json` and as `drain-<time>-<id>.json`, and forgets all but the last ten
 * dated ones. Synchronous and atomic: a reader sees the old report or the new one. Throws when the disk does.
 */
export function writeReport(dir: string, report: DrainReport): void {
  mkdirSync(dir, { recursive: true });
  const text = `${JSON.stringify(report, undefined, 2)}\n`;
  const dated = `drain-${report.startedAt.replaceAll(":", "-")}-${report.id.slice(0, 8)}.json`;
  writeAtomically(dir, dated, text);
  writeAtomically(dir, LAST, text);
  const kept = readdirSync(dir).filter((name) => DATED.test(name));
  for (const old of kept.sort().slice(0, -KEPT)) rmSync(join(dir, old), { force: true });
}

function writeAtomically(dir: string, name: string, text: string): void {
  const temp = join(dir, `.${name}.${process.pid}.tmp`);
  try {
    const file = openSync(temp, "w", 0o600);
    try {
      // Goes on after a write that the system cut short: a full disk shows at the second one only.
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temp, join(dir, name));
  } catch (thrown) {
    rmSync(temp, { force: true });
    throw thrown;
  }
  const folder = openSync(dir, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * Returns the report of the last run that ended in order or was cancelled, as `writeReport` left it in `dir`, or undefined
 * when there is none. Of a run that the watchdog or somebody else killed there is no report, so the one before may be
 * found: `startedAt` tells. Throws `MORENDO_REPORT_DAMAGED` when what is there is not a report. Synchronous.
 */
export function readLastReport(dir: string): DrainReport | undefined {
  return readReport(join(dir, LAST));
}

/** Returns the reports that are kept in `dir`, as file names, the last first; none when there is no such folder. */
export function listReports(dir: string): readonly string[] {
  try {
    return readdirSync(dir)
      .filter((name) => DATED.test(name))
      .sort()
      .reverse();
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return [];
    throw thrown;
  }
}

/** Returns the report in `file`, or undefined when there is no such file. Throws `MORENDO_REPORT_DAMAGED`. Synchronous. */
export function readReport(file: string): DrainReport | undefined {
  const damaged = (why: string): MorendoError =>
    new MorendoError("MORENDO_REPORT_DAMAGED", `${file} is not a drain report: ${why}`);
  let report: unknown;
  try {
    report = JSON.parse(readFileSync(file, "utf8"));
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw damaged(asError(thrown).message);
  }
  if (!isRecord(report)) throw damaged("it is not an object");
  if (report.version !== 1) throw damaged(`its version is ${JSON.stringify(report.version)}`);
  for (const [name, isRight] of Object.entries(FIELDS))
    if (!isRight(report[name])) throw damaged(`${name} is not right`);
  // Its own version and every field that is always there: what else it holds was written by the same code.
  return report as unknown as DrainReport;
}

const isText = (value: unknown): boolean => typeof value === "string";
const isNumber = (value: unknown): boolean => typeof value === "number";
const isFlag = (value: unknown): boolean => typeof value === "boolean";

const isList = (value: unknown, isRight: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(isRight);
const isTextIfAny = (value: unknown): boolean => value === undefined || isText(value);

const isParticipant = (value: unknown): boolean =>
  isRecord(value) && isText(value.name) && isText(value.outcome) && isTextIfAny(value.error);

const isPhase = (value: unknown): boolean =>
  isRecord(value) &&
  isText(value.name) &&
  isText(value.outcome) &&
  isNumber(value.durationMs) &&
  isNumber(value.budgetMs) &&
  isList(value.participants, isParticipant) &&
  isList(value.leaseHolders, isText);

const isDestination = (value: unknown): boolean =>
  isRecord(value) && isText(value.destination) && isNumber(value.lost) && isList(value.lostNames, isText);

const isDelay = (value: unknown): boolean => isRecord(value) && isNumber(value.askedMs) && isNumber(value.tookMs);

const isCancel = (value: unknown): boolean =>
  isRecord(value) && isText(value.reason) && isText(value.trigger) && isList(value.undone, isParticipant);

/** What those who read a report rely on. */
const FIELDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  id: isText,
  cause: isText,
  reason: isText,
  trigger: isText,
  startedAt: isText,
  durationMs: isNumber,
  budgetMs: isNumber,
  delay: (value) => value === undefined || isDelay(value),
  startupMs: isNumber,
  hurried: isFlag,
  skippedToEnd: isFlag,
  phases: (value) => isList(value, isPhase),
  obligations: (value) =>
    isRecord(value) &&
    isRecord(value.run) &&
    isRecord(value.run.evidence) &&
    isRecord(value.running) &&
    isList(value.destinations, isDestination),
  error: isTextIfAny,
  cancelled: (value) => value === undefined || isCancel(value),
  sections: isRecord,
  repeatedRequests: (value) => Array.isArray(value),
  repeatedCount: isNumber,
  outcome: isText,
  exitCode: isNumber,
};

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const SHOWN = 5;

/** Returns a summary of about ten lines for people. */
export function describeReport(report: DrainReport): string {
  const { run } = report.obligations;
  const end = report.cancelled === undefined ? `, exit code ${report.exitCode}` : "";
  const workedMs = report.durationMs - (report.delay?.tookMs ?? 0);
  const lines = [
    `${report.cause} (${report.trigger}: ${report.reason}): ${report.outcome}${end}, ` +
      `after ${formatDuration(workedMs)} of ${formatDuration(report.budgetMs)}`,
  ];
  if (report.delay !== undefined) lines.push(`  ${describeDelay(report.delay)}`);
  if (report.cancelled !== undefined) lines.push(`  ${describeCancel(report.cancelled)}`);
  if (report.error !== undefined) lines.push(`  error: ${firstLine(report.error)}`);
  if (report.skippedToEnd) lines.push("  told to skip to the last phase");
  else if (report.hurried) lines.push("  told to hurry");
  for (const phase of report.phases) {
    const hasBegun = phase.skipped !== "not asked for" && !(phase.skipped === "cancelled" && phase.budgetMs === 0);
    if (hasBegun) lines.push(`  ${describePhase(phase)}`);
  }
  const { evidence } = run;
  lines.push(
    `  obligations: ${run.proved} proved (${evidence["sm-ack"]} acked, ${evidence.pong} by pong, ${evidence.closed} by close` +
      `${evidence.written > 0 ? `, ${evidence.written} only written` : ""}), ` +
      `${run.stored} stored, ${run.returned} returned, ${run.dropped > 0 ? `${run.dropped} dropped, ` : ""}${run.lost} lost`,
  );
  const losers = report.obligations.destinations.filter((destination) => destination.lost > 0);
  for (const { destination, lost, lostNames } of losers.slice(0, SHOWN)) {
    const first = lostNames[0] === undefined ? "" : `, first: ${lostNames[0]}`;
    lines.push(`    ${destination}: ${lost} lost${first}`);
  }
  if (losers.length > SHOWN) lines.push(`    and ${losers.length - SHOWN} more destinations, see the report`);
  return lines.join("\n");
}

function describeDelay({ askedMs, tookMs, announcement, cut }: DelayReport): string {
  const what = announcement === undefined ? "delayed" : "announced and delayed";
  const shorter = cut === undefined ? "" : ` (${cut.why})`;
  return `${what} for ${formatDuration(tookMs)} of ${formatDuration(askedMs)}${shorter}`;
}

function describeCancel({ trigger, reason, undone }: CancelReport): string {
  const troubled = undone.filter(({ outcome }) => outcome !== "done").map(({ name, outcome }) => `${name} ${outcome}`);
  const trouble = troubled.length === 0 ? "" : `; not taken back: ${troubled.join(", ")}`;
  return `cancelled by ${trigger}: ${reason}; the server serves on${trouble}`;
}

function describePhase(phase: PhaseReport): string {
  const parts = [`${phase.name}: ${phase.outcome} in ${formatDuration(phase.durationMs)}`];
  const troubled = phase.participants.filter((participant) => participant.outcome !== "done");
  for (const { name, outcome, error } of troubled.slice(0, SHOWN)) {
    parts.push(`${name} ${outcome}${error === undefined ? "" : ` (${firstLine(error)})`}`);
  }
  if (troubled.length > SHOWN) parts.push(`and ${troubled.length - SHOWN} more participants`);
  if (phase.leaseHolders.length > 0) {
    const rest = phase.leaseHolders.length - SHOWN;
    parts.push(`still held by ${phase.leaseHolders.slice(0, SHOWN).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`);
  }
  return parts.join("; ");
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}
