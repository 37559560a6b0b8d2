// Evacuating: a suspension (src/shutdown/suspension.ts) in which users are sent elsewhere, or asked to leave, at a pace.
// Operators stay, other servers too, and nobody new is let in. Not for: standing still (suspending.ts).

import { Jid } from "../jid/jid.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { ResumeRequest, SuspendContext, SuspendRequest } from "../shutdown/suspend-types.ts";
import { StreamError } from "../stanza/stream-error.ts";
import type { Clock } from "../util/clock.ts";
import { type Random, shuffle } from "../util/random.ts";
import type { C2s } from "./c2s/c2s.ts";
import type { PhaseName } from "./phases.ts";
import type { Session } from "./session.ts";

/** What whoever wants users to leave says. */
export interface EvacuateWish extends ResumeRequest {
  /** Where they are sent, as `host` or `host:port`; without it they are only asked to leave. */
  readonly to?: string | undefined;
  /** How many sessions a second; `DEFAULT_PACE` unless given. */
  readonly pace?: number;
  readonly timeoutMs: number;
  readonly onTimeout: SuspendRequest["onTimeout"];
}

/** What an evacuation works on. */
export interface EvacuationOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly lifecycle: Lifecycle<PhaseName>;
  readonly c2s: Pick<C2s, "refuseNew" | "dismiss">;
  /** All bound sessions, in no order. */
  readonly sessions: () => Iterable<Session>;
  /** The accounts that stay. */
  readonly operators: () => readonly string[];
}

/** How many sessions a second leave unless told. */
export const DEFAULT_PACE = 50;

const MODE = "evacuate";
/** How often some are asked to leave, and it is looked who is left. */
const LOOK_MS = 250;
const MAX_NAMED = 5;

/** Sends users away. */
export class Evacuation {
  #options: EvacuationOptions;
  #wish: EvacuateWish | undefined;

  constructor(options: EvacuationOptions) {
    this.#options = options;
    options.lifecycle.onSuspend({
      name: "evacuation",
      modes: [MODE],
      suspend: (context) => this.#evacuate(context),
      resume: () => options.c2s.refuseNew(undefined),
    });
  }

  /** Returns the request for it. Asked for again while one is under way, that one goes on as it is. */
  request(wish: EvacuateWish): SuspendRequest {
    const { lifecycle } = this.#options;
    if (lifecycle.suspension === undefined && lifecycle.state === "running") this.#wish = wish;
    const { reason, trigger, timeoutMs, onTimeout } = wish;
    return { cause: "evacuate", mode: MODE, reason, trigger, timeoutMs, onTimeout };
  }

  /** Returns those who are to leave and have not, by full JID, at most `limit` of them, and how many they are. */
  left(limit: number): { readonly count: number; readonly names: readonly string[] } {
    const names: string[] = [];
    let count = 0;
    for (const { jid } of this.#toLeave()) {
      count++;
      if (names.length < limit) names.push(jid.toString());
    }
    return { count, names };
  }

  /** Done when only operators are left. */
  async #evacuate(context: SuspendContext): Promise<void> {
    const { clock, random, c2s } = this.#options;
    const { to, pace = DEFAULT_PACE } = this.#wish ?? {};
    const { reason, signal } = context;
    // RFC 6120 §4.9.3.19 sends somebody elsewhere; without a place to go it is §4.9.3.17, as when nobody new is let in.
    const error =
      to === undefined ? new StreamError("resource-constraint", reason) : StreamError.seeOtherHost(to, reason);
    c2s.refuseNew(error);
    const asked = new Set<Session>();
    let waiting: Session[] = [];
    // How many may be asked now; at most as many as come up between two looks, however late the next one is.
    let due = 1;
    const mostAtOnce = Math.max(1, (2 * pace * LOOK_MS) / 1_000);
    let most = 0;
    while (!signal.aborted) {
      const left = this.#toLeave();
      most = Math.max(most, asked.size, left.length);
      const names = left.slice(0, MAX_NAMED).map(({ jid }) => jid.toString());
      context.progress({ done: most - left.length, total: most, blockers: names });
      if (left.length === 0) return;
      // Who had begun to log in before may have come since.
      if (waiting.length === 0) {
        waiting = shuffle(
          left.filter((session) => !asked.has(session)),
          random,
        );
      }
      const now = waiting.splice(0, Math.floor(due));
      due -= now.length;
      for (const session of now) {
        asked.add(session);
        c2s.dismiss(session, error);
      }
      const lookedAt = clock.now();
      await clock.sleep(LOOK_MS, signal);
      due = Math.min(mostAtOnce, due + ((clock.now() - lookedAt) * pace) / 1_000);
    }
  }

  #toLeave(): Session[] {
    const { operators, sessions } = this.#options;
    const staying = new Set(operators().map((account) => Jid.parse(account)?.toString() ?? account));
    return [...sessions()].filter(({ account }) => !staying.has(account.toString()));
  }
}
