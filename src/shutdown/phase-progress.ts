// How far a phase is, for those who read it: the terminal, the log, systemd, the control socket.

import type { Entry } from "./phase-entry.ts";

/** What readers of progress are told. */
export interface PhaseProgress<Phase extends string = string> {
  readonly phase: Phase;
  /** Which phase this is, from 1, of how many. */
  readonly step: number;
  readonly steps: number;
  /** What participants said, added up; if none said anything, the participants themselves. */
  readonly done: number;
  readonly total: number;
  /** Who is being waited for, by name; the first few. */
  readonly blockers: readonly string[];
  /** The participants that have not settled. */
  readonly running: readonly string[];
  /** Milliseconds since the run began. */
  readonly elapsedMs: number;
  /** Milliseconds this phase has left. */
  readonly remainingMs: number;
  /** Milliseconds the whole run has left, its delay included. */
  readonly leftMs?: number;
}

/** Names that are told at a time. */
export const MAX_BLOCKERS = 10;

/** Adds up what the participants of a phase said. Those of a delay are not waited for, unless they name somebody. */
export function progressOf(
  entries: readonly Entry<string>[],
  isDelay: boolean,
): Pick<PhaseProgress, "done" | "total" | "blockers" | "running"> {
  let done = 0;
  let total = 0;
  let hasSaid = false;
  const blockers: string[] = [];
  for (const { progress, leases } of entries) {
    if (progress !== undefined) {
      hasSaid = true;
      done += progress.done;
      total += progress.total;
      blockers.push(...(progress.blockers ?? []).slice(0, MAX_BLOCKERS));
    }
    if (blockers.length < MAX_BLOCKERS) blockers.push(...leases.holders(MAX_BLOCKERS));
  }
  const open = entries.filter((entry) => entry.state !== "over");
  const running = open.filter((entry) => entry.state === "running").map((entry) => entry.participant.name);
  if (!hasSaid) {
    total = entries.length;
    done = total - open.length;
  }
  if (blockers.length === 0 && !isDelay) blockers.push(...running);
  return { done, total, blockers: [...new Set(blockers)].slice(0, MAX_BLOCKERS), running };
}
