// Waiting for many at once, and saying for whom.

import type { Progress } from "../shutdown/types.ts";

/** Somebody who is waited for. `done` never rejects. */
export interface Waiting {
  readonly name: string;
  readonly done: Promise<unknown>;
}

const MAX_NAMED = 5;

/** Resolves when all are done; `tell` hears how far they are, at the beginning and after each. */
export async function allOf(waiting: readonly Waiting[], tell?: (progress: Progress) => void): Promise<void> {
  const left = new Set(waiting);
  const report = (): void => {
    const blockers: string[] = [];
    for (const { name } of left) if (blockers.push(name) >= MAX_NAMED) break;
    tell?.({ done: waiting.length - left.size, total: waiting.length, blockers });
  };
  report();
  await Promise.all(
    waiting.map(async (one) => {
      await one.done;
      left.delete(one);
      report();
    }),
  );
}
