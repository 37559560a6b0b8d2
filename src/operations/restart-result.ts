// What the operation `restart` answers: how it went, in a form that travels.

import type { HandoverOutcome } from "../handover/index.ts";

/** The outcome of a restart. */
export type RestartResult =
  | {
      readonly restarted: true;
      /** The process that served until now, and the one that serves from now on. */
      readonly predecessor: number;
      readonly pid: number;
      readonly durationMs: number;
      /** How long nobody served. */
      readonly frozenMs: number;
    }
  | {
      readonly restarted: false;
      /** The process that goes on serving. */
      readonly pid: number;
      /** What was under way when it failed, or `refused`. */
      readonly step: string;
      readonly why: string;
      /** The end of what the successor wrote to its standard error, if anything is known of it. */
      readonly stderrTail: string;
    };

/** Returns the outcome as it is told. */
export function describeOutcome(outcome: HandoverOutcome, pid: number): RestartResult {
  if (!outcome.ok) {
    const { step, why, stderrTail } = outcome;
    return { restarted: false, pid, step, why, stderrTail };
  }
  const { durationMs, frozenMs } = outcome;
  return {
    restarted: true,
    predecessor: pid,
    pid: outcome.pid,
    durationMs: Math.round(durationMs),
    frozenMs: Math.round(frozenMs),
  };
}
