// The way back of a run that was cancelled, or of a suspension: waits a moment for those who are under way, then lets
// everybody who had begun take back what they did, the last first. Bounded in time whatever they do. Not for: whether
// there may still be a way back (lifecycle.ts).

import type { Clock } from "../util/clock.ts";
import { Deadline } from "../util/deadline.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import { withResolvers } from "../util/with-resolvers.ts";
import type { Begun } from "./phase-run.ts";
import type { ParticipantReport } from "./report.ts";
import type { CancelledContext, CancelRequest, Outcome } from "./types.ts";

export interface WayBackOptions {
  /** Who wants it back, and why. */
  readonly request: CancelRequest;
  /** How long those who are under way have to settle after their signal has aborted; all together. */
  readonly settleMs: number;
  /** How long each has to take back what it did, unless its own limit is shorter. */
  readonly undoMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** One way back, and the promise of what comes of it. */
export class WayBack<Result> {
  readonly request: CancelRequest;
  /** The moment, on the clock's `now()`, at which it was asked for. */
  readonly askedAt: number;
  readonly done: Promise<Result>;
  readonly finish: (result: Result) => void;
  #options: WayBackOptions;
  /** By when all of it must be over, on the clock's `now()`. */
  #overBy = Number.POSITIVE_INFINITY;
  #whole: Deadline | undefined;

  constructor(options: WayBackOptions) {
    this.#options = options;
    this.request = options.request;
    this.askedAt = options.clock.now();
    const { promise, resolve } = withResolvers<Result>();
    this.done = promise;
    this.finish = resolve;
  }

  /** Leaves all of it at most `ms` from now on. */
  hurry(ms: number): void {
    this.#overBy = Math.min(this.#overBy, this.#options.clock.now() + ms);
    this.#whole?.shrink(ms);
  }

  /**
   * Lets `begun`, in the order of beginning, take back what they did, and returns how each who has something to take back
   * fared, in that order. Once. Never rejects.
   */
  async takeBack<Phase extends string>(begun: readonly Begun<Phase>[]): Promise<ParticipantReport[]> {
    const { clock, log, settleMs, undoMs } = this.#options;
    const whole = new Deadline(clock, Math.min(settleMs + begun.length * undoMs, this.#overBy - clock.now()));
    this.#whole = whole;
    const late = await this.#unsettled(begun, whole);
    const reports: ParticipantReport[] = [];
    for (const entry of begun.toReversed()) {
      const { phase, participant } = entry;
      if (late.has(entry)) {
        const fields = { phase, participant: participant.name };
        log.warn(
          fields,
          `${participant.name} did not stop when the run was cancelled; its work is taken back all the same`,
        );
      }
      if (participant.cancelled !== undefined) reports.push(await this.#undo(entry, whole));
    }
    whole.cancel();
    this.#whole = undefined;
    return reports;
  }

  /** Returns those who have not settled after `settleMs`. */
  async #unsettled<Phase extends string>(
    begun: readonly Begun<Phase>[],
    whole: Deadline,
  ): Promise<ReadonlySet<Begun<Phase>>> {
    const { clock, settleMs } = this.#options;
    const late = new Set<Begun<Phase>>();
    const settling: Promise<unknown>[] = [];
    for (const entry of begun) {
      if (entry.settled === undefined) continue;
      late.add(entry);
      settling.push(entry.settled.then(() => late.delete(entry)));
    }
    const all = Promise.all(settling);
    const done = new AbortController();
    const finish = (): void => done.abort();
    whole.signal.addEventListener("abort", finish);
    await Promise.race([all.then(finish), clock.sleep(Math.min(settleMs, whole.remaining()), done.signal)]);
    whole.signal.removeEventListener("abort", finish);
    // Whoever settled in time leaves no timer behind.
    done.abort();
    return late;
  }

  async #undo<Phase extends string>({ phase, participant }: Begun<Phase>, whole: Deadline): Promise<ParticipantReport> {
    const { request, undoMs, clock, log } = this.#options;
    const startedAt = clock.now();
    const deadline = new Deadline(clock, Math.min(undoMs, participant.timeoutMs ?? undoMs, whole.remaining()));
    const hurry = (): void => deadline.shrink(0);
    whole.signal.addEventListener("abort", hurry);
    const context: CancelledContext<Phase> = {
      phase,
      reason: request.reason,
      signal: deadline.signal,
      remaining: () => deadline.remaining(),
    };
    let forgetDeadline = (): void => undefined;
    const outOfTime = new Promise<"timed-out">((resolve) => {
      const over = (): void => resolve("timed-out");
      deadline.signal.addEventListener("abort", over);
      forgetDeadline = () => deadline.signal.removeEventListener("abort", over);
    });
    let error: string | undefined;
    const work = async (): Promise<Outcome> => {
      try {
        await participant.cancelled?.(context);
        return "done";
      } catch (thrown) {
        const fault = asError(thrown);
        error = fault.stack ?? fault.message;
        log.error(
          { err: fault, phase, participant: participant.name },
          "a participant failed to take back what it did",
        );
        return "failed";
      }
    };
    const outcome = await Promise.race([work(), outOfTime]);
    deadline.cancel();
    forgetDeadline();
    whole.signal.removeEventListener("abort", hurry);
    if (outcome === "timed-out") {
      error = "out of time";
      log.error({ phase, participant: participant.name }, "a participant did not take back what it did in time");
    }
    return {
      name: participant.name,
      when: participant.when ?? "during",
      outcome,
      durationMs: Math.round(clock.now() - startedAt),
      ...(error === undefined ? {} : { error }),
    };
  }
}

/** Returns those who could not take back what they did, and why. */
export function notTakenBack(
  reports: readonly Pick<ParticipantReport, "name" | "outcome" | "error">[],
): { readonly name: string; readonly error: string }[] {
  return reports.filter(({ outcome }) => outcome !== "done").map(({ name, error = "" }) => ({ name, error }));
}
