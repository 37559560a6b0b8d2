// One simulated run from a number: the same number gives the same run, to the byte.

import { createHash } from "node:crypto";
import { asError } from "../../util/errors.ts";
import { judge, type Violation } from "./judge.ts";
import { scenarioOf } from "./scenario.ts";
import { World } from "./world.ts";

export type { Rule, Violation } from "./judge.ts";

/** How a run is played. */
export interface SimulationOptions {
  /** Keeps the history; costs time. */
  readonly history?: boolean;
}

/** What came of a run. */
export interface SimulationResult {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** Who did or saw what and when, in order; empty unless it was asked for. */
  readonly history: readonly string[];
  /** Tells two histories apart; empty without a history. */
  readonly fingerprint: string;
  /** How many events there were. */
  readonly events: number;
  /** Milliseconds that passed in the simulation. */
  readonly virtualMs: number;
}

/** Plays the run of `seed` and judges it. Never rejects for what the server does: that is a violation. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationResult> {
  const world = new World(scenarioOf(seed), options.history === true);
  let violations: readonly Violation[];
  try {
    await world.play();
    violations = judge(world);
  } catch (thrown) {
    const error = asError(thrown);
    violations = [{ rule: "error", what: error.stack ?? error.message }];
  }
  const history = world.journal.lines();
  const fingerprint = history.length === 0 ? "" : createHash("sha256").update(history.join("\n")).digest("hex");
  return { seed, violations, history, fingerprint, events: world.clock.fired, virtualMs: world.clock.now };
}
