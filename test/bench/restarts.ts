// A restart under light load: how long until the last of N sessions is resumed, and how long a client was without service.
// The scenario is the one the interop tests play; only Morendo hands sessions over.

import { sleep } from "../support/child.ts";
import { ask, ended, restarted } from "../support/control.ts";
import { playRestarts } from "../support/restart-scenario.ts";

/** Each user writes to another one so often: some messages are on their way at any moment. */
const PACE_MS = 5_000;

/** Restarts once with `users` resumable sessions. */
export async function measureRestart(users: number): Promise<Record<string, number>> {
  let numbers: Record<string, number> = {};
  const result = await playRestarts({ users, paceMs: PACE_MS }, async ({ server, users: clients }) => {
    const { folder } = server.process;
    const startedAt = performance.now();
    let frozenAt = startedAt;
    const { frozenMs, predecessor, pid } = await restarted(folder, (step) => {
      if (step === "freeze") frozenAt = performance.now();
    });
    const isOver = (): boolean => clients.every(({ resumptions, failed }) => resumptions > 0 || failed.length > 0);
    for (const limit = performance.now() + 60_000; !isOver() && performance.now() < limit; ) await sleep(5);
    const last = Math.max(...clients.map(({ resumedAt }) => resumedAt));
    numbers = { resumedMs: last - startedAt, gapMs: last - frozenAt, frozenMs };
    await ended(predecessor);
    return async () => {
      await ask(folder, "stop");
      await ended(pid);
    };
  });
  const { missing, doubled, presence, refused, failed, resumptions } = result;
  const faults = [missing, doubled, presence, refused, failed].reduce((sum, { length }) => sum + length, 0);
  return { ...numbers, resumptions, withoutMs: result.longestGapMs, faults };
}
