// The pipeline's plan from the configuration: which share of the budget each phase may have.

import type { Config } from "../config/schema.ts";
import type { PhasePlan } from "../shutdown/types.ts";
import type { PhaseName } from "./phases.ts";

/** Returns the phases in their order with their shares. */
export function planOf(shutdown: Config["shutdown"]): PhasePlan<PhaseName>[] {
  const share = (name: PhaseName, { floor, ceiling }: { floor: number; ceiling: number }): PhasePlan<PhaseName> => ({
    name,
    floorMs: floor,
    ceilingMs: ceiling,
  });
  return [
    // Delayed and announced stops will ask for it; nobody does yet.
    { name: "announce", floorMs: 0, ceilingMs: 0, optional: true },
    share("stop-accepting", shutdown.stop_accepting),
    share("close-sessions", shutdown.close_sessions),
    share("server-stopping", shutdown.server_stopping),
    share("drain-s2s", shutdown.drain_s2s),
    share("quit", shutdown.quit),
  ];
}
