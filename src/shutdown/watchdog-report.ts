// What the watchdog left when it killed a process: read back, and as it reads for people. How it is written:
// watchdog-worker.ts.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { asError, codeOf, MorendoError } from "../util/errors.ts";
import { formatDuration } from "../util/units.ts";
import type { DrainReport } from "./report.ts";
import type { WatchdogReport } from "./watchdog-worker.ts";

/** The name of the file in the folder of reports. */
export const WATCHDOG_FILE = "watchdog.json";

/** Returns what the watchdog left in `dir`, or undefined when it never killed. Throws `MORENDO_REPORT_DAMAGED`. Synchronous. */
export function readWatchdogReport(dir: string): WatchdogReport | undefined {
  const file = join(dir, WATCHDOG_FILE);
  try {
    const report = JSON.parse(readFileSync(file, "utf8")) as Partial<WatchdogReport> | null;
    const { version, at, phase, running, blockedMs } = report ?? {};
    const isWhole = typeof at === "string" && typeof phase === "string" && typeof blockedMs === "number";
    if (version === 1 && isWhole && Array.isArray(running)) return report as WatchdogReport;
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw new MorendoError("MORENDO_REPORT_DAMAGED", `${file} cannot be read: ${asError(thrown).message}`);
  }
  throw new MorendoError("MORENDO_REPORT_DAMAGED", `${file} is not what a watchdog leaves`);
}

/** Returns what the watchdog left, if that is younger than the last report: the last run was killed and has none. */
export function killedSince(dir: string, last: DrainReport | undefined): WatchdogReport | undefined {
  const killed = readWatchdogReport(dir);
  if (killed === undefined || last === undefined) return killed;
  const lastEnd = Date.parse(last.startedAt) + last.durationMs;
  return Date.parse(killed.at) > lastEnd ? killed : undefined;
}

/** Returns it for people. */
export function describeKill({ at, pid, phase, running, executing, blockedMs, stack }: WatchdogReport): string {
  const lines = [
    `killed by the watchdog at ${at} (pid ${pid}), past the deadline, in phase ${phase || "(none)"}: it left no report`,
    `  still running: ${running.join(", ") || "nobody"}`,
  ];
  if (executing !== undefined) lines.push(`  executing: ${executing}`);
  lines.push(`  the event loop had last turned ${formatDuration(blockedMs)} before`);
  if (stack !== undefined) lines.push("  the main thread was in", ...stack.map((frame) => `    ${frame}`));
  return lines.join("\n");
}
