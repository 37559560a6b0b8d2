// A drain report as people read it: about ten lines for the terminal and the log.

import { formatDuration } from "../util/units.ts";
import type { CancelReport, DelayReport, DrainReport, PhaseReport } from "./report.ts";

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
