// The life of a server: starting, running, stopping, stopped; and the one entry point through which every stop goes.
// Tells a stop from its trigger to the exit, and the way back from it; each part of that has a file of its own: the run
// that was asked for (run.ts), the end of a start (startup.ts), a suspension (suspension.ts), the phases (pipeline.ts),
// the way back (way-back.ts), the report (report-maker.ts).

import type { Clock } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import { Notifier } from "../util/events.ts";
import type { Logger } from "../util/log.ts";
import type { LifecycleEvents, LifecycleOptions } from "./lifecycle-types.ts";
import { Obligations } from "./obligations.ts";
import type { PhaseProgress } from "./phase-progress.ts";
import { Pipeline } from "./pipeline.ts";
import type { DrainReport, PhaseReport } from "./report.ts";
import { ReportMaker } from "./report-maker.ts";
import { Run } from "./run.ts";
import { Startup } from "./startup.ts";
import type {
  ResumeRequest,
  ResumeResult,
  SuspendParticipant,
  SuspendReport,
  SuspendRequest,
} from "./suspend-types.ts";
import { Suspension } from "./suspension.ts";
import type { CancelRequest, CancelResult, LifecycleState, Participant, StopRequest } from "./types.ts";
import { noWatchdog, type Watchdog } from "./watchdog.ts";
import { notTakenBack, WayBack } from "./way-back.ts";

const SETTLE_MS = 2_000;
const UNDO_MS = 5_000;
const NOT_SUSPENDED = "the server was suspended before the stop, and is not any more";

/** The life of one server. Everything that can stop it calls `stop`. */
export class Lifecycle<Phase extends string> {
  /** Where the fates of obligations are told; the report covers those settled since the beginning of the run. */
  readonly obligations = new Obligations();
  #options: LifecycleOptions<Phase>;
  #clock: Clock;
  #log: Logger;
  #watchdog: Watchdog;
  #events: Notifier<LifecycleEvents<Phase>>;
  #startup = new Startup();
  #suspension: Suspension;
  #pipeline: Pipeline<Phase>;
  #reports: ReportMaker;
  #state: LifecycleState = "starting";
  /** What was asked for first; it stays when it is over, unless it was cancelled. */
  #run: Run<Phase> | undefined;
  /** Asked for while a run is being taken back; begins when everything is back. */
  #next: Run<Phase> | undefined;

