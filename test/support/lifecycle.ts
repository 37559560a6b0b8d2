// A lifecycle on a manual clock, and what the tests of its stops, delays, ways back and suspensions all ask of one.

import assert from "node:assert/strict";
import {
  type DrainReport,
  Lifecycle,
  type LifecycleOptions,
  type PhaseReport,
  silentLog,
  systemRandom,
} from "../../src/shutdown/index.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

export interface LifecycleScene<Phase extends string> {
  readonly clock: ManualClock;
  readonly lifecycle: Lifecycle<Phase>;
}

export interface LifecycleSceneOptions<Phase extends string>
  extends Pick<LifecycleOptions<Phase>, "plan">,
    Partial<Omit<LifecycleOptions<Phase>, "plan" | "clock">> {
  readonly clock?: ManualClock;
}

/** Returns a lifecycle that is starting, with 25 s for a stop and 2 s for one in haste unless told. */
export function startingLifecycle<Phase extends string>(options: LifecycleSceneOptions<Phase>): LifecycleScene<Phase> {
  const { clock = new ManualClock() } = options;
  const given = { random: systemRandom, log: silentLog, budgetMs: 25_000, hurryMs: 2_000, ...options };
  return { clock, lifecycle: new Lifecycle<Phase>({ ...given, clock }) };
}

/** Returns a lifecycle that runs, otherwise as `startingLifecycle` does. */
export function runningLifecycle<Phase extends string>(options: LifecycleSceneOptions<Phase>): LifecycleScene<Phase> {
  const scene = startingLifecycle(options);
  scene.lifecycle.started();
  return scene;
}

/** Moves time on by `ms`, in which the run must end, and returns its report; it must leave no timer behind. */
export async function finish(clock: ManualClock, run: Promise<DrainReport>, ms = 60_000): Promise<DrainReport> {
  await clock.advance(ms);
  assert.equal(clock.pendingTimers, 0, "the run left a timer behind");
  return await run;
}

/** Returns what a report says of a phase. */
export function phaseReport<Phase extends string>(report: DrainReport, name: Phase): PhaseReport {
  const found = report.phases.find((one) => one.name === name);
  assert.ok(found);
  return found;
}

/** The work of a participant that hangs. */
export const never = (): Promise<void> => new Promise(() => undefined);
