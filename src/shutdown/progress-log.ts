// A reader of a lifecycle's events that writes them to the log: every phase, and progress when it has changed, at most
// once a second.

import type { Logger } from "../util/log.ts";
import { formatDuration } from "../util/units.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { PhaseProgress } from "./phase-progress.ts";

export interface ProgressLogOptions {
  /** The least time between two lines of progress (1000 ms unless told). */
  readonly everyMs?: number;
}

/** Logs the progress of a run; the returned function stops that. */
export function logProgress<Phase extends string>(
  lifecycle: Pick<Lifecycle<Phase>, "on">,
  log: Logger,
  options: ProgressLogOptions = {},
): () => void {
  const everyMs = options.everyMs ?? 1_000;
  let lastAt = 0;
  let lastText = "";
  const unsubscribe = [
    lifecycle.on("state", ({ state }) => log.info({ state }, `state: ${state}`)),
    lifecycle.on("phase", (event) => {
      const { phase, step, steps } = event;
      if (event.status === "started") {
        log.info({ phase, step, steps, budgetMs: Math.round(event.budgetMs) }, `phase ${phase} started`);
        return;
      }
      const { outcome, durationMs, leaseHolders } = event.report;
      const fields = { phase, step, steps, outcome, durationMs, ...(leaseHolders.length > 0 ? { leaseHolders } : {}) };
      const text = `phase ${phase} ${outcome} in ${formatDuration(durationMs)}`;
      if (outcome === "done") log.info(fields, text);
      else log.warn(fields, text);
    }),
    lifecycle.on("progress", (progress) => {
      const { phase, done, total, blockers, elapsedMs, remainingMs } = progress;
      const text = describeCount(progress);
      if (text === lastText || (lastText !== "" && elapsedMs - lastAt < everyMs)) return;
      lastText = text;
      lastAt = elapsedMs;
      log.info({ phase, done, total, blockers, remainingMs: Math.round(remainingMs) }, text);
    }),
  ];
  return () => {
    for (const off of unsubscribe) off();
  };
}

const SHOWN = 3;

/** Returns progress as a text such as `drain-s2s: 12/40, waiting for b.test, c.test`. */
export function describeCount(progress: Pick<PhaseProgress, "phase" | "done" | "total" | "blockers">): string {
  const { phase, done, total, blockers } = progress;
  if (blockers.length === 0) return `${phase}: ${done}/${total}`;
  const more = blockers.length > SHOWN ? ", ..." : "";
  return `${phase}: ${done}/${total}, waiting for ${blockers.slice(0, SHOWN).join(", ")}${more}`;
}
