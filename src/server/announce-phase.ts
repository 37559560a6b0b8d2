// The server's own part in the phase `announce`: everything is served as before, and readiness is red. Ends an announced
// delay when nobody is left whom it is for. Not for: telling anybody (modules/announce).

import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { Participant, PhaseContext } from "../shutdown/types.ts";
import type { Clock } from "../util/clock.ts";
import type { C2s } from "./c2s/c2s.ts";
import type { PhaseName } from "./phases.ts";
import type { SessionTable } from "./session-table.ts";

/** What is looked at, and how the delay is ended. */
export interface AnnouncePhaseOptions {
  readonly clock: Clock;
  readonly lifecycle: Pick<Lifecycle<PhaseName>, "endDelay">;
  readonly sessions: SessionTable;
  readonly c2s: Pick<C2s, "hibernating" | "isHibernating">;
}

/** How often it is looked who is left. */
const LOOK_MS = 250;
/**
 * How long sessions without their clients are waited for where nobody is connected from the beginning: after a restart, or a
 * suspension that the stop has ended, clients are about to come back.
 */
const COMING_BACK_MS = 30_000;
/** How many are named, and how many sessions are looked through for that. */
const MAX_NAMED = 5;
const MAX_SEEN = 100;

/**
 * Returns the participant. Without an announcement the delay is for those who do not know of it, such as balancers that have
 * not seen yet that the server is not ready, so it lasts whoever is there.
 */
export function announcePhase(options: AnnouncePhaseOptions): Participant<PhaseName> {
  return { name: "sessions", run: (context) => watch(options, context) };
}

async function watch(options: AnnouncePhaseOptions, context: PhaseContext<PhaseName>): Promise<void> {
  const { clock, lifecycle, sessions, c2s } = options;
  const began = clock.now();
  let most = 0;
  while (!context.signal.aborted) {
    // Those that wait for their clients have nobody to tell.
    const left = sessions.size - c2s.hibernating;
    most = Math.max(most, left);
    const isFor = context.announcement !== undefined;
    context.progress({ done: most - left, total: most, blockers: isFor ? firstNames(options) : [] });
    const areComing = most === 0 && c2s.hibernating > 0 && clock.now() - began < COMING_BACK_MS;
    if (isFor && left === 0 && !areComing) {
      lifecycle.endDelay("nobody is left");
      return;
    }
    await clock.sleep(LOOK_MS, context.signal);
  }
}

function firstNames({ sessions, c2s }: AnnouncePhaseOptions): string[] {
  const names: string[] = [];
  let seen = 0;
  for (const session of sessions.all()) {
    if (!c2s.isHibernating(session)) names.push(session.jid.toString());
    if (names.length === MAX_NAMED || ++seen === MAX_SEEN) break;
  }
  return names;
}
