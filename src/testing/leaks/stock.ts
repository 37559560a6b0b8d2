// The leak check: what there is before, and what is there afterwards that was not. Handles, requests and timers that hold
// the event loop, listeners on the process and on AbortSignals, open files and sockets, worker threads, child processes.

import type { Worker } from "node:worker_threads";
import { activeHandles, DESCRIBED, describeHandle } from "../../shutdown/loop-holders.ts";
import { systemClock } from "../../util/clock.ts";
import { AbortListeners } from "./abort-listeners.ts";
import { describeLeftovers, type Leftover } from "./leftover.ts";
import { childProcesses, openFiles, openSockets } from "./open-files.ts";
import { Timers } from "./timers.ts";

export type { Leftover, LeftoverKind } from "./leftover.ts";

/** How long what is on its way out may take, in milliseconds: a socket closes a turn or two after it was told to. */
const GRACE_MS = 2_000;
const LOOK_AGAIN_MS = 10;

/** What there was at one moment. */
export class Stock {
  #handles = new Set(activeHandles());
  #resources = resourceCounts();
  #files = openFiles();
  #sockets = openSockets();
  #children = childProcesses();
  #listeners = processListeners();
  #signals = new AbortListeners();
  #timers = new Timers();
  #workers = new Set<Worker>();
  #onWorker = (worker: Worker): void => {
    this.#workers.add(worker);
    worker.once("exit", () => this.#workers.delete(worker));
  };

  constructor() {
    process.on("worker", this.#onWorker);
    this.#listeners = processListeners();
  }

  /** What is there now and was not then. */
  leftovers(): Leftover[] {
    const left: Leftover[] = [];
    for (const handle of activeHandles()) {
      if (!this.#handles.has(handle)) left.push({ kind: "handle", what: describeHandle(handle) });
    }
    for (const [type, count] of resourceCounts()) {
      const more = count - (this.#resources.get(type) ?? 0);
      if (more > 0) left.push({ kind: "request", what: `${more} x ${type}` });
    }
    for (const [event, listeners] of processListeners()) {
      const before = this.#listeners.get(event);
      for (const listener of listeners) {
        if (before?.has(listener)) continue;
        left.push({ kind: "listener", what: `on process "${event}": ${listener.name || "anonymous"}` });
      }
    }
    left.push(...this.#timers.leftovers());
    left.push(...this.#signals.leftovers());
    left.push(...newIn(this.#files, openFiles(), "file"));
    left.push(...newIn(this.#sockets, openSockets(), "socket"));
    left.push(...newIn(this.#children, childProcesses(), "child process"));
    for (const worker of this.#workers) left.push({ kind: "worker", what: `thread ${worker.threadId}` });
    return left;
  }

  /** Watches no more. `assertNothingLeft` does it, too. */
  close(): void {
    process.off("worker", this.#onWorker);
    this.#signals.close();
    this.#timers.close();
  }
}

/** Notes what there is, for `assertNothingLeft`. */
export function takeStock(): Stock {
  return new Stock();
}

/**
 * Rejects, naming each, when something is left that was not there `before`; waits up to `graceMs` of real time (2 s unless
 * told) for what is on its way out. `before` may be anything that can tell what is left.
 */
export async function assertNothingLeft(
  before: { leftovers(): readonly Leftover[]; close?(): void },
  { graceMs = GRACE_MS }: { readonly graceMs?: number } = {},
): Promise<void> {
  const limit = systemClock.now() + graceMs;
  try {
    let left = before.leftovers();
    while (left.length > 0 && systemClock.now() < limit) {
      await systemClock.sleep(LOOK_AGAIN_MS);
      left = before.leftovers();
    }
    if (left.length > 0) throw new LeakError(left);
  } finally {
    before.close?.();
  }
}

/** Something is left that should be gone. */
export class LeakError extends Error {
  readonly leftovers: readonly Leftover[];

  constructor(leftovers: readonly Leftover[]) {
    super(`left behind:\n${describeLeftovers(leftovers)}`);
    this.name = "LeakError";
    this.leftovers = leftovers;
  }
}

function newIn(before: Map<string, string>, now: Map<string, string>, kind: Leftover["kind"]): Leftover[] {
  return Array.from(now)
    .filter(([key]) => !before.has(key))
    .map(([, what]) => ({ kind, what }));
}

/** Counts what holds the event loop and is no handle and no timer; immediates are always on their way out. */
function resourceCounts(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo()) {
    if (!DESCRIBED.has(type) && type !== "Immediate" && type !== "Timeout")
      counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return counts;
}

type AnyListener = ReturnType<typeof process.rawListeners>[number];

function processListeners(): Map<string, Set<AnyListener>> {
  const events = new Map<string, Set<AnyListener>>();
  for (const event of process.eventNames()) events.set(String(event), new Set(process.rawListeners(event)));
  return events;
}
