// How long the event loop was held up during a run of the pipeline, for the report: a sweep that blocks delays every
// answer to a peer. It reads the machine's clock, because no other can tell. Not for: naming who blocked (watchdog.ts).

import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Lifecycle } from "./lifecycle.ts";

/** What the section `eventLoop` of the report says, in milliseconds. */
export interface LoopDelay {
  readonly longestMs: number;
  readonly p99Ms: number;
}

const RESOLUTION_MS = 5;

/** Measures the event loop's delay during the run and adds the section `eventLoop` to its report. */
export function measureLoopDelay<Phase extends string>(lifecycle: Lifecycle<Phase>): void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  lifecycle.on("state", ({ state }) => {
    if (state === "stopping") {
      delay.reset();
      delay.enable();
    } else delay.disable();
  });
  // The histogram holds the time between two looks, which is the resolution when nothing was in the way.
  const beyond = (nanoseconds: number): number => Math.max(0, Math.round(nanoseconds / 1e6) - RESOLUTION_MS);
  lifecycle.section("eventLoop", (): LoopDelay => {
    return delay.count === 0
      ? { longestMs: 0, p99Ms: 0 }
      : { longestMs: beyond(delay.max), p99Ms: beyond(delay.percentile(99)) };
  });
}
