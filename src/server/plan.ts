// What a shutdown would do if it began now: the phases with their shares of the budget and who takes part, and how long it
// may take. The estimate goes by the last run and by nothing else: where that says nothing, only the bounds are told.
// Not for: counting what there is to do (plan-numbers.ts), nor running anything.

import { Budget } from "../shutdown/budget.ts";
import type { DrainReport, PhaseReport } from "../shutdown/report.ts";
import type { LifecycleState, Participant, PhasePlan, When } from "../shutdown/types.ts";
import { type Clock, sleepOn } from "../util/clock.ts";
import type { ClosedSessions } from "./c2s/closing-sessions.ts";
import { type PhaseName, POINT_OF_NO_RETURN } from "./phases.ts";
import type { PlanNumbers } from "./plan-numbers.ts";

/** Somebody who would take part in a phase. */
export interface PlannedParticipant {
  readonly name: string;
  readonly when: When;
  /** Its own limit; without one it has what the phase has. */
  readonly limitMs?: number;
}

/** One phase as it would run. */
export interface PlannedPhase {
  readonly name: PhaseName;
  /** Runs only when a request asks for it, or when there is a delay for it. */
  readonly optional: boolean;
  /** Whether the run can still be cancelled while this phase runs. */
  readonly cancellable: boolean;
  /** What it may use if the phases before it used nothing; 0 for one that is not asked for. */
  readonly budgetMs: number;
  readonly floorMs: number;
  readonly ceilingMs: number;
  /** Before, during, after; in each group in the order of registration. */
  readonly participants: readonly PlannedParticipant[];
}

/** How long a phase may take, going by the last run. */
export interface PhaseEstimate {
  readonly name: PhaseName;
  readonly fromMs: number;
  readonly toMs: number;
  /** What the two were taken from. */
  readonly basis: string;
}

/** How long it may take. */
export interface PlanEstimate {
  /** It is over by then in any case: the deadline and the floor of the last phase. */
  readonly atMostMs: number;
  /** What the estimate goes by, or why there is none. */
  readonly basis: string;
  /** Absent when there is nothing to go by. */
  readonly fromMs?: number;
  readonly toMs?: number;
  readonly phases: readonly PhaseEstimate[];
}

/** What a shutdown would do now. */
export interface ShutdownPlan {
  readonly version: 1;
  readonly state: LifecycleState;
  readonly budgetMs: number;
  /** How long everything is still served before that, in the phase `announce`. */
  readonly delayMs: number;
  readonly phases: readonly PlannedPhase[];
  readonly numbers: PlanNumbers;
  readonly estimate: PlanEstimate;
}

/** What a plan is made from. */
export interface PlanInput {
  readonly state: LifecycleState;
  readonly plan: readonly PhasePlan<PhaseName>[];
  readonly budgetMs: number;
  readonly delayMs: number;
  readonly participants: (phase: PhaseName) => readonly Participant<PhaseName>[];
  readonly numbers: PlanNumbers;
  /** The report of the last run, if there is one. */
  readonly previous: DrainReport | undefined;
}

const COUNTED = ["answered", "unanswered", "cut", "hibernating", "kept"] as const satisfies (keyof ClosedSessions)[];
const GROUPS: readonly When[] = ["before", "during", "after"];

/** Returns the plan of a stop with the configured delay, and without the other optional phases. */
export function planShutdown(input: PlanInput): ShutdownPlan {
  const { state, plan, budgetMs, delayMs, participants, numbers, previous } = input;
  const wanted = plan.filter(({ optional, isDelay }) => optional !== true || (isDelay === true && delayMs > 0));
  const budget = new Budget({ clock: standingClock, totalMs: budgetMs, plan: wanted, delayMs });
  const pointOfNoReturn = plan.findIndex(({ name }) => name === POINT_OF_NO_RETURN);
  const phases = plan.map(({ name, floorMs, ceilingMs, optional = false }, index): PlannedPhase => {
    const all = participants(name).map(({ name: who, when = "during", timeoutMs }): PlannedParticipant => {
      return { name: who, when, ...(timeoutMs === undefined ? {} : { limitMs: timeoutMs }) };
    });
    return {
      name,
      optional,
      cancellable: index < pointOfNoReturn,
      budgetMs: budget.share(name),
      floorMs,
      ceilingMs,
      participants: GROUPS.flatMap((group) => all.filter(({ when }) => when === group)),
    };
  });
  const estimate = estimateOf(phases, budget.latest(), numbers, previous);
  return { version: 1, state, budgetMs, delayMs, phases, numbers, estimate };
}

