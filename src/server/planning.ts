// The plan of a stop that would begin now: counts what there is to do (plan-numbers.ts) and plans it (plan.ts). Changes
// nothing and runs nothing.

import type { Config } from "../config/schema.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { DrainReport } from "../shutdown/report.ts";
import type { Clock } from "../util/clock.ts";
import type { Parts } from "./parts.ts";
import { planOf } from "./phase-plan.ts";
import type { PhaseName } from "./phases.ts";
import { planShutdown, type ShutdownPlan } from "./plan.ts";
import { countForPlan } from "./plan-numbers.ts";

/** What is looked at. */
export interface PlanningOptions {
  readonly config: Config["shutdown"];
  readonly clock: Clock;
  readonly lifecycle: Lifecycle<PhaseName>;
  readonly parts: Pick<Parts, "hosts" | "sessions" | "rosters" | "c2s" | "s2s">;
  /** The report of the last run, which the estimate goes by, if there is one. */
  readonly previous: DrainReport | undefined;
}

/** Returns the plan of a server that runs. It reads the rosters of users who are online. */
export async function planNow({ config, clock, lifecycle, parts, previous }: PlanningOptions): Promise<ShutdownPlan> {
  const { state } = lifecycle;
  const { hosts, sessions, rosters, c2s, s2s } = parts;
  const numbers = await countForPlan({
    hosts: new Set(hosts),
    sessions,
    rosters,
    notLoggedIn: c2s.strangers,
    resumable: c2s.resumable,
    isToldOf: (session) => config.resumable === "end" || !c2s.isResumable(session),
    links: s2s.links(),
    owed: s2s.status().queued,
    clock,
  });
  return planShutdown({
    state,
    plan: planOf(config),
    budgetMs: config.deadline,
    delayMs: config.delay,
    participants: (phase) => lifecycle.participants(phase),
    numbers,
    previous,
  });
}
