// A listener to `server-stopping`, run as a participant of that phase: it is waited for, and so is all that it hands over.

import type { PhaseContext } from "../shutdown/types.ts";
import type { ServerStopping } from "./catalogue.ts";
import type { Faults } from "./module-faults.ts";
import type { PhaseName } from "./phases.ts";

/** Gives the stopping event to `listener` and waits for all that it hands over; rejects with the first failure. */
export async function runListener(
  listener: (event: ServerStopping) => unknown,
  context: PhaseContext<PhaseName>,
  faults: Faults,
): Promise<void> {
  const waiting: Promise<unknown>[] = [];
  const failures: unknown[] = [];
  const { cause, reason, signal } = context;
  let isOver = false;
  const keep = (work: unknown): void => {
    waiting.push(Promise.resolve(work).catch((thrown: unknown) => failures.push(thrown)));
  };
  const event: ServerStopping = {
    cause,
    reason,
    signal,
    get deadline() {
      return context.deadline;
    },
    remaining: () => context.remaining(),
    waitUntil: (work) => {
      if (!isOver && !signal.aborted) {
        keep(work);
        return;
      }
      // Refused, but it goes on: what becomes of it must not be an unhandled rejection.
      Promise.resolve(work).catch((thrown: unknown) => faults.failed("server-stopping", thrown));
      throw faults.refuse("MORENDO_PHASE_OVER", "waitUntil", 'its event "server-stopping" is over');
    },
  };
  try {
    // An async listener is waited for like what it hands over.
    keep(listener(event));
  } catch (thrown) {
    failures.push(thrown);
  }
  // Work that is under way may hand over more.
  for (let done = 0; done < waiting.length; done++) await waiting[done];
  isOver = true;
  if (failures.length > 0) throw failures[0];
}
