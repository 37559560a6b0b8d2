// Which timers were set and still wait, and who set them. Node keeps no list of timers, so while somebody watches, the global
// `setTimeout` and `setInterval` are noted on their way through. Test runners that took theirs before are not seen.

import { callersIn, type Leftover } from "./leftover.ts";

interface Noted {
  readonly name: string;
  readonly ms: number;
  readonly place: Error;
}

type SetTimer = (run: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => NodeJS.Timeout;

/** Everybody who watches. The original functions are in place while nobody does. */
const watches = new Set<Timers>();
let restore: (() => void) | undefined;

/** The timers that were set from `new` until `close`. */
export class Timers {
  #noted = new Map<NodeJS.Timeout, Noted>();
  #sweepAt = 1_000;

  constructor() {
    watches.add(this);
    restore ??= watch();
  }

  /** The timers that still wait. */
  leftovers(): Leftover[] {
    this.#sweep();
    return Array.from(this.#noted.values(), ({ name, ms, place }) => {
      return { kind: "timer", what: `${name} of ${ms} ms`, madeAt: callersIn(place.stack) };
    });
  }

  /** Watches no more. */
  close(): void {
    watches.delete(this);
    if (watches.size > 0) return;
    restore?.();
    restore = undefined;
  }

  note(timer: NodeJS.Timeout, noted: Noted): void {
    this.#noted.set(timer, noted);
    if (this.#noted.size < this.#sweepAt) return;
    this.#sweep();
    this.#sweepAt = 1_000 + 2 * this.#noted.size;
  }

  /** Forgets what has fired or was cancelled. Only Node's own, undocumented flag says so. */
  #sweep(): void {
    for (const timer of this.#noted.keys()) {
      if (Reflect.get(timer, "_destroyed") === true) this.#noted.delete(timer);
    }
  }
}

function watch(): () => void {
  const { setTimeout, setInterval } = globalThis;
  globalThis.setTimeout = noting(setTimeout, "setTimeout");
  globalThis.setInterval = noting(setInterval, "setInterval");
  return () => {
    globalThis.setTimeout = setTimeout;
    globalThis.setInterval = setInterval;
  };
}

function noting<Original extends typeof setTimeout | typeof setInterval>(original: Original, name: string): Original {
  const set = original as unknown as SetTimer;
  const wrapped: SetTimer = (run, ms, ...args) => {
    const timer = set(run, ms, ...args);
    const place = new Error();
    for (const each of watches) each.note(timer, { name, ms: ms ?? 1, place });
    return timer;
  };
  // What `promisify` finds on it, too.
  return Object.assign(wrapped, original) as unknown as Original;
}
