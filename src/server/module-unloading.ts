// The end of all modules, in the phase `quit`: says whose handlers have not settled, and unloads what is loaded. Not for:
// unloading one while the server runs (module-loader.ts).

import type { PhaseContext } from "../shutdown/types.ts";
import type { Hooks } from "../util/hooks.ts";
import type { Logger } from "../util/log.ts";
import type { ModuleLoader } from "./module-loader.ts";

/**
 * Returns what unloads all modules: once, late callers get the same promise, and in half of the time that the phase has, so
 * that the store still has time to close.
 */
export function moduleUnloading({
  hooks,
  modules,
  log,
}: {
  readonly hooks: Hooks;
  readonly modules: ModuleLoader;
  readonly log: Logger;
}): (context: Pick<PhaseContext, "remaining">) => Promise<void> {
  let unloading: Promise<void> | undefined;
  return (context) => {
    const reserve = context.remaining() / 2;
    if (unloading === undefined) {
      for (const { hook, owner } of hooks.waitingFor()) {
        if (!modules.blame(owner, `had not settled at ${hook}`)) continue;
        log.warn({ hook, module: owner }, "a module's handler has not settled");
      }
      hooks.close();
      unloading = modules.unloadAll(() => Math.max(0, context.remaining() - reserve));
    }
    return unloading;
  };
}
