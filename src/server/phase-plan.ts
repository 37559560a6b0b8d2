// The pipeline's plan from the configuration: which share of the budget each phase may have.

import type { Config } from "../config/schema.ts";
import type { PhasePlan } from "../shutdown/types.ts";
import type { PhaseName } from "./phases.ts";

/** Returns the phases in their order with their shares, which are those of the configuration as it is when they are read. */
export function planOf(shutdown: Config["shutdown"]): PhasePlan<PhaseName>[] {
  const share = (name: PhaseName, limits: { floor: number; ceiling: number }): PhasePlan<PhaseName> => ({
    name,
    get floorMs() {
      return limits.floor;
    },
    get ceilingMs() {
      return limits.ceiling;
    },
  });
  return [
    // It has the delay of the request, beside the deadline.
    { name: "announce", floorMs: 0, ceilingMs: 0, optional: true, isDelay: true },
    share("stop-accepting", shutdown.stop_accepting),
    share("close-sessions", shutdown.close_sessions),
    share("server-stopping", shutdown.server_stopping),
    share("drain-s2s", shutdown.drain_s2s),
    share("quit", shutdown.quit),
  ];
}
