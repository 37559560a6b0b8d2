// What modules hand over when another process takes this one's place, or when a later start goes on where this run ended:
// asks each of them, gives each its own back, and says by name which of them failed. How the values travel is the
// business of others.

import type { Value } from "../store/store.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Handover } from "./module-api.ts";
import type { Session } from "./session.ts";

/** A module's value and the version of its shape. */
export interface ModuleState {
  readonly version: number;
  readonly value: Value;
}

/** What modules handed over, by name. */
export type ModuleStates = Readonly<Record<string, ModuleState>>;

/** The modules that take part, by name, in the order in which they were loaded. */
export type Handovers = Iterable<readonly [name: string, handover: Handover]>;

/** Asks every module for what it hands over for `sessions`. Rejects with `MORENDO_HANDOVER_FAILED`, which names the module. */
export async function saveModules(handovers: Handovers, sessions: ReadonlySet<Session>): Promise<ModuleStates> {
  const states: Record<string, ModuleState> = {};
  for (const [name, { version, save }] of handovers) {
    try {
      states[name] = { version, value: await save(sessions) };
    } catch (thrown) {
      throw failed(name, "could not hand over what it holds", thrown);
    }
  }
  return states;
}

/**
 * Gives every module what it handed over in the other process. What a module that is not here handed over is left alone,
 * and logged. Rejects with `MORENDO_HANDOVER_FAILED`, which names the module.
 */
export async function loadModules(handovers: Handovers, states: ModuleStates, log: Logger): Promise<void> {
  const left = new Map(Object.entries(states));
  for (const [name, handover] of handovers) {
    const state = left.get(name);
    if (state === undefined) continue;
    left.delete(name);
    try {
      await handover.load(state.value, state.version);
    } catch (thrown) {
      throw failed(name, "could not take over what was handed to it", thrown);
    }
  }
  for (const module of left.keys())
    log.warn({ module }, `what module "${module}" handed over is not taken: it is not loaded`);
}

/** Tells every module that it goes on as if it had not been asked. What fails is logged by name. */
export async function undoModules(handovers: Handovers, log: Logger): Promise<void> {
  for (const [module, handover] of handovers) {
    try {
      await handover.undo?.();
    } catch (thrown) {
      log.error(
        { err: asError(thrown), module },
        `module "${module}" failed to go on after a handover that came to nothing`,
      );
    }
  }
}

function failed(name: string, what: string, thrown: unknown): MorendoError {
  const message = `module "${name}" ${what}: ${asError(thrown).message}`;
  return new MorendoError("MORENDO_HANDOVER_FAILED", message, { cause: thrown });
}
