// Suspending and resuming: brings every participant to stand still, in order, and on again, in reverse. Each is run like
// the one participant of a phase, with the same leases, limits and records. Not for: the life cycle around it, such as
// that a stop takes a suspension back first (lifecycle.ts).

import { type Clock, repeat } from "../util/clock.ts";
import { Deadline } from "../util/deadline.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { withResolvers } from "../util/with-resolvers.ts";
import { GROUPS } from "./phase-entry.ts";
import type { PhaseProgress } from "./phase-progress.ts";
import { type Begun, PhaseRun } from "./phase-run.ts";
import type {
  EndOfSuspension,
  ResumeRequest,
  ResumeResult,
  SuspendContext,
  SuspendOutcome,
  SuspendParticipant,
  SuspendReport,
  SuspendRequest,
  SuspendStep,
  SuspendStepReport,
} from "./suspend-types.ts";
import type { LifecycleState, Participant } from "./types.ts";
import { undo } from "./undo.ts";
import { noWatchdog } from "./watchdog.ts";

/** What a suspension needs of the life cycle it is part of. */
export interface SuspensionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly progressMs: number;
  /** How long those who are under way have, all together, to stop when it is called off. */
  readonly settleMs: number;
  /** How long each participant has to resume. */
  readonly resumeMs: number;
  state(): LifecycleState;
  enter(state: "suspending" | "suspended" | "running", request?: SuspendRequest): void;
  onProgress(progress: PhaseProgress<SuspendStep>): void;
}

/** A suspension from its beginning to its end. */
interface Current {
  readonly request: SuspendRequest;
  readonly id: string;
  readonly startedAt: number;
  readonly startedWall: number;
  readonly participants: readonly SuspendParticipant[];
  readonly deadline: Deadline;
  readonly reports: SuspendStepReport[];
  readonly late: string[];
  /** The last step that each has begun. */
  readonly begun: Map<SuspendParticipant, Begun<SuspendStep>>;
  readonly finished: Promise<SuspendReport>;
  readonly finish: (report: SuspendReport) => void;
  outcome: SuspendOutcome;
  why: string | undefined;
  durationMs: number;
  suspendedAt: number | undefined;
  /** Which participant, counted over both steps, is under way. */
  at: number;
  run: { readonly step: SuspendStep; readonly phase: PhaseRun<SuspendStep> } | undefined;
  /** Set once it is over, or is to be. */
  back: { readonly request: ResumeRequest; readonly whole: Deadline; readonly done: Promise<ResumeResult> } | undefined;
  /** Resolves when nobody is being prepared or suspended any more. */
  readonly settled: Promise<void>;
  readonly settle: () => void;
}

/** With `stay`, what those still get who have not begun when the time is over. */
const GRACE_MS = 1_000;

/** The suspensions of one server, one at a time. */
export class Suspension {
  #options: SuspensionOptions;
  #participants: SuspendParticipant[] = [];
  #current: Current | undefined;
  #last: SuspendReport | undefined;

  constructor(options: SuspensionOptions) {
    this.#options = options;
  }

  /** The suspension under way, or what the server is in, as far as it has come. */
  get current(): SuspendReport | undefined {
    return this.#current === undefined ? undefined : this.#reportOf(this.#current);
  }

  /** The last suspension that is over, or came to nothing. */
  get last(): SuspendReport | undefined {
    return this.#last;
  }

  /** What was asked for, while it lasts. */
  get request(): SuspendRequest | undefined {
    return this.#current?.request;
  }

  /** Adds a participant, the last of its group; the returned function takes it out again. One under way goes on without it. */
  add(participant: SuspendParticipant): () => void {
    const group = groupOf(participant);
    const before = this.#participants.findLastIndex((other) => groupOf(other) <= group);
    this.#participants = this.#participants.toSpliced(before + 1, 0, participant);
    return () => {
      this.#participants = this.#participants.filter((other) => other !== participant);
    };
  }

  /** See `Lifecycle.suspend`. */
  suspend(request: SuspendRequest): Promise<SuspendReport> {
    const current = this.#current;
    const state = this.#options.state();
    if (current !== undefined && state !== "stopping") {
      const { cause, mode } = current.request;
      const isSame = cause === request.cause && mode === request.mode;
      if (current.back !== undefined) return this.#refuse(request, "the suspension before is being taken back");
      if (isSame) return current.finished;
      return this.#refuse(request, `the server is ${state} in mode "${mode}"; resume it first`);
    }
    return state === "running" ? this.begin(request) : this.#refuse(request, `the server is ${state}`);
  }