  constructor(options: LifecycleOptions<Phase>) {
    const { clock, random, log, plan, pointOfNoReturn, progressMs = 250 } = options;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#watchdog = options.watchdog ?? noWatchdog;
    this.#events = new Notifier((event, thrown) => {
      log.error({ err: asError(thrown), event }, "a listener of the lifecycle failed");
    });
    this.#suspension = new Suspension({
      clock,
      random,
      log,
      progressMs,
      settleMs: options.settleMs ?? SETTLE_MS,
      resumeMs: options.undoMs ?? UNDO_MS,
      state: () => this.#state,
      enter: (state, request) => this.#become(state, request),
      onProgress: (progress) => this.#events.notify("progress", progress),
    });
    this.#pipeline = new Pipeline<Phase>({
      plan,
      ...(pointOfNoReturn === undefined ? {} : { pointOfNoReturn }),
      clock,
      log,
      watchdog: this.#watchdog,
      progressMs,
      onPhase: (event) => this.#events.notify("phase", event),
      onProgress: (progress) => this.#events.notify("progress", progress),
    });
    this.#reports = new ReportMaker({
      obligations: this.obligations,
      delayPhase: plan.find(({ isDelay }) => isDelay === true)?.name,
      dir: options.reportDir,
      clock,
      log,
    });
  }

  get state(): LifecycleState {
    return this.#state;
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

  /** How far the run is, if a phase is under way. */
  get progress(): PhaseProgress<Phase> | undefined {
    return this.#pipeline.progress();
  }

  /** The milliseconds until the deadline of the run, its delay included; undefined when none is under way. */
  get remaining(): number | undefined {
    return this.#underWay?.budget.remaining();
  }

  /** How a phase ended in the run under way; undefined as long as it has not. */
  ended(phase: Phase): PhaseReport | undefined {
    return this.#pipeline.ended.get(phase);
  }

  /** The report, once a run is over that was not cancelled. */
  get report(): DrainReport | undefined {
    return this.#run?.report;
  }

  /**
   * The report of the run as far as it has come: the phases that have ended, the fates so far, and the outcome if nothing
   * else went wrong. Undefined when no run is under way; after the run the report itself.
   */
  snapshot(): DrainReport | undefined {
    const run = this.#run;
    if (run?.report !== undefined) return run.report;
    if (run === undefined || this.#state !== "stopping") return undefined;
    return this.#reports.make(run, [...this.#pipeline.ended.values()]);
  }

  /** The suspension that the server is in or on its way to. */
  get suspension(): SuspendReport | undefined {
    return this.#suspension.current;
  }

  /** The record of the last suspension that is over or came to nothing. */
  get lastSuspension(): SuspendReport | undefined {
    return this.#suspension.last;
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

  /** Adds a participant to suspensions, the last in order; the returned function takes it out again. */
  onSuspend(participant: SuspendParticipant): () => void {
    return this.#suspension.add(participant);
  }

  /**
   * Adds a section to the report: `content` is called when a report or a `snapshot` is made and must return plain JSON.
   */
  section(name: string, content: () => unknown): void {
    this.#reports.section(name, content);
  }

  /** Aborts when a stop is asked for during the start, so that the start sequence can end early. */
  get startup(): AbortSignal {
    return this.#startup.signal;
  }

  /**
   * Says that the start is over: complete, or ended early. The state becomes `running`, or with `suspended` at once
   * `suspending`, unless a stop was asked for meanwhile, which is then carried out.
   */
  started(suspended?: SuspendRequest): void {
    if (this.#startup.isOver) return;
    this.#startup.over();
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

  /**
   * Stops the server: the one way in for every trigger. The first call begins the run, or, during the start, remembers
   * it and begins when the start is over; each later call gets the same promise and is noted in the report. One that
   * comes while a run is being taken back begins a run of its own as soon as everything is back; its time counts from
   * the call, and taking back gets only what its phases can spare.
   *
   * During the delay of a run a later call can bring its end forward, to the call's own delay from now, or to now without
   * one; one with a longer delay changes nothing. An announcement replaces the one before it.
   *
   * Resolves when the last phase is over and the report is on disk, at the latest by the deadline and the last phase's
   * floor; or, with outcome `cancelled`, when the run was cancelled and everything is back. Never rejects.
   */
  stop(request: StopRequest): Promise<DrainReport> {
    const delayMs = this.#delayOf(request);
    const asked = this.#asked;
    if (asked !== undefined) {
      if (asked.repeat(request, delayMs)) this.#timeShrank(asked);
      return asked.finished;
    }
    const { plan, random } = this.#options;
    const budgetMs = request.budgetMs ?? this.#options.budgetMs;
    const run = new Run({ request, delayMs, budgetMs, plan, clock: this.#clock, random, log: this.#log });
    const { cause, reason, trigger } = request;
    this.#log.info({ run: run.id, cause, trigger, budgetMs, delayMs }, `stop: ${reason}`);
    if (this.#run === undefined) {
      this.#run = run;
      void this.#carryOut(run);
    } else {
      this.#next = run;
      this.#watchdog.arm(run.budget.latest());
      this.#hurryBack();
    }
    return run.finished;
  }

  /** Ends the delay of the run under way, for a reason that is reported; does nothing when there is none. */
  endDelay(why: string): void {
    const run = this.#underWay;
    if (run?.shortenDelay(0, why) === true) this.#timeShrank(run);
  }

  /**
   * The second signal: a delay ends, and what is left of the budget shrinks to `hurryMs`. Does nothing unless a run is under
   * way.
   */
  hurry(trigger: string): void {
    const run = this.#underWay;
    if (run === undefined) return;
    const { hurryMs } = this.#options;
    this.#log.warn({ trigger, remainingMs: run.budget.remaining(), hurryMs }, "told to hurry");
    run.hurried = true;
    run.shortenDelay(0, `told to hurry by ${trigger}`);
    run.budget.shrink(hurryMs);
    this.#timeShrank(run);
  }

  /** The third signal: all phases but the last are cut off or skipped. Does nothing unless a run is under way. */
  skipToEnd(trigger: string): void {
    const run = this.#underWay;
    if (run === undefined) return;
    this.#log.warn({ trigger, phase: this.progress?.phase }, "told to skip to the last phase");
    run.skippedToEnd = true;
    run.budget.shortenDelay(0);
    run.budget.shrink(this.#options.hurryMs);
    this.#timeShrank(run);
    if (run !== this.#run) return;
    this.#startup.over();
    this.#pipeline.skipToEnd();
  }

  /**
   * Cancels the stop under way and brings everything back, if the point of no return has not been passed. The phase
   * under way ends: the signals of its participants abort, they are given a moment, and then everybody who had begun
   * takes back what they did (`Participant.cancelled`), the last first, each within its limit. Then the state is
   * `running` again, participants stay attached, and `stop` resolves with a report of outcome `cancelled`.
   *
   * Resolves when everything is back, or at once with the reason why it is too late: nothing to cancel, a stop during
   * the start (which has ended the start), a fatal error, a stop with `noReturn`, a third signal, or a phase from which
   * there is no way back. A second call while the first is carried out gets the same answer. Never rejects.
   */
  cancel(request: CancelRequest): Promise<CancelResult> {
    const run = this.#run;
    if (run?.wayBack !== undefined) return run.wayBack.done;
    if (run === undefined) return this.#refuseCancel(request, "no stop is under way");
    const why = this.#whyNotCancel(run);
    if (why !== undefined) return this.#refuseCancel(request, why);
    const { settleMs = SETTLE_MS, undoMs = UNDO_MS } = this.#options;
    const wayBack = new WayBack<CancelResult>({ request, settleMs, undoMs, clock: this.#clock, log: this.#log });
    run.wayBack = wayBack;
    this.#log.info({ run: run.id, trigger: request.trigger }, `cancel: ${request.reason}`);
    // A server that is to stay is not killed for being slow.
    this.#watchdog.disarm();
    this.#pipeline.cancel();
    return wayBack.done;
  }

  /** A stop from its beginning to the report. */
  async #carryOut(run: Run<Phase>): Promise<void> {
    this.#watchdog.arm(run.budget.latest());
    this.#watchdog.running("start-up", []);
    if (this.#state === "starting") await this.#endStart(run);
    run.startupMs = run.elapsed();
    this.obligations.begin();
    this.#become("stopping", run.request);
    // What clients had sent while nothing was read is part of what the pipeline brings to its end.
    const { cause, reason, trigger } = run.request;
    run.suspension = await this.#suspension.end({ reason: `${cause}: ${reason}`, trigger }, run.budget.lead());
    const phases = await this.#pipeline.run(run);
    if (run.wayBack !== undefined) {
      await this.#comeBack(run, run.wayBack, phases);
      return;
    }
    const report = this.#reports.make(run, phases);
    run.report = report;
    this.#reports.save(report);
    this.#watchdog.disarm();
    this.#become("stopped", run.request);
    this.#log.info({ run: run.id, outcome: report.outcome, exitCode: report.exitCode }, "stopped");
    this.#events.notify("report", report);
    run.finish(report);
  }

  /** Waits for the start to end, as long as the phases can spare the time. */
  async #endStart(run: Run<Phase>): Promise<void> {
    const hasEnded = await this.#startup.end(this.#clock, () => run.budget.lead());
    if (!hasEnded) this.#log.warn({ run: run.id }, "the start did not end in time; stopping over it");
  }

  /** Takes back what was begun and serves on; or stops again, if that was asked for meanwhile. */
  async #comeBack(run: Run<Phase>, wayBack: WayBack<CancelResult>, phases: readonly PhaseReport[]): Promise<void> {
    const { reason, trigger } = wayBack.request;
    const undone = await wayBack.takeBack(this.#pipeline.begun);
    const atMs = Math.round(wayBack.askedAt - run.startedAt);
    const report = this.#reports.make(run, phases, { reason, trigger, atMs, undone });
    this.#pipeline.reset();
    this.obligations.end();
    this.#reports.save(report);
    const next = this.#next;
    this.#run = next;
    this.#next = undefined;
    this.#become("running");
    this.#log.info({ run: run.id, trigger }, "the stop was cancelled; serving on");
    this.#events.notify("cancelled", report);
    run.finish(report);
    const note = run.suspension === undefined ? {} : { note: NOT_SUSPENDED };
    wayBack.finish({ cancelled: true, failed: notTakenBack(undone), ...note });
    if (next === undefined) return;
    if (next.skippedToEnd) this.#pipeline.skipToEnd();
    void this.#carryOut(next);
  }

  /** The run that was asked for and not cancelled. */
  get #asked(): Run<Phase> | undefined {
    return this.#run?.wayBack === undefined ? this.#run : this.#next;
  }

  /** The run that was asked for, as long as it is not over. */
  get #underWay(): Run<Phase> | undefined {
    const asked = this.#asked;
    return asked?.report === undefined ? asked : undefined;
  }

  /** The delay that counts for a request: where nobody is served, or nothing can be put off, there is none. */
  #delayOf({ delayMs = this.#options.delayMs ?? 0, error, noReturn }: StopRequest): number {
    const isPossible = error === undefined && noReturn === undefined && this.#state !== "starting";
    return isPossible && this.#options.plan.some(({ isDelay }) => isDelay === true) ? Math.max(0, delayMs) : 0;
  }

  /** Tells everybody who goes by the time of a run that it has less. */
  #timeShrank(run: Run<Phase>): void {
    this.#watchdog.bringForward(run.budget.latest());
    if (run !== this.#run) return this.#hurryBack();
    this.#suspension.hurry(run.budget.lead());
    this.#pipeline.budgetShrank();
  }

  /** Taking back may use no more of the next run's time than its phases can spare. */
  #hurryBack(): void {
    if (this.#next !== undefined) this.#run?.wayBack?.hurry(this.#next.budget.lead());
  }

  #whyNotCancel(run: Run<Phase>): string | undefined {
    if (run.report !== undefined) return "the server has stopped";
    if (this.#state !== "stopping") return "the stop was asked for during the start, which is being ended";
    if (run.whyNoReturn !== undefined || !this.#pipeline.isPastNoReturn) return run.whyNoReturn;
    return `phase "${this.#pipeline.reached}" has begun, and there is no way back from it`;
  }

  #refuseCancel({ trigger, reason }: CancelRequest, why: string): Promise<CancelResult> {
    this.#log.info({ trigger, why }, `not cancelled: ${reason}`);
    return Promise.resolve({ cancelled: false, why });
  }

  #become(state: LifecycleState, request?: StopRequest | SuspendRequest): void {
    this.#state = state;
    // Back from a cancelled run there is nothing asked for, or something that has not begun.
    const isOver = state === "running" || request === undefined;
    this.#events.notify("state", isOver ? { state } : { state, request });
  }
}
