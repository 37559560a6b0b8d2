// A module as somebody else may have written it: it takes its time in the phases of a shutdown, or never settles, or throws.

import { defineModule, type ModuleDefinition } from "../../module.ts";
import type { Guest } from "./scenario.ts";

/** Returns the module of a scenario. */
export function guestModule({ stoppingMs, closingMs, throws }: Guest): ModuleDefinition {
  return defineModule({
    name: "guest",
    load(api) {
      const take = (ms: number | undefined): Promise<void> =>
        ms === undefined ? new Promise<void>(() => undefined) : api.clock.sleep(ms);
      api.on("server-stopping", (event) => {
        if (stoppingMs !== 0) event.waitUntil(take(stoppingMs));
        if (throws) event.waitUntil(Promise.reject(new Error("the guest module fails on purpose")));
      });
      if (closingMs === 0) return;
      api.phase("close-sessions", { when: "before" }, () => take(closingMs));
    },
  });
}