function estimateOf(
  planned: readonly PlannedPhase[],
  atMostMs: number,
  numbers: PlanNumbers,
  previous: DrainReport | undefined,
): PlanEstimate {
  if (previous === undefined) return { atMostMs, basis: "no earlier run to go by", phases: [] };
  const run = `the ${previous.cause} of ${previous.startedAt}`;
  const unlike = unlikeness(previous);
  if (unlike !== undefined) return { atMostMs, basis: `no earlier run to go by: ${run} ${unlike}`, phases: [] };
  const estimated = planned.filter(({ optional, budgetMs }) => !optional || budgetMs > 0);
  const phases = estimated.map((phase) => {
    if (!phase.optional) return estimatePhase(phase, numbers, previous);
    return { name: phase.name, fromMs: phase.budgetMs, toMs: phase.budgetMs, basis: "the delay" };
  });
  const sum = (pick: (phase: PhaseEstimate) => number): number =>
    Math.min(
      atMostMs,
      phases.reduce((total, phase) => total + pick(phase), 0),
    );
  const fromMs = sum((phase) => phase.fromMs);
  const toMs = sum((phase) => phase.toMs);
  return { atMostMs, basis: `${run}, ${previous.outcome}`, fromMs, toMs, phases };
}

/** Why a run says nothing about an ordinary stop. */
function unlikeness({ version, cause, outcome, error, hurried, skippedToEnd }: DrainReport): string | undefined {
  if (version !== 1) return "is told in a format that is not known";
  if (outcome === "cancelled") return "was cancelled";
  if (cause === "suspend") return "was of another kind";
  if (error !== undefined) return "was made by a fault";
  if (skippedToEnd) return "was told to skip to its end";
  return hurried ? "was told to hurry" : undefined;
}

/**
 * Between what the phase took last time and what it would take at the same pace for each of what it goes through now: the
 * truth lies between a phase whose time is all waiting and one whose time is all work.
 */
function estimatePhase(phase: PlannedPhase, numbers: PlanNumbers, previous: DrainReport): PhaseEstimate {
  const { name, budgetMs } = phase;
  const bound = (basis: string): PhaseEstimate => ({ name, fromMs: 0, toMs: budgetMs, basis: `its bound: ${basis}` });
  const then = previous.phases.find((other) => other.name === name);
  if (then === undefined || then.outcome === "skipped") return bound("it did not run last time");
  if (wasCut(then)) return bound(`it was cut off after ${then.durationMs} ms last time`);
  const counts = countsOf(name, numbers, previous);
  const took = `${then.durationMs} ms last time`;
  const same = Math.min(then.durationMs, budgetMs);
  if (counts === undefined || counts.before === counts.now) {
    const also = counts === undefined ? "" : `, with as many ${counts.what}s`;
    return { name, fromMs: same, toMs: same, basis: `${took}${also}` };
  }
  if (counts.before === 0) return bound(`there was no ${counts.what} last time, now: ${counts.now}`);
  const scaled = Math.min(Math.round((then.durationMs * counts.now) / counts.before), budgetMs);
  const basis = `${took}, with ${counts.before} ${counts.what}${counts.before === 1 ? "" : "s"}; now: ${counts.now}`;
  return { name, fromMs: Math.min(same, scaled), toMs: Math.max(same, scaled), basis };
}

function wasCut({ outcome, skipped }: PhaseReport): boolean {
  return outcome === "timed-out" || skipped === "out of time";
}

/** What a phase goes through one by one: how many then and now. Domains are those to which something is owed. */
function countsOf(
  name: PhaseName,
  numbers: PlanNumbers,
  { sections, obligations }: DrainReport,
): { readonly what: string; readonly before: number; readonly now: number } | undefined {
  if (name === "close-sessions") {
    return { what: "session", before: closedSessions(sections.sessions), now: numbers.sessions };
  }
  if (name !== "drain-s2s") return undefined;
  return { what: "domain", before: obligations.destinations.length, now: numbers.remote.owed };
}

/** How many sessions the report's section counts. */
function closedSessions(section: unknown): number {
  if (typeof section !== "object" || section === null) return 0;
  const counts = section as Readonly<Partial<Record<keyof ClosedSessions, unknown>>>;
  // Numbers if this program wrote it; an older one may have counted less.
  return COUNTED.reduce((sum, name) => sum + (Number(counts[name]) || 0), 0);
}

/** Time stands still in a plan: each share is what it would be at once. */
const standingClock: Clock = {
  now: () => 0,
  wallTime: () => 0,
  setTimer: () => ({ cancel: () => undefined }),
  sleep: (ms, signal) => sleepOn(standingClock, ms, signal),
  turn: () => Promise.resolve(),
  soon: () => undefined,
};
