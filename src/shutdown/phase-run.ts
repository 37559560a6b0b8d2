// One phase while it runs: starts its participants group by group, cuts off whoever is out of time, waits for the
// leases and writes down how everybody fared. Not for: the order of phases and their shares (pipeline.ts).

import type { Clock } from "../util/clock.ts";
import { Deadline } from "../util/deadline.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import { describeThrown, type Entry, GROUPS, isSettled, newEntry, participantReport } from "./phase-entry.ts";
import { MAX_BLOCKERS, type PhaseProgress, progressOf } from "./phase-progress.ts";
import type { PhaseReport, SkipReason } from "./report.ts";
import type { Cause, Outcome, Participant, PhaseContext } from "./types.ts";
import type { Watchdog } from "./watchdog.ts";

export interface PhaseRunOptions<Phase extends string> {
  readonly phase: Phase;
  /** Whether it lasts for all of its time, and its end is nobody's lateness: see `PhasePlan.isDelay`. */
  readonly isDelay?: boolean;
  readonly cause: Cause;
  readonly reason: string;
  readonly announcement?: () => string | undefined;
  readonly participants: readonly Participant<Phase>[];
  /** The time the phase has, from the moment `run` is called. */
  readonly shareMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly watchdog: Watchdog;
}

/** A participant that has begun. */
export interface Begun<Phase extends string> {
  readonly phase: Phase;
  readonly participant: Participant<Phase>;
  /** Resolves when its own work has settled, well or badly; undefined when it had settled at once. */
  readonly settled: Promise<void> | undefined;
}

/**
 * The part of the phase's time by which a group must be over when there are participants in a later one: nobody who hangs
 * before the phase's own work takes all of its time.
 */
const OVER_BY: readonly number[] = [0.5, 0.9, 1];

/** A phase under way. */
export class PhaseRun<Phase extends string> {
  #options: PhaseRunOptions<Phase>;
  #entries: Entry<Phase>[] = [];
  #begun: Begun<Phase>[] = [];
  #group = -1;
  #startedAt = 0;
  #deadline: Deadline | undefined;
  #over: SkipReason | "elapsed" | undefined;
  #hasEnded = false;
  #wake: () => void = () => undefined;

  constructor(options: PhaseRunOptions<Phase>) {
    this.#options = options;
    for (const participant of options.participants) this.#enter(participant);
  }

  /** Whether the phase takes in no more participants. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Who has begun, in the order of beginning. */
  get begun(): readonly Begun<Phase>[] {
    return this.#begun;
  }

