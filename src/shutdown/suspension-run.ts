// One suspension from its beginning to its end: lets its participants prepare, suspend and resume, each run like the one
// participant of a phase, with the same leases, limits and records, and knows what came of it. Not for: whether there may
// be one, and the state of the server (suspension.ts).

import type { Clock } from "../util/clock.ts";
import { Deadline } from "../util/deadline.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { withResolvers } from "../util/with-resolvers.ts";
import type { PhaseProgress } from "./phase-progress.ts";
import { type Begun, PhaseRun } from "./phase-run.ts";
import type {
  EndOfSuspension,
  ResumeResult,
  SuspendContext,
  SuspendOutcome,
  SuspendParticipant,
  SuspendReport,
  SuspendRequest,
  SuspendStep,
  SuspendStepReport,
} from "./suspend-types.ts";
import type { Participant } from "./types.ts";
import { noWatchdog } from "./watchdog.ts";
import type { WayBack } from "./way-back.ts";

export interface SuspensionRunOptions {
  readonly request: SuspendRequest;
  /** Who takes part, in order. */
  readonly participants: readonly SuspendParticipant[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** With `stay`, what those still get who have not begun when the time is over. */
const GRACE_MS = 1_000;

/** A suspension under way, or in force. */
export class SuspensionRun {
  readonly id: string;
  readonly request: SuspendRequest;
  readonly finished: Promise<SuspendReport>;
  readonly finish: (report: SuspendReport) => void;
  #participants: readonly SuspendParticipant[];
  #clock: Clock;
  #log: Logger;
  #deadline: Deadline;
  #startedAt: number;
  #startedWall: number;
  #durationMs = 0;
  #suspendedAt: number | undefined;
  #outcome: SuspendOutcome = "pending";
  #why: string | undefined;
  #late: string[] = [];
  #reports: SuspendStepReport[] = [];
  /** The last step that each has begun. */
  #begun = new Map<SuspendParticipant, Begun<SuspendStep>>();
  /** Which participant, counted over both steps, is under way. */
  #at = 0;
  #underWay: { readonly step: SuspendStep; readonly phase: PhaseRun<SuspendStep> } | undefined;
  #wayBack: WayBack<ResumeResult> | undefined;
  /** Resolves when nobody is being prepared or suspended any more. */
  #settled: Promise<void>;
  #settle: () => void;

  constructor({ request, participants, clock, random, log }: SuspensionRunOptions) {
    this.id = random.id();
    this.request = request;
    this.#participants = participants;
    this.#clock = clock;
    this.#log = log;
    this.#deadline = new Deadline(clock, request.timeoutMs);
    this.#startedAt = clock.now();
    this.#startedWall = clock.wallTime();
    const finished = withResolvers<SuspendReport>();
    this.finished = finished.promise;
    this.finish = finished.resolve;
    const settled = withResolvers<void>();
    this.#settled = settled.promise;
    this.#settle = settled.resolve;
  }

  /** Whether everybody stands still, or as many as could be brought to. */
  get isSuspended(): boolean {
    return this.#suspendedAt !== undefined;
  }

  /** Set once it is over, or is to be. */
  get wayBack(): WayBack<ResumeResult> | undefined {
    return this.#wayBack;
  }

  /** Lets everybody prepare and then suspend, one after the other; false when that ended early. `end` must follow. */
  async carryOut(): Promise<boolean> {
    return (await this.#step("prepare")) && (await this.#step("suspend"));
  }

  /** Says that `carryOut` is over, and with it what became of the suspension. */
  end(isReady: boolean): void {
    this.#underWay = undefined;
    this.#deadline.cancel();
    this.#durationMs = Math.round(this.#clock.now() - this.#startedAt);
    this.#settle();
    if (this.#wayBack !== undefined) {
      this.#outcome = "called-off";
      this.#why = this.#wayBack.request.reason;
    } else if (isReady) {
      this.#outcome = this.#late.length === 0 ? "suspended" : "late";
      this.#suspendedAt = this.#clock.now();
    } else {
      if (this.#outcome === "pending") this.#outcome = "timed-out";
      this.#why ??= `not done in time: ${this.#late.join(", ")}`;
    }
  }

  /** Ends it, or calls it off while it is under way: nobody else begins, and whoever is under way is told by its signal. */
  callOff(wayBack: WayBack<ResumeResult>): void {
    this.#wayBack = wayBack;
    this.#underWay?.phase.skip("cancelled");
  }

  /** Lets all who have begun and are `stillThere` resume, in reverse order, and returns the record of its end. */
  async resume(
    wayBack: WayBack<ResumeResult>,
    stillThere: (participant: SuspendParticipant) => boolean,
  ): Promise<EndOfSuspension> {
    await this.#settled;
    // In the order of registration, whatever step each has come to.
    const begun = this.#participants.flatMap((participant) =>
      stillThere(participant) ? (this.#begun.get(participant) ?? []) : [],
    );
    const undone = await wayBack.takeBack(begun);
    const { reason, trigger } = wayBack.request;
    return {
      at: new Date(this.#clock.wallTime()).toISOString(),
      heldMs: this.#suspendedAt === undefined ? 0 : Math.round(this.#clock.now() - this.#suspendedAt),
      reason,
      trigger,
      participants: undone.map(({ when: _, ...report }) => ({ ...report, step: "resume" as const })),
    };
  }

  /** Returns the record of it, as far as it has come. */
  report(): SuspendReport {
    const isPending = this.#outcome === "pending";
    return {
      ...this.request,
      suspended: this.isSuspended,
      outcome: this.#outcome,
      id: this.id,
      startedAt: new Date(this.#startedWall).toISOString(),
      durationMs: isPending ? Math.round(this.#clock.now() - this.#startedAt) : this.#durationMs,
      participants: [...this.#reports],
      late: [...this.#late],
      ...(this.#why === undefined ? {} : { why: this.#why }),
    };
  }

  /** Returns how far it is, or undefined when nobody is under way. */
  progress(): PhaseProgress<SuspendStep> | undefined {
    if (this.#underWay === undefined) return undefined;
    const { step, phase } = this.#underWay;
    const elapsedMs = this.#clock.now() - this.#startedAt;
    return { phase: step, step: this.#at, steps: this.#participants.length * 2, elapsedMs, ...phase.progress() };
  }

  /** Lets everybody take one step; false when it ends there. */
  async #step(step: "prepare" | "suspend"): Promise<boolean> {
    for (const participant of this.#participants) {
      if (this.#wayBack !== undefined) return false;
      this.#at++;
      if (participant[step] === undefined) continue;
      const { outcome, error } = await this.#run(participant, step);
      if (this.#wayBack !== undefined) return false;
      if (outcome === "done") continue;
      if (step === "prepare" && outcome === "failed") {
        this.#outcome = "refused";
        this.#why = `${participant.name} refused: ${firstLine(error)}`;
        return false;
      }
      if (!this.#late.includes(participant.name)) this.#late.push(participant.name);
      if (this.request.onTimeout === "back") return false;
    }
    return true;
  }

  async #run(participant: SuspendParticipant, step: "prepare" | "suspend"): Promise<SuspendStepReport> {
    const { cause, reason, onTimeout } = this.request;
    const phase = new PhaseRun<SuspendStep>({
      phase: step,
      cause,
      reason,
      participants: [this.#asParticipant(participant, step)],
      shareMs: Math.max(this.#deadline.remaining(), onTimeout === "stay" ? GRACE_MS : 0),
      clock: this.#clock,
      log: this.#log,
      watchdog: noWatchdog,
    });
    this.#underWay = { step, phase };
    const { participants, outcome } = await phase.run();
    const [begun] = phase.begun;
    if (begun !== undefined) this.#begun.set(participant, begun);
    const fared = participants[0];
    const report: SuspendStepReport = {
      name: participant.name,
      step,
      outcome: fared?.outcome ?? outcome,
      durationMs: fared?.durationMs ?? 0,
      ...(fared?.error === undefined ? {} : { error: fared.error }),
      ...(fared?.leaseHolders === undefined ? {} : { leaseHolders: fared.leaseHolders }),
    };
    this.#reports.push(report);
    return report;
  }

  /** What a phase takes: who takes part in suspensions is told the mode as well. */
  #asParticipant(participant: SuspendParticipant, step: "prepare" | "suspend"): Participant<SuspendStep> {
    const { mode } = this.request;
    const { name, timeoutMs } = participant;
    return {
      name,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      run: (context) => {
        // The getters of the context stay what they are.
        const own: SuspendContext = Object.assign(Object.create(context) as SuspendContext, { mode });
        return participant[step]?.(own);
      },
      ...(participant.resume === undefined
        ? {}
        : { cancelled: (context) => participant.resume?.(Object.assign({ mode }, context)) }),
    };
  }
}

function firstLine(text: string | undefined): string {
  return (text?.split("\n", 1)[0] ?? "").replace(/^\w*Error(?: \[\w+\])?: /, "");
}
