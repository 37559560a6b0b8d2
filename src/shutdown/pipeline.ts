// The pipeline: runs the phases of a plan in their order, each with its share of the budget. Participants register
// here. Not for: what triggers a run and what becomes of its result (lifecycle.ts), nor the inside of a phase
// (phase-run.ts).

import { type Clock, repeat } from "../util/clock.ts";
import { MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Budget } from "./budget.ts";
import type { PhaseProgress } from "./phase-progress.ts";
import { type Begun, PhaseRun } from "./phase-run.ts";
import type { PhaseReport, SkipReason } from "./report.ts";
import type { Participant, PhasePlan, StopRequest } from "./types.ts";
import type { Watchdog } from "./watchdog.ts";

/** Told of the start and the end of each phase that runs or is skipped. */
export type PhaseEvent<Phase extends string = string> =
  | {
      readonly phase: Phase;
      readonly step: number;
      readonly steps: number;
      readonly status: "started";
      readonly budgetMs: number;
    }
  | {
      readonly phase: Phase;
      readonly step: number;
      readonly steps: number;
      readonly status: "ended";
      readonly report: PhaseReport;
    };

export interface PipelineOptions<Phase extends string> {
  readonly plan: readonly PhasePlan<Phase>[];
  /** The phase whose beginning cannot be taken back; the first one unless given. */
  readonly pointOfNoReturn?: Phase;
  readonly clock: Clock;
  readonly log: Logger;
  readonly watchdog: Watchdog;
  /** How often progress is told, in milliseconds. */
  readonly progressMs: number;
  readonly onPhase: (event: PhaseEvent<Phase>) => void;
  readonly onProgress: (progress: PhaseProgress<Phase>) => void;
}

/** What the pipeline needs of a run. */
export interface PipelineRun<Phase extends string> {
  readonly request: StopRequest;
  /** Its plan holds the phases that are to run. */
  readonly budget: Budget<Phase>;
  /** What is announced for the delay; it may change meanwhile. */
  readonly delay: { readonly announcement: string | undefined } | undefined;
}

/** The phases of a server and who takes part in them. It runs once, and again after each `reset`. */
export class Pipeline<Phase extends string> {
  #options: PipelineOptions<Phase>;
  #participants = new Map<Phase, Participant<Phase>[]>();
  #ended = new Map<Phase, PhaseReport>();
  /** Who has begun in the phases that have ended, in the order of beginning. */
  #begun: Begun<Phase>[] = [];
  /** The place in the plan of the last phase that was begun or passed over. */
  #reached = -1;
  #noReturnAt: number;
  #isCancelled = false;
  #current: { readonly phase: Phase; readonly run: PhaseRun<Phase>; readonly isLast: boolean } | undefined;
  #budget: Budget<Phase> | undefined;
  #startedAt = 0;
  #step = 0;
  #steps = 0;
  #skipsToEnd = false;

  constructor(options: PipelineOptions<Phase>) {
    this.#options = options;
    for (const { name } of options.plan) this.#participants.set(name, []);
    const { pointOfNoReturn } = options;
    this.#noReturnAt =
      pointOfNoReturn === undefined ? 0 : options.plan.findIndex(({ name }) => name === pointOfNoReturn);
    if (this.#noReturnAt < 0) {
      throw new MorendoError("MORENDO_PHASE_UNKNOWN", `the point of no return: there is no phase "${pointOfNoReturn}"`);
    }
  }

  /** Whether the run has begun a phase from which there is no way back. */
  get isPastNoReturn(): boolean {
    return this.#reached >= this.#noReturnAt;
  }

  /** The last phase that was begun or passed over. */
  get reached(): Phase | undefined {
    return this.#options.plan[this.#reached]?.name;
  }

  /** The reports of the phases that have ended or were skipped so far, in order. */
  get ended(): ReadonlyMap<Phase, PhaseReport> {
    return this.#ended;
  }