  /** Runs the phase to its end: all settled and all leases released, or out of time. Never rejects. */
  async run(): Promise<PhaseReport> {
    const { clock, shareMs, isDelay } = this.#options;
    const end = isDelay === true ? "elapsed" : "out of time";
    const outOfTime = (): void => this.#endNow(end);
    this.#startedAt = clock.now();
    if (shareMs <= 0) this.#over = end;
    else {
      this.#deadline = new Deadline(clock, shareMs);
      this.#deadline.signal.addEventListener("abort", outOfTime);
      this.#tellWatchdog();
      await this.#runGroups();
    }
    this.#deadline?.cancel();
    this.#deadline?.signal.removeEventListener("abort", outOfTime);
    this.#hasEnded = true;
    // Who was cut off may still react to its signal, in order, before the next phase begins.
    if (this.#over !== undefined) await clock.turn();
    return this.#report();
  }

  /** Takes in a participant that comes late: at once if its group is under way or over. */
  join(participant: Participant<Phase>): void {
    const entry = this.#enter(participant);
    // Not on the caller's stack: the caller may be another participant's code.
    if (entry.group <= this.#group) queueMicrotask(() => this.#start(entry));
  }

  /** Forgets a participant that has not begun. */
  leave(participant: Participant<Phase>): void {
    this.#entries = this.#entries.filter((entry) => entry.participant !== participant || entry.state !== "waiting");
    this.#wake();
  }

  /** Ends the phase now: whoever runs is cut off, whoever waits is skipped. */
  skip(why: SkipReason): void {
    this.#endNow(why);
  }

  /** Leaves the phase `ms` from now on, if it has more. */
  shrink(ms: number): void {
    this.#deadline?.shrink(ms);
    for (const entry of this.#entries) if (entry.state === "running") entry.deadline?.shrink(this.#groupMs(entry));
  }

  /** Returns how far the phase is. */
  progress(): Pick<PhaseProgress, "done" | "total" | "blockers" | "running" | "remainingMs"> {
    return {
      ...progressOf(this.#entries, this.#options.isDelay === true),
      remainingMs: this.#deadline?.remaining() ?? 0,
    };
  }

  #endNow(why: SkipReason | "elapsed"): void {
    if (this.#over !== undefined || this.#hasEnded) return;
    this.#over = why;
    for (const entry of this.#entries) {
      if (entry.state === "waiting") continue;
      if (why === "elapsed") this.#dismiss(entry);
      else this.#cutOff(entry, why === "out of time" ? "timed-out" : "skipped", why);
    }
    this.#wake();
  }

  async #runGroups(): Promise<void> {
    for (this.#group = 0; this.#group < GROUPS.length; this.#group++) {
      // By index: a participant may bring in another while the loop runs.
      for (let index = 0; index < this.#entries.length; index++) {
        const entry = this.#entries[index] as Entry<Phase>;
        if (entry.group <= this.#group) this.#start(entry);
      }
      await this.#until(() => this.#entries.every((entry) => entry.group > this.#group || isSettled(entry)));
    }
    await this.#until(() => this.#options.isDelay !== true && this.#entries.every((entry) => entry.state === "over"));
  }

  async #until(condition: () => boolean): Promise<void> {
    while (this.#over === undefined && !condition()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #enter(participant: Participant<Phase>): Entry<Phase> {
    const { isDelay = false } = this.#options;
    const entry = newEntry(participant, isDelay, (released) => this.#released(released));
    this.#entries.push(entry);
    return entry;
  }

  #start(entry: Entry<Phase>): void {
    if (entry.state !== "waiting" || this.#over !== undefined || !this.#entries.includes(entry)) return;
    const { clock, watchdog } = this.#options;
    const { participant } = entry;
    const phaseMs = this.#deadline?.remaining() ?? 0;
    entry.state = "running";
    entry.startedAt = clock.now();
    const ownMs = participant.timeoutMs ?? phaseMs;
    const groupMs = this.#groupMs(entry);
    if (ownMs < phaseMs || groupMs < phaseMs) {
      const deadline = new Deadline(clock, Math.min(ownMs, groupMs));
      const outOfTime = (): void => {
        // A lease holds the phase, not the group.
        if (entry.state === "leased" && groupMs < ownMs) return;
        this.#cutOff(entry, "timed-out", "out of its own time");
        this.#wake();
      };
      deadline.signal.addEventListener("abort", outOfTime);
      entry.deadline = deadline;
      entry.forgetDeadline = () => deadline.signal.removeEventListener("abort", outOfTime);
    }
    this.#tellWatchdog();
    watchdog.executing(participant.name);
    let settled: Promise<void> | undefined;
    try {
      const pending = participant.run(this.#context(entry));
      if (pending === undefined) this.#settle(entry, "done");
      else {
        settled = Promise.resolve(pending).then(
          () => this.#settle(entry, "done"),
          (thrown: unknown) => this.#settle(entry, "failed", thrown),
        );
      }
    } catch (thrown) {
      this.#settle(entry, "failed", thrown);
    } finally {
      watchdog.idle();
      this.#begun.push({ phase: this.#options.phase, participant, settled });
    }
  }

  /** The milliseconds that a participant may hold up the groups after its own. */
  #groupMs(entry: Entry<Phase>): number {
    const phaseMs = this.#deadline?.remaining() ?? 0;
    const group = Math.max(entry.group, this.#group);
    if (!this.#entries.some((other) => other.group > group)) return phaseMs;
    const totalMs = this.#options.clock.now() - this.#startedAt + phaseMs;
    return Math.max(0, phaseMs - totalMs * (1 - (OVER_BY[group] ?? 1)));
  }

  #context(entry: Entry<Phase>): PhaseContext<Phase> {
    const { phase, cause, reason, announcement, clock } = this.#options;
    const deadline = (): number => {
      const phaseAt = this.#deadline?.at ?? this.#startedAt;
      return Math.min(phaseAt, entry.deadline?.at ?? phaseAt);
    };
    return {
      phase,
      cause,
      reason,
      get announcement() {
        return announcement?.();
      },
      signal: entry.controller.signal,
      get deadline() {
        return deadline();
      },
      remaining: () => (entry.state === "over" ? 0 : Math.max(0, deadline() - clock.now())),
      lease: (name) => entry.leases.take(name),
      progress: (progress) => {
        entry.progress = progress;
      },
    };
  }

  /** The participant's own work is over, in time or not. */
  #settle(entry: Entry<Phase>, outcome: Outcome, thrown?: unknown): void {
    const { log, phase } = this.#options;
    const fields = { phase, participant: entry.participant.name };
    if (outcome === "failed") log.error({ ...fields, err: asError(thrown) }, "a participant failed");
    if (entry.state !== "running") {
      log.info(fields, "a participant settled after its time was over");
      return;
    }
    entry.outcome = outcome;
    if (outcome === "failed") entry.error = describeThrown(thrown);
    entry.state = "leased";
    this.#released(entry);
    this.#tellWatchdog();
    this.#wake();
  }

  #released(entry: Entry<Phase>): void {
    if (entry.state !== "leased" || entry.leases.size > 0) return;
    this.#end(entry);
    this.#wake();
  }

  /** Goes on without the participant and drops its leases. */
  #cutOff(entry: Entry<Phase>, outcome: Outcome, why: string): void {
    if (entry.state === "over") return;
    const { log, watchdog, phase } = this.#options;
    const { name } = entry.participant;
    if (entry.outcome !== "failed") entry.outcome = outcome;
    entry.error ??= why;
    this.#end(entry);
    log.warn({ phase, participant: name, leaseHolders: entry.leaseHolders.slice(0, MAX_BLOCKERS) }, `cut off: ${why}`);
    watchdog.executing(name);
    entry.controller.abort();
    watchdog.idle();
  }

  /** The delay is over, and with it what the participant is there for. */
  #dismiss(entry: Entry<Phase>): void {
    if (entry.state === "over") return;
    if (entry.state === "running") entry.outcome = "done";
    this.#end(entry);
    entry.controller.abort();
  }

  #end(entry: Entry<Phase>): void {
    entry.state = "over";
    entry.deadline?.cancel();
    entry.forgetDeadline();
    entry.endedAt = this.#options.clock.now();
    entry.leaseHolders = entry.leases.close();
  }

  #tellWatchdog(): void {
    const running: string[] = [];
    for (const { state, participant } of this.#entries) if (state === "running") running.push(participant.name);
    this.#options.watchdog.running(this.#options.phase, running);
  }

  #report(): PhaseReport {
    const { phase, clock, shareMs } = this.#options;
    const participants = this.#entries.map((entry) => participantReport(entry));
    return {
      name: phase,
      outcome: this.#outcome(),
      ...(this.#over === undefined || this.#over === "elapsed" ? {} : { skipped: this.#over }),
      durationMs: Math.round(clock.now() - this.#startedAt),
      budgetMs: Math.round(shareMs),
      participants,
      leaseHolders: this.#entries.flatMap((entry) => entry.leaseHolders),
    };
  }

  #outcome(): Outcome {
    if (this.#over === "told to skip" || this.#over === "cancelled") return "skipped";
    if (this.#over === "out of time" && this.#entries.length > 0) return "timed-out";
    if (this.#entries.some((entry) => entry.outcome === "timed-out")) return "timed-out";
    return this.#entries.some((entry) => entry.outcome === "failed") ? "failed" : "done";
  }
}
