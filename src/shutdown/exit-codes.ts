// What the exit codes of a server mean, as data, so that the documentation, the command line and the report agree.

import type { DrainReport } from "./report.ts";

/** How a run ended, as a whole. `cancelled`: the server came back and serves on. */
export type RunOutcome = "clean" | "fatal" | "lost" | "incomplete" | "cancelled";

/** A row of the table of exit codes. */
export interface ExitCode {
  readonly code: number;
  readonly name: string;
  /** What it means, for the operator. */
  readonly meaning: string;
}

/** All exit codes, in order. */
export const EXIT_CODES = [
  { code: 0, name: "clean", meaning: "every obligation has its fate, nothing was lost or left undone" },
  { code: 1, name: "fatal", meaning: "a fatal error at the start or while running; the log and the report name it" },
  { code: 2, name: "usage", meaning: "bad configuration or wrong use of the command; nothing was started" },
  { code: 3, name: "lost", meaning: "something was lost; the report names it" },
  {
    code: 4,
    name: "incomplete",
    meaning: "the deadline cut phases short, or a participant failed; nothing is known to be lost",
  },
  {
    code: 137,
    name: "watchdog",
    meaning: "the watchdog killed the process (SIGKILL) past the deadline; it said what was still running",
  },
] as const satisfies readonly ExitCode[];

/** Returns the exit code with this name. */
export function exitCode(name: (typeof EXIT_CODES)[number]["name"]): number {
  return EXIT_CODES.find((row) => row.name === name)?.code ?? 1;
}

/**
 * Returns how a run that was not cancelled ended: a fatal error outweighs a loss, a loss outweighs a phase that was cut short, skipped by an
 * impatient signal or failed.
 */
export function outcomeOf(
  report: Pick<DrainReport, "error" | "obligations" | "phases">,
): Exclude<RunOutcome, "cancelled"> {
  if (report.error !== undefined) return "fatal";
  if (report.obligations.run.lost > 0) return "lost";
  const isComplete = report.phases.every(
    (phase) => phase.outcome === "done" || (phase.outcome === "skipped" && phase.skipped === "not asked for"),
  );
  return isComplete ? "clean" : "incomplete";
}
