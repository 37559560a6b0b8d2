// Suspending and resuming: whether there may be a suspension, the state it brings the server to, and who takes part. One
// at a time. Not for: what happens in one (suspension-run.ts), and the life cycle around it, such as that a stop takes a
// suspension back first (lifecycle.ts).

import { type Clock, repeat } from "../util/clock.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { GROUPS } from "./phase-entry.ts";
import type { PhaseProgress } from "./phase-progress.ts";
import type {
  ResumeRequest,
  ResumeResult,
  SuspendParticipant,
  SuspendReport,
  SuspendRequest,
  SuspendStep,
} from "./suspend-types.ts";
import { SuspensionRun } from "./suspension-run.ts";
import type { LifecycleState } from "./types.ts";
import { notTakenBack, WayBack } from "./way-back.ts";

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

/** The suspensions of one server, one at a time. */
export class Suspension {
  #options: SuspensionOptions;
  #participants: SuspendParticipant[] = [];
  #current: SuspensionRun | undefined;
  #last: SuspendReport | undefined;

  constructor(options: SuspensionOptions) {
    this.#options = options;
  }

  /** The suspension under way, or what the server is in, as far as it has come. */
  get current(): SuspendReport | undefined {
    return this.#current?.report();
  }

  /** The last suspension that is over, or came to nothing. */
  get last(): SuspendReport | undefined {
    return this.#last;
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
      if (current.wayBack !== undefined) return this.#refuse(request, "the suspension before is being taken back");
      if (isSame) return current.finished;
      return this.#refuse(request, `the server is ${state} in mode "${mode}"; resume it first`);
    }
    return state === "running" ? this.begin(request) : this.#refuse(request, `the server is ${state}`);
  }

  /** Begins a suspension, whatever the state. Only when none is under way. */
  begin(request: SuspendRequest): Promise<SuspendReport> {
    const { clock, random, log, enter } = this.#options;
    const { mode, cause, trigger, timeoutMs } = request;
    const participants = this.#participants.filter(({ modes }) => modes === undefined || modes.includes(mode));
    const run = new SuspensionRun({ request, participants, clock, random, log });
    this.#current = run;
    log.info({ suspension: run.id, cause, mode, trigger, timeoutMs }, `suspend: ${request.reason}`);
    enter("suspending", request);
    void this.#carryOut(run);
    return run.finished;
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
    this.#current?.wayBack?.hurry(ms);
  }

  async #carryOut(run: SuspensionRun): Promise<void> {
    const { clock, progressMs, onProgress, enter, state } = this.#options;
    const stopTelling = repeat(clock, progressMs, () => {
      const progress = run.progress();
      if (progress !== undefined) onProgress(progress);
    });
    const isReady = await run.carryOut();
    stopTelling();
    run.end(isReady);
    if (run.wayBack !== undefined) await run.wayBack.done;
    else {
      const report = run.report();
      this.#log(report);
      // Whoever takes the suspension back from now on finds it complete.
      if (!report.suspended) await this.#takeBack(run, { reason: report.why ?? "", trigger: "the suspension itself" });
      else if (state() === "suspending") enter("suspended", run.request);
    }
    run.finish(run.report());
  }

  #takeBack(run: SuspensionRun, request: ResumeRequest): Promise<ResumeResult> {
    if (run.wayBack !== undefined) return run.wayBack.done;
    const { clock, log, settleMs, resumeMs } = this.#options;
    const wayBack = new WayBack<ResumeResult>({ request, settleMs, undoMs: resumeMs, clock, log });
    run.callOff(wayBack);
    void this.#goBack(run, wayBack);
    return wayBack.done;
  }

  async #goBack(run: SuspensionRun, wayBack: WayBack<ResumeResult>): Promise<void> {
    const { log, enter, state } = this.#options;
    const { reason, trigger } = wayBack.request;
    log.info({ suspension: run.id, trigger }, `resume: ${reason}`);
    // Whoever was taken out since has nothing to resume.
    const ended = await run.resume(wayBack, (participant) => this.#participants.includes(participant));
    this.#last = { ...run.report(), suspended: false, ended };
    this.#current = undefined;
    const before = state();
    if (before === "suspending" || before === "suspended") enter("running");
    const how = before === "stopping" ? "taken back for the stop" : "resumed";
    log.info({ suspension: run.id, heldMs: ended.heldMs }, how);
    wayBack.finish({ resumed: true, failed: notTakenBack(ended.participants) });
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

  #log({ id, outcome, late, why, durationMs }: SuspendReport): void {
    const fields = { suspension: id, outcome, durationMs, ...(late.length === 0 ? {} : { late }) };
    if (outcome === "suspended") this.#options.log.info(fields, "suspended");
    else this.#options.log.warn(fields, why ?? `suspended, although not everybody is done: ${late.join(", ")}`);
  }
}

function groupOf({ when = "during" }: SuspendParticipant): number {
  return GROUPS.indexOf(when);
}
