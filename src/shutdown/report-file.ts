// Drain reports on the disk: how they get there whole, how many are kept, and how they are read and checked again.

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
import type { DrainReport } from "./report.ts";

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
