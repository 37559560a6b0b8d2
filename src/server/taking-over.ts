// How this server takes over from a predecessor: reads the state, makes it its own, and does nothing that anybody outside
// could notice until the service is its own; or gives it back. The other end is passing-on.ts; at which points of a start
// this happens is in server.ts.

import { z } from "zod";
import type { Inheritance } from "../handover/index.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { SuspendRequest } from "../shutdown/suspend-types.ts";
import type { StopRequest } from "../shutdown/types.ts";
import { parseStanza } from "../stanza/parse-stanza.ts";
import type { Stanza } from "../stanza/stanza.ts";
import type { Value } from "../store/store.ts";
import { MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { ClientSession } from "./c2s/client-session.ts";
import { loadModules, type ModuleState } from "./module-handover.ts";
import type { Parts } from "./parts.ts";
import { STATE_VERSIONS } from "./passing-on.ts";
import type { PhaseName } from "./phases.ts";

const suspension = z.strictObject({
  cause: z.enum(["suspend", "evacuate"]),
  mode: z.string(),
  reason: z.string(),
  trigger: z.string(),
  timeoutMs: z.number().positive(),
  onTimeout: z.enum(["back", "stay"]),
});

const moduleState = z.strictObject({ name: z.string(), version: z.int(), value: z.custom<Value>() });

/** In whose name nobody is let in yet: the predecessor serves. */
const HOLDER = "predecessor";

/** What a successor needs from its beginning. */
export interface TakingOverOptions {
  readonly inheritance: Inheritance;
  readonly lifecycle: Lifecycle<PhaseName>;
  readonly log: Logger;
}

/** What was taken over, beside the sessions. */
export interface TakenOver {
  /** The suspension that the predecessor was in, if it was. */
  readonly suspended: SuspendRequest | undefined;
}

/** Takes a server over. The methods are called in the order in which they stand here. */
export class TakingOver {
  #options: TakingOverOptions;
  /** As long as they are the predecessor's too, no time runs out for them: they must not end here. */
  #sessions: ClientSession[] = [];
  #isDone = false;

  constructor(options: TakingOverOptions) {
    this.#options = options;
  }

  /** Whether the service is ours. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /**
   * Takes the predecessor's state over and waits for its consent to listen. Resolves to undefined when the predecessor is
   * gone and there is nothing to take over. Rejects when anything about it is wrong; whoever called must then `giveBack`, and
   * not serve.
   */
  async take({ c2s, modules }: Pick<Parts, "c2s" | "modules">): Promise<TakenOver | undefined> {
    const { inheritance, log } = this.#options;
    const { predecessor } = inheritance;
    const state = await inheritance.receiveState({
      sessions: { versions: STATE_VERSIONS.sessions, required: true, read: (value) => value },
      modules: { versions: STATE_VERSIONS.modules, required: true, read: (value) => moduleState.parse(value) },
      suspension: { versions: STATE_VERSIONS.suspension, read: (value) => suspension.parse(value) },
    });
    if (!state.complete) {
      log.error({ predecessor }, "the predecessor died before it had handed over: starting plainly");
      return undefined;
    }
    for (const item of state.sections.sessions?.items ?? []) {
      const session = c2s.restore(item);
      session.rest();
      this.#sessions.push(session);
    }
    const states: Record<string, ModuleState> = {};
    for (const { name, version, value } of state.sections.modules?.items ?? []) states[name] = { version, value };
    await loadModules(modules.handovers(), states, log);
    const consent = await inheritance.prepared();
    log.info({ predecessor, sessions: c2s.hibernating, consent }, "took over");
    return { suspended: state.sections.suspension?.items[0] };
  }

  /** Lets nobody in by this door until `serve`. */
  keepClosed(door: Pick<Parts["c2s"] | Parts["s2s"], "pauseListening">): void {
    door.pauseListening(HOLDER);
  }

  /** Everything is ready: waits until the predecessor has passed the service on, and then lets everybody in. */
  async serve({ c2s, s2s, router }: Pick<Parts, "c2s" | "s2s" | "router">): Promise<void> {
    const { inheritance, lifecycle } = this.#options;
    this.keepClosed(c2s);
    await inheritance.serving((value) => takeRelayedStanza(value, (stanza) => router.route(stanza)));
    this.#isDone = true;
    for (const session of this.#sessions.splice(0)) session.wake();
    c2s.keepBounds();
    s2s.resumeListening(HOLDER);
    c2s.resumeListening(HOLDER);
    // At the next restart what it still passes on goes through us to our own successor.
    lifecycle.attach("drain-s2s", {
      name: "predecessor",
      run: ({ cause }) => (cause === "restart" ? this.predecessorGone() : undefined),
    });
  }

  /** Resolves when nothing is in the hands of the predecessor any more. Never rejects. */
  predecessorGone(): Promise<void> {
    return this.#options.inheritance.predecessorGone();
  }

  /** Instead of `serve`: what was taken over is the predecessor's again, which is told why; by default, that we are to stop. */
  async giveBack(c2s: Parts["c2s"] | undefined, why?: unknown): Promise<void> {
    const { inheritance, lifecycle } = this.#options;
    c2s?.forgetAll();
    await inheritance.failed(why ?? toldToStop(lifecycle.request));
  }
}

/** By a signal, or by an error that nobody caught. */
function toldToStop(request: StopRequest | undefined): Error {
  if (request?.error !== undefined) return request.error;
  const why = request === undefined ? "" : `: ${request.reason}`;
  return new MorendoError("MORENDO_STOPPING", `the successor was told to stop${why}`);
}

/** Takes over a stanza that reached the predecessor too late. */
function takeRelayedStanza(value: unknown, route: (stanza: Stanza) => void | Promise<void>): void | Promise<void> {
  const stanza = typeof value === "string" ? parseStanza(value)?.stanza : undefined;
  if (stanza === undefined) throw new MorendoError("MORENDO_HANDOVER_REFUSED", "this is not a stanza");
  return route(stanza);
}