  /** Begins a suspension, whatever the state. Only when none is under way. */
  begin(request: SuspendRequest): Promise<SuspendReport> {
    const { clock, random, log, enter } = this.#options;
    const { promise: finished, resolve: finish } = withResolvers<SuspendReport>();
    const { promise: settled, resolve: settle } = withResolvers<void>();
    const { mode, cause, trigger, timeoutMs } = request;
    const current: Current = {
      request,
      id: random.id(),
      startedAt: clock.now(),
      startedWall: clock.wallTime(),
      participants: this.#participants.filter(({ modes }) => modes === undefined || modes.includes(mode)),
      deadline: new Deadline(clock, timeoutMs),
      reports: [],
      late: [],
      begun: new Map(),
      finished,
      finish,
      outcome: "pending",
      why: undefined,
      durationMs: 0,
      suspendedAt: undefined,
      at: 0,
      run: undefined,
      back: undefined,
      settled,
      settle,
    };
    this.#current = current;
    log.info({ suspension: current.id, cause, mode, trigger, timeoutMs }, `suspend: ${request.reason}`);
    enter("suspending", request);
    void this.#carryOut(current);
    return finished;
  }

  /** See `Lifecycle.resume`. */
  resume(request: ResumeRequest): Promise<ResumeResult> {
    const current = this.#current;
    const state = this.#options.state();
    if (current === undefined || state === "stopping" || state === "stopped") {
      return Promise.resolve({ resumed: false, why: `the server is ${state}` });
    }
    return this.#takeBack(current, request);
  }

  /**
   * Takes the suspension back without the state becoming `running`, because the server stops: in `ms` at most. Returns the
   * record of it, or undefined when there was none.
   */
  async end(request: ResumeRequest, ms: number): Promise<SuspendReport | undefined> {
    const current = this.#current;
    if (current === undefined) return undefined;
    const done = this.#takeBack(current, request);
    this.hurry(ms);
    await done;
    return this.#last;
  }

  /** Leaves what is being taken back at most `ms` from now on. */
  hurry(ms: number): void {
    this.#current?.back?.whole.shrink(ms);
  }

  async #carryOut(current: Current): Promise<void> {
    const { clock, progressMs, onProgress, enter, state } = this.#options;
    const stopTelling = repeat(clock, progressMs, () => {
      const progress = this.#progress(current);
      if (progress !== undefined) onProgress(progress);
    });
    const isReady = (await this.#step(current, "prepare")) && (await this.#step(current, "suspend"));
    stopTelling();
    current.run = undefined;
    current.deadline.cancel();
    current.durationMs = Math.round(clock.now() - current.startedAt);
    current.settle();
    if (current.back !== undefined) {
      current.outcome = "called-off";
      current.why = current.back.request.reason;
      await current.back.done;
    } else if (isReady) {
      current.outcome = current.late.length === 0 ? "suspended" : "late";
      current.suspendedAt = clock.now();
      this.#log(current);
      // Whoever takes the suspension back from now on finds it complete.
      if (state() === "suspending") enter("suspended", current.request);
    } else {
      if (current.outcome === "pending") current.outcome = "timed-out";
      current.why ??= `not done in time: ${current.late.join(", ")}`;
      this.#log(current);
      await this.#takeBack(current, { reason: current.why, trigger: "the suspension itself" });
    }
    current.finish(this.#reportOf(current));
  }

  /** Lets everybody take one step; false when it ends there. */
  async #step(current: Current, step: "prepare" | "suspend"): Promise<boolean> {
    const { request } = current;
    for (const participant of current.participants) {
      if (current.back !== undefined) return false;
      current.at++;
      if (participant[step] === undefined) continue;
      const report = await this.#run(current, participant, step);
      if (current.back !== undefined) return false;
      if (report.outcome === "done") continue;
      if (step === "prepare" && report.outcome === "failed") {
        current.outcome = "refused";
        current.why = `${participant.name} refused: ${firstLine(report.error)}`;
        return false;
      }
      if (!current.late.includes(participant.name)) current.late.push(participant.name);
      if (request.onTimeout === "back") return false;
    }
    return true;
  }

