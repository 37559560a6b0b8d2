// How this server takes over from a predecessor, before it serves: reads the state, makes it its own, and does nothing
// that anybody outside could notice until the service is its own. The other end is passing-on.ts.

import { z } from "zod";
import type { Inheritance } from "../handover/index.ts";
import type { SuspendRequest } from "../shutdown/suspend-types.ts";
import { parseStanza } from "../stanza/parse-stanza.ts";
import type { Stanza } from "../stanza/stanza.ts";
import type { Value } from "../store/store.ts";
import { MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { C2s } from "./c2s/c2s.ts";
import type { ClientSession } from "./c2s/client-session.ts";
import { loadModules, type ModuleState } from "./module-handover.ts";
import type { ModuleLoader } from "./module-loader.ts";
import { STATE_VERSIONS } from "./passing-on.ts";

const suspension = z.strictObject({
  cause: z.enum(["suspend", "evacuate"]),
  mode: z.string(),
  reason: z.string(),
  trigger: z.string(),
  timeoutMs: z.number().positive(),
  onTimeout: z.enum(["back", "stay"]),
});

const moduleState = z.strictObject({ name: z.string(), version: z.int(), value: z.custom<Value>() });

/** The parts of a server that take something over. */
export interface TakingOverOptions {
  readonly inheritance: Inheritance;
  readonly c2s: C2s;
  readonly modules: ModuleLoader;
  readonly log: Logger;
}

/** What was taken over. */
export interface TakenOver {
  readonly sessions: readonly ClientSession[];
  /** The suspension that the predecessor was in, if it was. */
  readonly suspended: SuspendRequest | undefined;
}

/**
 * Takes the predecessor's state over and waits for its consent to listen. Resolves with the sessions, for which no time runs
 * out until they are woken: as long as they are the predecessor's too, they must not end here. Resolves to undefined when the
 * predecessor is gone and there is nothing to take over. Rejects when anything about it is wrong; whoever called must then forget what was
 * taken over (`C2s.forgetAll`), and not serve.
 */
export async function takeOver({ inheritance, c2s, modules, log }: TakingOverOptions): Promise<TakenOver | undefined> {
  const state = await inheritance.receiveState({
    sessions: { versions: STATE_VERSIONS.sessions, required: true, read: (value) => value },
    modules: { versions: STATE_VERSIONS.modules, required: true, read: (value) => moduleState.parse(value) },
    suspension: { versions: STATE_VERSIONS.suspension, read: (value) => suspension.parse(value) },
  });
  if (!state.complete) {
    log.error(
      { predecessor: inheritance.predecessor },
      "the predecessor died before it had handed over: starting plainly",
    );
    return undefined;
  }
  const sessions: ClientSession[] = [];
  for (const item of state.sections.sessions?.items ?? []) {
    const session = c2s.restore(item);
    session.rest();
    sessions.push(session);
  }
  const states: Record<string, ModuleState> = {};
  for (const { name, version, value } of state.sections.modules?.items ?? []) states[name] = { version, value };
  await loadModules(modules.handovers(), states, log);
  const consent = await inheritance.prepared();
  log.info({ predecessor: inheritance.predecessor, sessions: c2s.hibernating, consent }, "took over");
  return { sessions, suspended: state.sections.suspension?.items[0] };
}

/** Takes over a stanza that reached the predecessor too late. */
export function takeRelayedStanza(
  value: unknown,
  route: (stanza: Stanza) => void | Promise<void>,
): void | Promise<void> {
  const stanza = typeof value === "string" ? parseStanza(value)?.stanza : undefined;
  if (stanza === undefined) throw new MorendoError("MORENDO_HANDOVER_REFUSED", "this is not a stanza");
  return route(stanza);
}
