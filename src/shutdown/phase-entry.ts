// One participant's place in a phase that runs: where it stands, and what the report says of it. The phase moves it on
// (phase-run.ts).

import type { Deadline } from "../util/deadline.ts";
import { asError } from "../util/errors.ts";
import { Leases } from "./leases.ts";
import type { ParticipantReport } from "./report.ts";
import type { Outcome, Participant, Progress, When } from "./types.ts";

/** The groups of a phase, in the order in which they run. */
export const GROUPS: readonly When[] = ["before", "during", "after"];

/** A participant in a phase. */
export interface Entry<Phase extends string> {
  readonly participant: Participant<Phase>;
  readonly group: number;
  readonly controller: AbortController;
  readonly leases: Leases;
  state: "waiting" | "running" | "leased" | "over";
  outcome: Outcome;
  error: string | undefined;
  leaseHolders: readonly string[];
  startedAt: number;
  endedAt: number;
  deadline: Deadline | undefined;
  forgetDeadline: () => void;
  progress: Progress | undefined;
}

/**
 * Returns the entry of a participant that waits, in the first group or in its own; `released` is called after each lease that
 * it gives back.
 */
export function newEntry<Phase extends string>(
  participant: Participant<Phase>,
  isInFirst: boolean,
  released: (entry: Entry<Phase>) => void,
): Entry<Phase> {
  const entry: Entry<Phase> = {
    participant,
    group: isInFirst ? 0 : GROUPS.indexOf(participant.when ?? "during"),
    controller: new AbortController(),
    leases: new Leases(() => released(entry)),
    state: "waiting",
    outcome: "skipped",
    error: undefined,
    leaseHolders: [],
    startedAt: 0,
    endedAt: 0,
    deadline: undefined,
    forgetDeadline: () => undefined,
    progress: undefined,
  };
  return entry;
}

/** Whether its own work is over, with leases or without. */
export function isSettled(entry: { readonly state: string }): boolean {
  return entry.state === "leased" || entry.state === "over";
}

/** What the report says of a participant. */
export function participantReport<Phase extends string>(entry: Entry<Phase>): ParticipantReport {
  const { participant, outcome, error, leaseHolders } = entry;
  return {
    name: participant.name,
    when: participant.when ?? "during",
    outcome,
    durationMs: Math.round(entry.endedAt - entry.startedAt),
    ...(error === undefined ? {} : { error }),
    ...(leaseHolders.length === 0 ? {} : { leaseHolders }),
  };
}

/** What was thrown, for the report. */
export function describeThrown(thrown: unknown): string {
  const error = asError(thrown);
  return error.stack ?? error.message;
}
