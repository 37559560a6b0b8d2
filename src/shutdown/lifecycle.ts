// The life of a server: starting, running, stopping, stopped; and the one entry point through which every stop goes.
// Owns the run of the pipeline, its budget, its escalation and its report.

import type { Clock } from "../util/clock.ts";
import { Deadline } from "../util/deadline.ts";
import { asError } from "../util/errors.ts";
import { Notifier } from "../util/events.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { withResolvers } from "../util/with-resolvers.ts";
import { Budget } from "./budget.ts";
import { Obligations } from "./obligations.ts";
import type { PhaseProgress } from "./phase-progress.ts";
import { isWanted, type PhaseEvent, Pipeline } from "./pipeline.ts";
import type { CancelReport, DrainReport, PhaseReport } from "./report.ts";
import { writeReport } from "./report-file.ts";
import { type Cancel, type Run, reportOf, sectionsOf } from "./run.ts";
import type {
  ResumeRequest,
  ResumeResult,
  SuspendParticipant,
  SuspendReport,
  SuspendRequest,
  SuspendStep,
} from "./suspend-types.ts";
import { Suspension } from "./suspension.ts";
import type { CancelRequest, CancelResult, LifecycleState, Participant, PhasePlan, StopRequest } from "./types.ts";
import { undo } from "./undo.ts";
import { noWatchdog, type Watchdog } from "./watchdog.ts";

/** What a lifecycle tells its listeners. */
export interface LifecycleEvents<Phase extends string = string> {
  /** The state has changed. `request` is what was asked for, unless the server just runs. */
  readonly state: { readonly state: LifecycleState; readonly request?: StopRequest | SuspendRequest };
  /** A phase has started or ended. */
  readonly phase: PhaseEvent<Phase>;
  /** How far the phase, or the step of a suspension, is; several times a second meanwhile. */
  readonly progress: PhaseProgress<Phase | SuspendStep>;
  /** The run is over and its report is on disk: the process is to leave. */
  readonly report: DrainReport;
  /** The run was cancelled, everything is back and its report is on disk: the process stays. */
  readonly cancelled: DrainReport;
}

export interface LifecycleOptions<Phase extends string> {
  /** The phases in their order; the last one always runs. */
  readonly plan: readonly PhasePlan<Phase>[];
  /** The phase from whose beginning on a run cannot be cancelled any more; the first one unless given. */
  readonly pointOfNoReturn?: Phase;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The time all phases have together, unless a request says otherwise. */
  readonly budgetMs: number;
  /** The delay of requests that name none; 0 unless given. */
  readonly delayMs?: number;
  /** What a second signal leaves of the budget. */
  readonly hurryMs: number;
  /** Guards against a run that does not end; none unless given. */
  readonly watchdog?: Watchdog;
  /** Where reports are written; nowhere unless given. A function is asked at each report. */
  readonly reportDir?: string | (() => string | undefined);
  /** How often progress is told (250 ms unless told). */
  readonly progressMs?: number;
  /** How long those who are under way have, all together, to stop when a run is cancelled (2000 ms unless told). */
  readonly settleMs?: number;
  /** How long each participant has to take back what it did when a run is cancelled (5000 ms unless told). */
  readonly undoMs?: number;
}

const MAX_REPEATED = 100;
const SETTLE_MS = 2_000;
const UNDO_MS = 5_000;
const NOTHING_TO_CANCEL = "no stop is under way";
const NOT_SUSPENDED = "the server was suspended before the stop, and is not any more";

/** The life of one server. Everything that can stop it calls `stop`. */
export class Lifecycle<Phase extends string> {
  /** Where the fates of obligations are told; the report covers those settled since the beginning of the run. */
  readonly obligations = new Obligations();
  #options: LifecycleOptions<Phase>;
  #clock: Clock;
  #log: Logger;
  #watchdog: Watchdog;
  #pipeline: Pipeline<Phase>;
  #suspension: Suspension;
  #events: Notifier<LifecycleEvents<Phase>>;
  #state: LifecycleState = "starting";
  #startup = new AbortController();
  #startupOver = new AbortController();
  #sections = new Map<string, () => unknown>();
  #run: Run<Phase> | undefined;
  /** Asked for while a run is being taken back; begins when everything is back. */
  #next: Run<Phase> | undefined;
  /** The time that taking back has, while it goes on. */
  #undoing: Deadline | undefined;
  #report: DrainReport | undefined;