  /** Those who have begun in this run, in the order of beginning, unless they were taken out since. */
  get begun(): readonly Begun<Phase>[] {
    const all = [...this.#begun, ...(this.#current?.run.begun ?? [])];
    return all.filter(({ phase, participant }) => this.#participants.get(phase)?.includes(participant) === true);
  }

  /**
   * Adds a participant to `phase`; the returned function takes it out again unless it has begun. Throws
   * `MORENDO_PHASE_UNKNOWN`, or `MORENDO_PHASE_OVER` when the phase has ended: new work is refused during a drain.
   */
  attach(phase: Phase, participant: Participant<Phase>): () => void {
    const participants = this.#participants.get(phase);
    if (participants === undefined) throw new MorendoError("MORENDO_PHASE_UNKNOWN", `there is no phase "${phase}"`);
    const run = this.#current?.phase === phase ? this.#current.run : undefined;
    if (this.#ended.has(phase) || run?.hasEnded === true) {
      throw new MorendoError("MORENDO_PHASE_OVER", `"${participant.name}" came too late: phase "${phase}" has ended`);
    }
    participants.push(participant);
    run?.join(participant);
    return () => {
      const at = participants.indexOf(participant);
      if (at >= 0) participants.splice(at, 1);
      if (this.#current?.phase === phase) this.#current.run.leave(participant);
    };
  }

  /** Returns who takes part in `phase`, in the order of registration. */
  participants(phase: Phase): readonly Participant<Phase>[] {
    return [...(this.#participants.get(phase) ?? [])];
  }

  /** Runs the phases that `run` wants, on its budget. Never rejects. */
  async run(run: PipelineRun<Phase>): Promise<PhaseReport[]> {
    const { request, budget } = run;
    const { plan, clock } = this.#options;
    this.#budget = budget;
    this.#startedAt = clock.now();
    const wanted = plan.filter((phase) => isWanted(phase, request));
    this.#steps = wanted.length;
    for (const [index, phase] of plan.entries()) {
      const isLast = phase === wanted.at(-1);
      let report: PhaseReport;
      if (!wanted.includes(phase)) report = this.#skipped(phase.name, "not asked for");
      else if (this.#isCancelled) report = this.#skipped(phase.name, "cancelled");
      else {
        this.#reached = index;
        this.#step++;
        if (this.#skipsToEnd && !isLast) report = this.#pass(phase.name);
        else report = await this.#runPhase(phase, run, isLast);
      }
      this.#ended.set(phase.name, report);
    }
    return [...this.#ended.values()];
  }

  /**
   * Ends the phase under way and begins no other, so that `run` resolves soon. Whoever is under way is told by its
   * signal. Only before the point of no return.
   */
  cancel(): void {
    this.#isCancelled = true;
    this.#current?.run.skip("cancelled");
  }

  /** Makes ready for another run with the same participants. Only when no run is under way. */
  reset(): void {
    this.#ended.clear();
    this.#begun = [];
    this.#current = undefined;
    this.#budget = undefined;
    this.#reached = -1;
    this.#step = 0;
    this.#skipsToEnd = false;
    this.#isCancelled = false;
  }

  /** Applies a budget that has shrunk, or a delay that has, to the phase under way. */
  budgetShrank(): void {
    if (this.#current !== undefined && this.#budget !== undefined) {
      this.#current.run.shrink(this.#budget.share(this.#current.phase));
    }
  }

  /** Ends the phase under way and goes straight to the last one. */
  skipToEnd(): void {
    this.#skipsToEnd = true;
    if (this.#current?.isLast === false) this.#current.run.skip("told to skip");
  }

  /** Returns how far the run is, or undefined when no phase is under way. */
  progress(): PhaseProgress<Phase> | undefined {
    if (this.#current === undefined) return undefined;
    const { phase, run } = this.#current;
    const elapsedMs = this.#options.clock.now() - this.#startedAt;
    const left = this.#budget === undefined ? {} : { leftMs: this.#budget.remaining() };
    return { phase, step: this.#step, steps: this.#steps, elapsedMs, ...run.progress(), ...left };
  }

  async #runPhase(planned: PhasePlan<Phase>, asked: PipelineRun<Phase>, isLast: boolean): Promise<PhaseReport> {
    const { name: phase, isDelay = false } = planned;
    const { clock, log, watchdog, progressMs, onPhase, onProgress } = this.#options;
    const shareMs = asked.budget.share(phase);
    const { cause, reason } = asked.request;
    const participants = this.participants(phase);
    const announcement = (): string | undefined => asked.delay?.announcement;
    const facts = { phase, isDelay, cause, reason, announcement };
    const run = new PhaseRun({ ...facts, participants, shareMs, clock, log, watchdog });
    this.#current = { phase, run, isLast };
    const position = { phase, step: this.#step, steps: this.#steps };
    onPhase({ ...position, status: "started", budgetMs: shareMs });
    const stop = repeat(clock, progressMs, () => {
      const progress = this.progress();
      if (progress !== undefined) onProgress(progress);
    });
    const report = await run.run();
    stop();
    this.#begun.push(...run.begun);
    this.#ended.set(phase, report);
    this.#current = undefined;
    onPhase({ ...position, status: "ended", report });
    return report;
  }

  #pass(phase: Phase): PhaseReport {
    const report = this.#skipped(phase, "told to skip");
    this.#options.onPhase({ phase, step: this.#step, steps: this.#steps, status: "ended", report });
    return report;
  }

  #skipped(name: Phase, skipped: SkipReason): PhaseReport {
    const participants = this.participants(name).map((participant) => ({
      name: participant.name,
      when: participant.when ?? ("during" as const),
      outcome: "skipped" as const,
      durationMs: 0,
    }));
    return { name, outcome: "skipped", skipped, durationMs: 0, budgetMs: 0, participants, leaseHolders: [] };
  }
}

/** Tells whether a phase runs for this request. */
export function isWanted(phase: PhasePlan, request: StopRequest): boolean {
  if (phase.isDelay === true) return (request.delayMs ?? 0) > 0;
  return phase.optional !== true || request.include?.includes(phase.name) === true;
}
