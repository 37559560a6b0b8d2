// How this server hands itself over to a successor: everything stands still, a snapshot of the sessions that can go on
// elsewhere is taken, and once the successor serves, these sessions and the listening sockets are let go of and the rest
// goes down by the pipeline. Processes and messages between them are in src/handover; the other end is taking-over.ts.

import type {
  Handover,
  HandoverOutcome,
  HandoverStep,
  Relay,
  StateSection,
  SuccessorCommand,
} from "../handover/index.ts";
import type { PassableSocket } from "../net/transport.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { SuspendRequest } from "../shutdown/suspend-types.ts";
import { describeStanza, type Stanza } from "../stanza/stanza.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { C2s } from "./c2s/c2s.ts";
import { saveModules, undoModules } from "./module-handover.ts";
import type { ModuleLoader } from "./module-loader.ts";
import type { PhaseName } from "./phases.ts";
import type { Router } from "./router.ts";
import type { S2s } from "./s2s/s2s.ts";

/** The versions of the sections of state that this server writes and reads. */
export const STATE_VERSIONS = { sessions: [1], modules: [1], suspension: [1] } as const;

/** In whose name everything stands still. */
const HOLDER = "restart";

/** What asks for a restart. */
export interface RestartRequest {
  /** Free text for people. */
  readonly reason: string;
  /** Who asked, such as `SIGUSR2`. */
  readonly trigger: string;
  /** The program that is to take over. */
  readonly command: SuccessorCommand;
  /** Told at the beginning of each step. */
  readonly onStep?: (step: HandoverStep) => void;
}

/** The parts of a server that stand still, or are let go of. */
export interface PassingOnOptions {
  readonly handover: Handover;
  readonly lifecycle: Lifecycle<PhaseName>;
  readonly c2s: C2s;
  readonly s2s: S2s;
  readonly modules: ModuleLoader;
  readonly router: Router;
  /** Listening sockets that go to the successor beside those of c2s and s2s; whose they are lets go of them. */
  readonly passable: readonly PassableSocket[];
  readonly log: Logger;
}

/** What a successor is told of the suspension that it is to go on with. */
function passedSuspension({ cause, mode, reason, trigger, timeoutMs, onTimeout }: SuspendRequest): SuspendRequest {
  return { cause, mode, reason, trigger, timeoutMs, onTimeout };
}

/** Hands a server over. */
export class PassingOn {
  #options: PassingOnOptions;

  constructor(options: PassingOnOptions) {
    this.#options = options;
  }

  /**
   * Starts a successor and hands over. Never rejects. When it succeeds, the pipeline has begun with cause `restart`;
   * otherwise this server serves as before. A stop, a suspension or a resume that is asked for meanwhile calls the restart
   * off. A server that is suspended stays so in its successor.
   */
  async run({ reason, trigger, command, onStep }: RestartRequest): Promise<HandoverOutcome> {
    const { handover, lifecycle, c2s, s2s } = this.#options;
    const mayBegin = lifecycle.state === "running" || lifecycle.state === "suspended";
    if (!mayBegin && handover.passedTo === undefined) {
      return { ok: false, step: "refused", why: `the server is ${lifecycle.state}`, stderrTail: "" };
    }
    const calledOff = new AbortController();
    const forget = lifecycle.on("state", ({ state }) => calledOff.abort(new Error(`the server is ${state}`)));
    const outcome = await handover.run({
      command,
      listeners: [...c2s.passable, ...s2s.passable, ...this.#options.passable].flatMap(({ name, fd, handle }) =>
        fd === undefined ? [] : { name, fd, handle },
      ),
      // A successor that does not know what it is to be suspended would let everybody in.
      offers: Object.entries(STATE_VERSIONS)
        .filter(([name]) => name !== "suspension" || lifecycle.suspension !== undefined)
        .map(([name, versions]) => ({ name, versions, required: true })),
      freeze: () => this.#freeze(),
      thaw: () => this.#thaw(),
      signal: calledOff.signal,
      ...(onStep === undefined ? {} : { onStep }),
    });
    forget();
    if (outcome.ok) this.#letGo(outcome, reason, trigger);
    return outcome;
  }

  async #freeze(): Promise<readonly StateSection[]> {
    const { c2s, s2s, modules, lifecycle } = this.#options;
    const { suspension } = lifecycle;
    await Promise.all([c2s.hold(HOLDER), s2s.hold(HOLDER)]);
    const sessions = c2s.freeze();
    const states = await saveModules(modules.handovers(), sessions);
    return [
      { name: "sessions", items: Array.from(sessions, (session) => session.snapshot()) },
      { name: "modules", items: Object.entries(states).map(([name, state]) => ({ name, ...state })) },
      ...(suspension === undefined ? [] : [{ name: "suspension", items: [passedSuspension(suspension)] }]),
    ];
  }

  async #thaw(): Promise<void> {
    const { c2s, s2s, modules, log } = this.#options;
    await undoModules(modules.handovers(), log);
    c2s.thaw();
    c2s.release(HOLDER);
    s2s.release(HOLDER);
  }

  #letGo(outcome: HandoverOutcome & { readonly ok: true }, reason: string, trigger: string): void {
    const { c2s, s2s, router, lifecycle } = this.#options;
    const { relay } = outcome;
    router.passOn((stanza) => this.#relay(relay, stanza));
    lifecycle.attach("quit", { name: "relay to the successor", when: "after", run: () => relay.close() });
    c2s.passOn(reason);
    s2s.passOn();
    c2s.release(HOLDER);
    s2s.release(HOLDER);
    void lifecycle.stop({ cause: "restart", reason, trigger, noReturn: "a successor has taken over and serves" });
  }

  async #relay(relay: Relay, stanza: Stanza): Promise<void> {
    try {
      await relay.send(stanza.text);
    } catch (thrown) {
      const { log, router } = this.#options;
      log.error({ err: asError(thrown), stanza: describeStanza(stanza) }, "the successor did not take over a stanza");
      // Whoever it is for is not here, but there is storage.
      router.takeBack();
      await router.route(stanza);
    }
  }
}
