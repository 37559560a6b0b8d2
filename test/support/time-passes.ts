// Waiting on a clock that is moved by hand.

import type { ManualClock } from "../../src/testing/manual-clock.ts";

/** More than any test needs, and few enough that one that waits in vain ends. */
const MAX_STEPS = 300_000;

/**
 * Waits for `work` while time goes on, `stepMs` at a time, on whatever the clock of the scene is at each step. Rejects when it
 * does not come to an end.
 */
export async function timePasses<T>(scene: { readonly clock: ManualClock }, work: Promise<T>, stepMs = 1): Promise<T> {
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  work.then(over, over);
  for (let steps = 0; !isOver; steps++) {
    if (steps > MAX_STEPS) throw new Error("it does not come to an end");
    await scene.clock.advance(stepMs);
  }
  return await work;
}
