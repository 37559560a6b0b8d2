// What suspending means for an XMPP server, in its two modes. `hold`: connections stay, nothing is read from them, nobody is
// let in, no time runs out and nothing is written, so that the data folder can be copied. `refuse`: everything goes on, but
// nobody new is let in. Not for: the order of things and who is late (src/shutdown/suspension.ts).

import type { Config } from "../config/schema.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { ResumeRequest, SuspendContext, SuspendRequest } from "../shutdown/suspend-types.ts";
import { StreamError } from "../stanza/stream-error.ts";
import type { Store } from "../store/store.ts";
import type { Clock } from "../util/clock.ts";
import { Deadline } from "../util/deadline.ts";
import { asError } from "../util/errors.ts";
import type { HeldClock } from "../util/held-clock.ts";
import type { Logger } from "../util/log.ts";
import type { TimerWheel, WheelTimeout } from "../util/timer-wheel.ts";
import type { C2s } from "./c2s/c2s.ts";
import type { PhaseName } from "./phases.ts";
import type { S2s } from "./s2s/s2s.ts";

/** The ways to stand still that operators can ask for. */
export type SuspendMode = Config["suspend"]["mode"];

/** What whoever wants the server to stand still says; the configuration says the rest. */
export interface SuspendWish extends ResumeRequest {
  readonly mode?: SuspendMode;
  readonly timeoutMs?: number;
  readonly onTimeout?: SuspendRequest["onTimeout"];
}

/** Returns the request that a wish comes to. */
export function suspendRequest(config: Config["suspend"], wish: SuspendWish): SuspendRequest {
  const { mode = config.mode, timeoutMs = config.timeout, onTimeout = config.on_timeout, reason, trigger } = wish;
  return { cause: "suspend", mode, timeoutMs, onTimeout, reason, trigger };
}

/** The parts that stand still. */
export interface SuspendingOptions {
  readonly config: Config["suspend"];
  readonly batch: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly lifecycle: Lifecycle<PhaseName>;
  readonly c2s: C2s;
  readonly s2s: S2s;
  readonly store: Store;
  /** The clock of modules: their timers do not fire while nothing is to be written. */
  readonly moduleClock: HeldClock;
  /** The timeouts that stand still, and a wheel that goes on. */
  readonly wheel: TimerWheel;
  readonly steadyWheel: TimerWheel;
}

/** In whose name connections are held. */
const HOLDER = "suspension";
/** How long, and for what share of the time, other servers have to prove what they were sent. */
const QUIET_MS = 5_000;
const QUIET_SHARE = 1 / 3;

/** Lets the server stand still. */
export class Suspending {
  #options: SuspendingOptions;
  #keepAlive: WheelTimeout | undefined;
  /** Between `begin` and the moment at which the life cycle takes over. */
  #hasBegun = false;

  constructor(options: SuspendingOptions) {
    this.#options = options;
    const { lifecycle } = options;
    lifecycle.onSuspend({
      name: "c2s",
      when: "before",
      modes: ["hold", "refuse"],
      suspend: (context) => (isHold(context) ? this.#holdClients(context) : this.#refuseClients(context.reason)),
      resume: ({ mode }) => (mode === "hold" ? this.#releaseClients() : options.c2s.refuseNew(undefined)),
    });
    lifecycle.onSuspend({
      name: "s2s",
      when: "before",
      modes: ["hold", "refuse"],
      suspend: (context) => (isHold(context) ? this.#holdServers(context) : options.s2s.refuseNew(context.reason)),
      resume: ({ mode }) => (mode === "hold" ? this.#releaseServers() : options.s2s.refuseNew(undefined)),
    });
    lifecycle.onSuspend({
      name: "timers of modules",
      when: "after",
      modes: ["hold"],
      suspend: () => options.moduleClock.hold(),
      resume: () => options.moduleClock.release(),
    });
    lifecycle.onSuspend({
      name: "store",
      when: "after",
      modes: ["hold"],
      suspend: () => options.store.flushed(),
    });
    lifecycle.on("state", ({ state }) => {
      // A start that was to end suspended may be stopped before.
      if (this.#hasBegun && state === "stopping") this.#letIn();
      this.#hasBegun = false;
    });
  }

  /** Lets nobody in from the beginning, before the server says that it is suspended. */
  begin({ mode, reason }: SuspendRequest): void {
    const { c2s, s2s, wheel } = this.#options;
    this.#hasBegun = true;
    if (mode === "hold") {
      wheel.pause();
      c2s.pauseListening(HOLDER);
      s2s.pauseListening(HOLDER);
      s2s.pauseDialling();
    } else {
      this.#refuseClients(reason);
      s2s.refuseNew(reason);
    }
  }

  async #holdClients(context: SuspendContext): Promise<void> {
    const { c2s, wheel, steadyWheel, config } = this.#options;
    // While we do not listen, nobody can be late.
    wheel.pause();
    this.#keepAlive ??= steadyWheel.add(config.keepalive, () => this.#onKeepAlive());
    await c2s.hold(HOLDER, (progress) => context.progress(progress));
    await c2s.finishClosing(HOLDER);
  }

  #releaseClients(): void {
    const { c2s, wheel } = this.#options;
    this.#keepAlive?.cancel();
    this.#keepAlive = undefined;
    c2s.waitAnew();
    wheel.resume();
    c2s.release(HOLDER);
  }

  /** Their answers come on streams that they open: what they were sent is to be proved before these are held. */
  async #holdServers(context: SuspendContext): Promise<void> {
    const { s2s, clock } = this.#options;
    const quiet = new Deadline(clock, Math.min(QUIET_MS, context.remaining() * QUIET_SHARE));
    const enough = (): void => quiet.shrink(0);
    context.signal.addEventListener("abort", enough);
    await s2s.quiet(quiet.signal);
    context.signal.removeEventListener("abort", enough);
    quiet.cancel();
    if (context.signal.aborted) return;
    s2s.pauseDialling();
    await s2s.hold(HOLDER, (progress) => context.progress(progress));
  }

  #releaseServers(): void {
    const { s2s } = this.#options;
    s2s.resumeDialling();
    s2s.release(HOLDER);
  }

  /**
   * RFC 6120 §4.9.3.19 has a condition for sending somebody elsewhere. Without a place to go it is `resource-constraint`
   * (§4.9.3.17): of the others, `system-shutdown` would say that all streams end, and `policy-violation` that the client did
   * something wrong.
   */
  #refuseClients(reason: string): void {
    const { c2s, config } = this.#options;
    const { see_other_host: elsewhere } = config;
    const error =
      elsewhere === undefined
        ? new StreamError("resource-constraint", reason)
        : StreamError.seeOtherHost(elsewhere, reason);
    c2s.refuseNew(error);
  }

  #letIn(): void {
    this.#releaseClients();
    this.#releaseServers();
    this.#options.c2s.refuseNew(undefined);
    this.#options.s2s.refuseNew(undefined);
  }

  #onKeepAlive(): void {
    const { c2s, s2s, batch, log } = this.#options;
    Promise.all([c2s.keepAlive(batch), s2s.keepAlive(batch)]).then(
      () => this.#keepAlive?.restart(),
      (thrown: unknown) => log.error({ err: asError(thrown) }, "keeping connections alive failed"),
    );
  }
}

function isHold({ mode }: SuspendContext): boolean {
  return mode === "hold";
}
