// The phase `server-stopping` as an event for the host's owner, who may keep it open with promises.

import type { Cause, PhaseContext } from "../../shutdown/types.ts";

/** The owner's own time in a stop: the sessions are gone, the streams to other servers still work. */
export interface HostStopping {
  readonly cause: Cause;
  readonly reason: string;
  /** Aborts when the time is over. */
  readonly signal: AbortSignal;
  /** The milliseconds left. */
  remaining(): number;
  /** Keeps the phase open until `work` settles or the time is over; a rejection is recorded. */
  waitUntil(work: Promise<unknown>): void;
}

/** Calls `listener` and waits for all that it hands over; rejects with the first failure. */
export async function runStoppingListener(
  listener: (event: HostStopping) => unknown,
  context: PhaseContext,
): Promise<void> {
  const waiting: Promise<unknown>[] = [];
  const failures: unknown[] = [];
  const { cause, reason, signal } = context;
  const waitUntil = (work: unknown): void => {
    waiting.push(Promise.resolve(work).catch((thrown: unknown) => failures.push(thrown)));
  };
  // An async listener is waited for like what it hands over.
  waitUntil(listener({ cause, reason, signal, remaining: () => context.remaining(), waitUntil }));
  // Work that is under way may hand over more.
  for (let done = 0; done < waiting.length; done++) await waiting[done];
  if (failures.length > 0) throw failures[0];
}