  async #run(
    current: Current,
    participant: SuspendParticipant,
    step: "prepare" | "suspend",
  ): Promise<SuspendStepReport> {
    const { clock, log } = this.#options;
    const { request, deadline } = current;
    const { cause, mode, reason } = request;
    const asParticipant: Participant<SuspendStep> = {
      name: participant.name,
      ...(participant.timeoutMs === undefined ? {} : { timeoutMs: participant.timeoutMs }),
      run: (context) => {
        // The getters of the context stay what they are.
        const own: SuspendContext = Object.assign(Object.create(context) as SuspendContext, { mode });
        return participant[step]?.(own);
      },
      ...(participant.resume === undefined
        ? {}
        : { cancelled: (context) => participant.resume?.(Object.assign({ mode }, context)) }),
    };
    const phase = new PhaseRun<SuspendStep>({
      phase: step,
      cause,
      reason,
      participants: [asParticipant],
      shareMs: Math.max(deadline.remaining(), request.onTimeout === "stay" ? GRACE_MS : 0),
      clock,
      log,
      watchdog: noWatchdog,
    });
    current.run = { step, phase };
    const { participants, outcome } = await phase.run();
    const [begun] = phase.begun;
    if (begun !== undefined) current.begun.set(participant, begun);
    const fared = participants[0];
    const report: SuspendStepReport = {
      name: participant.name,
      step,
      outcome: fared?.outcome ?? outcome,
      durationMs: fared?.durationMs ?? 0,
      ...(fared?.error === undefined ? {} : { error: fared.error }),
      ...(fared?.leaseHolders === undefined ? {} : { leaseHolders: fared.leaseHolders }),
    };
    current.reports.push(report);
    return report;
  }

  #takeBack(current: Current, request: ResumeRequest): Promise<ResumeResult> {
    const { clock, settleMs, resumeMs } = this.#options;
    if (current.back !== undefined) return current.back.done;
    const whole = new Deadline(clock, settleMs + current.participants.length * resumeMs);
    const { promise: done, resolve } = withResolvers<ResumeResult>();
    current.back = { request, whole, done };
    current.run?.phase.skip("cancelled");
    void this.#goBack(current, request, whole).then(resolve);
    return done;
  }

  async #goBack(current: Current, request: ResumeRequest, whole: Deadline): Promise<ResumeResult> {
    const { clock, log, settleMs, resumeMs, enter, state } = this.#options;
    log.info({ suspension: current.id, trigger: request.trigger }, `resume: ${request.reason}`);
    await current.settled;
    // In the order of registration, whatever step each has come to; whoever was taken out since has nothing to resume.
    const begun = current.participants.flatMap((participant) =>
      this.#participants.includes(participant) ? (current.begun.get(participant) ?? []) : [],
    );
    const undone = await undo({ begun, reason: request.reason, clock, log, settleMs, undoMs: resumeMs, whole });
    whole.cancel();
    const heldMs = current.suspendedAt === undefined ? 0 : Math.round(clock.now() - current.suspendedAt);
    const ended: EndOfSuspension = {
      at: new Date(clock.wallTime()).toISOString(),
      heldMs,
      reason: request.reason,
      trigger: request.trigger,
      participants: undone.map(({ when: _, ...report }) => ({ ...report, step: "resume" as const })),
    };
    if (current.outcome === "pending") {
      current.outcome = "called-off";
      current.why = request.reason;
    }
    this.#last = { ...this.#reportOf(current), suspended: false, ended };
    this.#current = undefined;
    const before = state();
    if (before === "suspending" || before === "suspended") enter("running");
    log.info({ suspension: current.id, heldMs }, before === "stopping" ? "taken back for the stop" : "resumed");
    const failed = undone.filter(({ outcome }) => outcome !== "done");
    return { resumed: true, failed: failed.map(({ name, error = "" }) => ({ name, error })) };
  }

  #refuse(request: SuspendRequest, why: string): Promise<SuspendReport> {
    const { clock, random, log } = this.#options;
    log.info({ trigger: request.trigger, mode: request.mode, why }, `not suspended: ${request.reason}`);
    return Promise.resolve({
      ...request,
      suspended: false,
      outcome: "refused",
      id: random.id(),
      startedAt: new Date(clock.wallTime()).toISOString(),
      durationMs: 0,
      participants: [],
      late: [],
      why,
    });
  }

  #reportOf(current: Current): SuspendReport {
    const { request, outcome, why } = current;
    const isPending = outcome === "pending";
    return {
      ...request,
      suspended: current.suspendedAt !== undefined && current === this.#current,
      outcome,
      id: current.id,
      startedAt: new Date(current.startedWall).toISOString(),
      durationMs: isPending ? Math.round(this.#options.clock.now() - current.startedAt) : current.durationMs,
      participants: [...current.reports],
      late: [...current.late],
      ...(why === undefined ? {} : { why }),
    };
  }

  #progress(current: Current): PhaseProgress<SuspendStep> | undefined {
    if (current.run === undefined) return undefined;
    const { step, phase } = current.run;
    const elapsedMs = this.#options.clock.now() - current.startedAt;
    return { phase: step, step: current.at, steps: current.participants.length * 2, elapsedMs, ...phase.progress() };
  }

  #log({ id, outcome, late, why, durationMs }: Current): void {
    const fields = { suspension: id, outcome, durationMs, ...(late.length === 0 ? {} : { late }) };
    if (outcome === "suspended") this.#options.log.info(fields, "suspended");
    else this.#options.log.warn(fields, why ?? `suspended, although not everybody is done: ${late.join(", ")}`);
  }
}

function groupOf({ when = "during" }: SuspendParticipant): number {
  return GROUPS.indexOf(when);
}

function firstLine(text: string | undefined): string {
  return (text?.split("\n", 1)[0] ?? "").replace(/^\w*Error(?: \[\w+\])?: /, "");
}
