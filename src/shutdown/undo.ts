// The way back of a run that was cancelled: waits a moment for those who are under way, then lets everybody who had begun
// take back what they did, the last first. Bounded in time whatever they do. Not for: whether a run may still be
// cancelled (lifecycle.ts).

import type { Clock } from "../util/clock.ts";
import { Deadline } from "../util/deadline.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Begun } from "./phase-run.ts";
import type { ParticipantReport } from "./report.ts";
import type { CancelledContext, Outcome } from "./types.ts";

export interface UndoOptions<Phase extends string> {
  /** In the order of beginning. */
  readonly begun: readonly Begun<Phase>[];
  readonly reason: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long those who are under way have to settle after their signal has aborted; all together. */
  readonly settleMs: number;
  /** How long each has to take back what it did, unless its own limit is shorter. */
  readonly undoMs: number;
  /** By when all of it must be over; it can be brought forward while it goes on. */
  readonly whole: Deadline;
}

/** Takes back what was begun and says how each who has something to take back fared. Never rejects. */
export async function undo<Phase extends string>(options: UndoOptions<Phase>): Promise<ParticipantReport[]> {
  const { begun, log } = options;
  const late = await unsettled(options);
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
    if (participant.cancelled !== undefined) reports.push(await undoOne(entry, options));
  }
  return reports;
}

/** Returns those who have not settled after `settleMs`. */
async function unsettled<Phase extends string>({
  begun,
  clock,
  settleMs,
  whole,
}: UndoOptions<Phase>): Promise<ReadonlySet<Begun<Phase>>> {
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

async function undoOne<Phase extends string>(
  { phase, participant }: Begun<Phase>,
  { clock, log, reason, undoMs, whole }: UndoOptions<Phase>,
): Promise<ParticipantReport> {
  const startedAt = clock.now();
  const deadline = new Deadline(clock, Math.min(undoMs, participant.timeoutMs ?? undoMs, whole.remaining()));
  const hurry = (): void => deadline.shrink(0);
  whole.signal.addEventListener("abort", hurry);
  const context: CancelledContext<Phase> = {
    phase,
    reason,
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
      log.error({ err: fault, phase, participant: participant.name }, "a participant failed to take back what it did");
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