  constructor(options: LifecycleOptions<Phase>) {
    this.#options = options;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#watchdog = options.watchdog ?? noWatchdog;
    this.#events = new Notifier((event, thrown) => {
      this.#log.error({ err: asError(thrown), event }, "a listener of the lifecycle failed");
    });
    this.#pipeline = new Pipeline<Phase>({
      plan: options.plan,
      ...(options.pointOfNoReturn === undefined ? {} : { pointOfNoReturn: options.pointOfNoReturn }),
      clock: options.clock,
      log: options.log,
      watchdog: this.#watchdog,
      progressMs: options.progressMs ?? 250,
      onPhase: (event) => this.#events.notify("phase", event),
      onProgress: (progress) => this.#events.notify("progress", progress),
    });
    this.#suspension = new Suspension({
      clock: options.clock,
      random: options.random,
      log: options.log,
      progressMs: options.progressMs ?? 250,
      settleMs: options.settleMs ?? SETTLE_MS,
      resumeMs: options.undoMs ?? UNDO_MS,
      state: () => this.#state,
      enter: (state, request) => this.#become(state, request),
      onProgress: (progress) => this.#events.notify("progress", progress),
    });
  }

  get state(): LifecycleState {
    return this.#state;
  }

  /** Aborts when a stop is asked for during the start, so that the start sequence can end early. */
  get startup(): AbortSignal {
    return this.#startup.signal;
  }

  /**
   * What was asked for, once a stop was asked for, also while the start is still ending. Undefined again from the moment
   * it is cancelled, unless another stop was asked for since.
   */
  get request(): StopRequest | undefined {
    return this.#asked?.request;
  }

  /** Whether a run has begun from which, or from whose present phase, there is no way back. */
  get isPastNoReturn(): boolean {
    if (this.#pipeline.isPastNoReturn) return true;
    return this.#state === "stopping" && this.#run?.request.noReturn !== undefined;
  }

  /** The report, once a run is over that was not cancelled. */
  get report(): DrainReport | undefined {
    return this.#report;
  }

  /** How far the run is, if a phase is under way. */
  get progress(): PhaseProgress<Phase> | undefined {
    return this.#pipeline.progress();
  }

  /** The milliseconds until the deadline of the run, its delay included; undefined when none is under way. */
  get remaining(): number | undefined {
    return this.#report === undefined ? this.#asked?.budget.remaining() : undefined;
  }

  /** How a phase ended in the run under way; undefined as long as it has not. */
  ended(phase: Phase): PhaseReport | undefined {
    return this.#pipeline.ended.get(phase);
  }

  /**
   * The report of the run as far as it has come: the phases that have ended, the fates so far, and the outcome if nothing
   * else went wrong. Undefined when no run is under way; after the run the report itself.
   */
  snapshot(): DrainReport | undefined {
    if (this.#report !== undefined) return this.#report;
    const run = this.#run;
    if (run === undefined || this.#state !== "stopping") return undefined;
    return this.#makeReport(run, [...this.#pipeline.ended.values()]);
  }

  /** Calls `listener` at each `event`; the returned function stops that. */
  on<Name extends keyof LifecycleEvents<Phase>>(
    event: Name,
    listener: (payload: LifecycleEvents<Phase>[Name]) => void,
  ): () => void {
    return this.#events.on(event, listener);
  }

  /**
   * Adds a participant to `phase`; the returned function takes it out again unless it has begun. One that comes while
   * the phase is under way joins in. Throws `MORENDO_PHASE_OVER` once the phase has ended and `MORENDO_PHASE_UNKNOWN`
   * for a phase that is not in the plan.
   */
  attach(phase: Phase, participant: Participant<Phase>): () => void {
    return this.#pipeline.attach(phase, participant);
  }

  /** Returns who takes part in `phase`, in the order of registration. */
  participants(phase: Phase): readonly Participant<Phase>[] {
    return this.#pipeline.participants(phase);
  }

  /**
   * Adds a section to the report: `content` is called when a report or a `snapshot` is made and must return plain JSON.
   */
  section(name: string, content: () => unknown): void {
    this.#sections.set(name, content);
  }

  /**
   * Says that the start is over: complete, or ended early. The state becomes `running`, or with `suspended` at once
   * `suspending`, unless a stop was asked for meanwhile, which is then carried out.
   */
  started(suspended?: SuspendRequest): void {
    if (this.#startupOver.signal.aborted) return;
    this.#startupOver.abort();
    if (this.#run !== undefined) return;
    if (suspended === undefined) this.#become("running");
    else void this.#suspension.begin(suspended);
  }

  /**
   * Runs the start sequence and then says `started`. `signal` aborts when a stop is asked for. A sequence that throws
   * makes the server stop with a fatal error, over whatever was attached so far. With what `suspended` returns then, the
   * server comes up suspended. Resolves to whether the server runs, suspended or not.
   */
  async start(
    sequence: (signal: AbortSignal) => void | Promise<void>,
    suspended?: () => SuspendRequest | undefined,
  ): Promise<boolean> {
    try {
      await sequence(this.startup);
    } catch (thrown) {
      if (this.#run === undefined) {
        const error = asError(thrown);
        this.#log.error({ err: error }, "the start failed");
        void this.stop({ cause: "stop", reason: error.message, trigger: "failed start", error });
      } else {
        this.#log.info({ err: asError(thrown) }, "the start was ended early");
      }
    }
    this.started(suspended?.());
    return this.#run === undefined && this.#state !== "starting";
  }

  /**
   * Stops the server: the one way in for every trigger. The first call begins the run, or, during the start, remembers
   * it and begins when the start is over; each later call gets the same promise and is noted in the report. One that
   * comes while a run is being taken back begins a run of its own as soon as everything is back; its time counts from
   * the call, and taking back gets only what its phases can spare.
   *
   * During the delay of a run a later call can bring its end forward, to the call's own delay from now, or to now without
   * one; one with a longer delay changes nothing. An announcement replaces the one before it. Resolves when the last phase is over and the report is on disk, at the latest by the deadline and the last
   * phase's floor; or, with outcome `cancelled`, when the run was cancelled and everything is back. Never rejects.
   */
  stop(request: StopRequest): Promise<DrainReport> {
    const asked = this.#asked;
    if (asked !== undefined) {
      this.#repeat(asked, request);
      return asked.finished;
    }
    const run = this.#newRun(request);
    const { id, budgetMs } = run;
    const delayMs = run.delay?.askedMs ?? 0;
    const fields = { run: id, cause: request.cause, trigger: request.trigger, budgetMs, delayMs };
    this.#log.info(fields, `stop: ${request.reason}`);
    if (this.#run !== undefined) {
      this.#next = run;
      this.#watchdog.arm(run.budget.latest());
      this.#hurryUndoing();
      return run.finished;
    }
    this.#run = run;
    void this.#carryOut(run);
    return run.finished;
  }

  /**
   * Cancels the stop under way and brings everything back, if the point of no return has not been passed. The phase
   * under way ends: the signals of its participants abort, they are given a moment, and then everybody who had begun
   * takes back what they did (`Participant.cancelled`), the last first, each within its limit. Then the state is
   * `running` again, participants stay attached, and `stop` resolves with a report of outcome `cancelled`.
   *
   * Resolves when everything is back, or at once with the reason why it is too late: nothing to cancel, a stop during
   * the start (which has ended the start), a fatal error, a stop with `noReturn`, a third signal, or a phase from which there is no way back. A
   * second call while the first is carried out gets the same answer. Never rejects.
   */
  cancel(request: CancelRequest): Promise<CancelResult> {
    const run = this.#run;
    if (run?.cancel !== undefined) return run.cancel.done;
    const why = this.#whyNotCancel(run);
    if (run === undefined || why !== undefined) {
      this.#log.info({ trigger: request.trigger, why }, `not cancelled: ${request.reason}`);
      return Promise.resolve({ cancelled: false, why: why ?? NOTHING_TO_CANCEL });
    }
    const { promise, resolve } = withResolvers<CancelResult>();
    run.cancel = { request, atMs: Math.round(this.#clock.now() - run.startedAt), done: promise, finish: resolve };
    this.#log.info({ run: run.id, trigger: request.trigger }, `cancel: ${request.reason}`);
    // A server that is to stay is not killed for being slow.
    this.#watchdog.disarm();
    this.#pipeline.cancel();
    return promise;
  }

  /**
   * Brings every participant to stand still (`onSuspend`): `suspending`, and then `suspended`. Resolves when that is so, or
   * when it has come to nothing and everything is back, to the record that says which and why. Asked for again in the same
   * mode it returns the same promise; in another one, and in any state but `running`, it is refused. A stop, and `resume`,
   * call it off while it is under way. Never rejects.
   */
  suspend(request: SuspendRequest): Promise<SuspendReport> {
    return this.#suspension.suspend(request);
  }

  /**
   * Ends the suspension, or calls off the one under way: participants resume in reverse order, and the state is `running`
   * again. Resolves when that is so, or at once with why there is nothing to resume. Never rejects.
   */
  resume(request: ResumeRequest): Promise<ResumeResult> {
    return this.#suspension.resume(request);
  }

  /** Adds a participant to suspensions, the last in order; the returned function takes it out again. */
  onSuspend(participant: SuspendParticipant): () => void {
    return this.#suspension.add(participant);
  }

  /** The suspension that the server is in or on its way to. */
  get suspension(): SuspendReport | undefined {
    return this.#suspension.current;
  }

  /** The record of the last suspension that is over or came to nothing. */
  get lastSuspension(): SuspendReport | undefined {
    return this.#suspension.last;
  }

  /** Ends the delay of the run under way, for a reason that is reported; does nothing when there is none. */
  endDelay(why: string): void {
    const run = this.#asked;
    if (run !== undefined && this.#report === undefined) this.#shortenDelay(run, 0, why);
  }

  /**
   * The second signal: a delay ends, and what is left of the budget shrinks to `hurryMs`. Does nothing unless a run is under
   * way.
   */
  hurry(trigger: string): void {
    const run = this.#asked;
    if (run === undefined || this.#report !== undefined) return;
    this.#log.warn({ trigger, remainingMs: run.budget.remaining(), hurryMs: this.#options.hurryMs }, "told to hurry");
    run.hurried = true;
    this.#shortenDelay(run, 0, `told to hurry by ${trigger}`);
    run.budget.shrink(this.#options.hurryMs);
    this.#watchdog.bringForward(run.budget.latest());
    this.#hurryUndoing();
    if (run !== this.#run) return;
    this.#suspension.hurry(run.budget.lead());
    this.#pipeline.budgetShrank();
  }

  /** The third signal: all phases but the last are cut off or skipped. Does nothing unless a run is under way. */
  skipToEnd(trigger: string): void {
    const run = this.#asked;
    if (run === undefined || this.#report !== undefined) return;
    this.#log.warn({ trigger, phase: this.progress?.phase }, "told to skip to the last phase");
    run.skippedToEnd = true;
    run.budget.shortenDelay(0);
    run.budget.shrink(this.#options.hurryMs);
    this.#watchdog.bringForward(run.budget.latest());
    this.#hurryUndoing();
    if (run !== this.#run) return;
    this.#suspension.hurry(run.budget.lead());
    this.#startupOver.abort();
    this.#pipeline.budgetShrank();
    this.#pipeline.skipToEnd();
  }

  /** The run that was asked for and not cancelled. */
  get #asked(): Run<Phase> | undefined {
    return this.#run?.cancel === undefined ? this.#run : this.#next;
  }

  #whyNotCancel(run: Run<Phase> | undefined): string | undefined {
    if (run === undefined) return NOTHING_TO_CANCEL;
    if (this.#report !== undefined) return "the server has stopped";
    if (this.#state !== "stopping") return "the stop was asked for during the start, which is being ended";
    if (run.error !== undefined) return `a fatal error made the stop necessary: ${run.error.message}`;
    if (run.request.noReturn !== undefined) return run.request.noReturn;
    if (run.skippedToEnd) return "it was told to skip to the last phase";
    if (!this.#pipeline.isPastNoReturn) return undefined;
    return `phase "${this.#pipeline.reached}" has begun, and there is no way back from it`;
  }

  /** The delay that counts for a request: where nobody is served, or nothing can be put off, there is none. */
  #delayOf({ delayMs = this.#options.delayMs ?? 0, error, noReturn }: StopRequest): number {
    const isPossible = error === undefined && noReturn === undefined && this.#state !== "starting";
    return isPossible && this.#options.plan.some(({ isDelay }) => isDelay === true) ? Math.max(0, delayMs) : 0;
  }

  /** Brings the end of a delay forward to `ms` from now, and the deadline with it. */
  #shortenDelay(run: Run<Phase>, ms: number, why: string): void {
    const { delay } = run;
    if (delay === undefined || run.budget.delay() <= 0 || !run.budget.shortenDelay(ms)) return;
    delay.cut = { why, atMs: Math.round(this.#clock.now() - run.startedAt) };
    this.#log.info({ run: run.id, delayMs: ms }, `the delay is shortened: ${why}`);
    this.#watchdog.bringForward(run.budget.latest());
    if (run === this.#run) this.#pipeline.budgetShrank();
  }

  #newRun(asked: StopRequest): Run<Phase> {
    const { plan, clock, random } = this.#options;
    const delayMs = this.#delayOf(asked);
    const request: StopRequest = delayMs === (asked.delayMs ?? 0) ? asked : { ...asked, delayMs };
    const { announcement } = request;
    const budgetMs = request.budgetMs ?? this.#options.budgetMs;
    const { promise, resolve } = withResolvers<DrainReport>();
    return {
      request,
      id: random.id(),
      budget: new Budget({
        clock,
        totalMs: budgetMs,
        plan: plan.filter((phase) => isWanted(phase, request)),
        delayMs,
      }),
      budgetMs,
      delay: delayMs === 0 ? undefined : { askedMs: delayMs, announcement, cut: undefined },
      startedAt: clock.now(),
      startedWall: clock.wallTime(),
      repeated: [],
      repeatedCount: 0,
      error: request.error,
      hurried: false,
      skippedToEnd: false,
      startupMs: 0,
      finished: promise,
      finish: resolve,
      cancel: undefined,
      suspension: undefined,
    };
  }

  #repeat(run: Run<Phase>, request: StopRequest): void {
    const { cause, reason, trigger } = request;
    run.repeatedCount++;
    if (run.repeated.length < MAX_REPEATED) {
      run.repeated.push({ cause, reason, trigger, atMs: Math.round(this.#clock.now() - run.startedAt) });
      this.#log.info({ run: run.id, cause, trigger }, `asked to stop again: ${reason}`);
    }
    if (this.#report !== undefined) return;
    run.error ??= request.error;
    const { delay } = run;
    if (delay === undefined || run.budget.delay() <= 0) return;
    if (request.announcement !== undefined) {
      delay.announcement = request.announcement;
      if (run === this.#run) this.#pipeline.announce(delay.announcement);
    }
    this.#shortenDelay(run, this.#delayOf(request), `asked to stop again by ${trigger}`);
  }

  async #carryOut(run: Run<Phase>): Promise<void> {
    this.#watchdog.arm(run.budget.latest());
    this.#watchdog.running("start-up", []);
    if (this.#state === "starting") await this.#endOfStart(run);
    run.startupMs = Math.round(this.#clock.now() - run.startedAt);
    this.obligations.begin();
    this.#become("stopping", run.request);
    // What clients had sent while nothing was read is part of what the pipeline brings to its end.
    const { cause, reason, trigger } = run.request;
    const why = { reason: `${cause}: ${reason}`, trigger };
    run.suspension = await this.#suspension.end(why, run.budget.lead());
    this.#pipeline.announce(run.delay?.announcement);
    const phases = await this.#pipeline.run(run.request, run.budget);
    if (run.cancel !== undefined) {
      await this.#comeBack(run, run.cancel, phases);
      return;
    }
    const report = this.#makeReport(run, phases);
    this.#report = report;
    this.#save(report);
    this.#watchdog.disarm();
    this.#become("stopped", run.request);
    this.#log.info({ run: run.id, outcome: report.outcome, exitCode: report.exitCode }, "stopped");
    this.#events.notify("report", report);
    run.finish(report);
  }

  /** Takes back what was begun and serves on; or stops again, if that was asked for meanwhile. */
  async #comeBack(run: Run<Phase>, cancel: Cancel, phases: readonly PhaseReport[]): Promise<void> {
    const { request, atMs } = cancel;
    const { clock, log, settleMs = SETTLE_MS, undoMs = UNDO_MS } = this.#options;
    const { begun } = this.#pipeline;
    const whole = new Deadline(clock, settleMs + begun.length * undoMs);
    this.#undoing = whole;
    this.#hurryUndoing();
    const undone = await undo({ begun, reason: request.reason, clock, log, settleMs, undoMs, whole });
    whole.cancel();
    this.#undoing = undefined;
    const report = this.#makeReport(run, phases, { reason: request.reason, trigger: request.trigger, atMs, undone });
    this.#pipeline.reset();
    this.obligations.end();
    this.#save(report);
    const next = this.#next;
    this.#run = next;
    this.#next = undefined;
    this.#become("running");
    log.info({ run: run.id, trigger: request.trigger }, "the stop was cancelled; serving on");
    this.#events.notify("cancelled", report);
    run.finish(report);
    const failed = undone.filter(({ outcome }) => outcome !== "done");
    cancel.finish({
      cancelled: true,
      failed: failed.map(({ name, error = "" }) => ({ name, error })),
      ...(run.suspension === undefined ? {} : { note: NOT_SUSPENDED }),
    });
    if (next === undefined) return;
    if (next.skippedToEnd) this.#pipeline.skipToEnd();
    void this.#carryOut(next);
  }

  /** Taking back may use no more of the next run's time than its phases can spare. */
  #hurryUndoing(): void {
    if (this.#next !== undefined) this.#undoing?.shrink(this.#next.budget.lead());
  }

  /** Waits for the start to end, as long as the phases can spare the time. */
  async #endOfStart(run: Run<Phase>): Promise<void> {
    this.#startup.abort();
    // In steps, because a second signal may shrink the budget meanwhile.
    while (!this.#startupOver.signal.aborted) {
      const left = run.budget.lead();
      if (left <= 0) {
        this.#log.warn({ run: run.id }, "the start did not end in time; stopping over it");
        this.#startupOver.abort();
        return;
      }
      await this.#clock.sleep(Math.min(left, 100), this.#startupOver.signal);
    }
  }

  #become(state: LifecycleState, request?: StopRequest | SuspendRequest): void {
    this.#state = state;
    // Back from a cancelled run there is nothing asked for, or something that has not begun.
    const isOver = state === "running" || request === undefined;
    this.#events.notify("state", isOver ? { state } : { state, request });
  }

  #makeReport(run: Run<Phase>, phases: readonly PhaseReport[], cancelled?: CancelReport): DrainReport {
    const sections = sectionsOf(this.#sections, this.#log);
    if (run.suspension !== undefined) sections.suspension = run.suspension;
    return reportOf(run, {
      phases,
      obligations: this.obligations.snapshot(),
      sections,
      now: this.#clock.now(),
      delayPhase: this.#options.plan.find(({ isDelay }) => isDelay === true)?.name,
      cancelled,
    });
  }

  #save(report: DrainReport): void {
    const { reportDir: where } = this.#options;
    const reportDir = typeof where === "function" ? where() : where;
    if (reportDir === undefined) return;
    try {
      writeReport(reportDir, report);
    } catch (thrown) {
      this.#log.error({ err: asError(thrown), reportDir, report }, "the drain report could not be written");
    }
  }
}
