// Which blocks of the project's code have run, as V8 counts them: an input that reaches a new one is worth keeping. Only
// for the long run by hand: it costs about as much as the inputs themselves.

import { type Profiler, Session } from "node:inspector";

const SOURCES = /\/(?:src|modules)\/(?!testing\/)/;

const OFTEN = " often ";

/** Tells whether one of `keys` is a block that had never run, and not only one that ran more often than before. */
export function hasNewBlock(keys: readonly string[]): boolean {
  return keys.some((key) => !key.includes(OFTEN));
}

/** Counts blocks while it is on. */
export class Coverage {
  #session = new Session();
  #seen = new Set<string>();

  start(): void {
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  stop(): void {
    this.#session.disconnect();
  }

  /** How many blocks have run so far. */
  get blocks(): number {
    return this.#seen.size;
  }

  /** Returns the blocks that ran since the last call and had never before; `keep` takes them as known. */
  fresh(keep: boolean): readonly string[] {
    const found: string[] = [];
    this.#session.post("Profiler.takePreciseCoverage", (error, taken) => {
      if (error !== null) throw error;
      for (const key of keysOf(taken.result)) if (!this.#seen.has(key)) found.push(key);
    });
    if (keep) for (const key of found) this.#seen.add(key);
    return found;
  }
}

function* keysOf(scripts: readonly Profiler.ScriptCoverage[]): Generator<string> {
  for (const { url, functions } of scripts) {
    if (!url.startsWith("file:") || !SOURCES.test(url)) continue;
    for (const { ranges } of functions) {
      for (const { startOffset, endOffset, count } of ranges) {
        if (count > 0) yield `${url}:${startOffset}:${endOffset}`;
        // How often matters too, roughly: a loop that goes round many times for the first time is something new.
        if (count >= 4)
          yield `${url}:${startOffset}:${endOffset}${OFTEN}${Math.min(3, Math.floor(Math.log2(count) / 2))}`;
      }
    }
  }
}
