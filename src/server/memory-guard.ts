// Keeps new work away while the process uses more memory than it may: whoever wants to log in and servers with which nothing
// is under way are refused, what is there goes on, and a shutdown is never held up. Looks once a second, never per stanza.

import type { Config } from "../config/schema.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import { StreamError } from "../stanza/stream-error.ts";
import type { Logger } from "../util/log.ts";
import type { TimerWheel, WheelTimeout } from "../util/timer-wheel.ts";
import type { C2s } from "./c2s/c2s.ts";
import type { PhaseName } from "./phases.ts";
import type { S2s } from "./s2s/s2s.ts";

const LOOK_MS = 1_000;
/** They are let in again below this share of what is allowed, so that the door does not swing. */
const LOW_SHARE = 0.95;
const WHY = "no memory for anybody new at the moment";

export interface MemoryGuardOptions {
  /** Its value may change while the server runs; 0 is no limit. */
  readonly limits: Config["limits"];
  readonly wheel: TimerWheel;
  readonly log: Logger;
  readonly lifecycle: Lifecycle<PhaseName>;
  readonly c2s: Pick<C2s, "refuseNew">;
  readonly s2s: Pick<S2s, "refuseNew">;
  /** How many bytes the process uses. */
  readonly used: () => number;
}

/** Refuses new work above `limits.max_memory`. */
export class MemoryGuard {
  #options: MemoryGuardOptions;
  #isRefusing = false;
  #look: WheelTimeout | undefined;

  constructor(options: MemoryGuardOptions) {
    this.#options = options;
  }

  /** Looks from now on whenever there is a limit, until the server goes down; to be called once. */
  begin(): void {
    this.#options.lifecycle.on("state", ({ state }) => {
      if (state === "running") this.reconfigured();
      else if (state === "stopping") this.#stopLooking();
      // Whoever suspends decides alone who is let in.
      else this.#isRefusing = false;
    });
    this.reconfigured();
  }

  /** The limit may be another one now. */
  reconfigured(): void {
    const { limits, wheel } = this.#options;
    if (limits.max_memory === 0) return this.#stopLooking();
    this.#look ??= wheel.add(LOOK_MS, () => {
      this.#see();
      this.#look?.restart();
    });
    this.#see();
  }

  #stopLooking(): void {
    this.#look?.cancel();
    this.#look = undefined;
    this.#letIn();
  }

  #see(): void {
    const { limits, lifecycle, used, log } = this.#options;
    if (lifecycle.state !== "running") return;
    const max = limits.max_memory;
    const bytes = used();
    if (!this.#isRefusing && bytes > max) {
      log.warn({ bytes, max }, "nobody new is let in: more memory is in use than limits.max_memory");
      this.#isRefusing = true;
    } else if (this.#isRefusing && bytes <= max * LOW_SHARE) {
      log.info({ bytes, max }, "there is memory again: everybody is let in");
      this.#letIn();
    }
    // Said again each time: the end of a suspension has taken it back.
    if (this.#isRefusing) this.#refuse(WHY);
  }

  #letIn(): void {
    if (this.#isRefusing) this.#refuse(undefined);
    this.#isRefusing = false;
  }

  #refuse(why: string | undefined): void {
    const { c2s, s2s } = this.#options;
    c2s.refuseNew(why === undefined ? undefined : new StreamError("resource-constraint", why));
    s2s.refuseNew(why);
  }
}
