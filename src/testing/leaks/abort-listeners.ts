// Who listens to AbortSignals. Node keeps no list of signals, so while somebody watches, each `addEventListener("abort")` is
// noted on its way through. A signal that has aborted has no more to say and counts no more.

import { getEventListeners } from "node:events";
import { callersIn, type Leftover } from "./leftover.ts";

interface Noted {
  readonly signal: WeakRef<AbortSignal>;
  readonly place: Error;
}

/** Everybody who watches. The original method is in place while nobody does. */
const watches = new Set<AbortListeners>();
let original: AbortSignal["addEventListener"] | undefined;

/** The listeners that were added from `new` until `close`. */
export class AbortListeners {
  #noted: Noted[] = [];
  #concerns: (stack: string) => boolean;

  /** Notes only what is added by code whose stack `concerns` us. */
  constructor(concerns: (stack: string) => boolean = () => true) {
    this.#concerns = concerns;
    watches.add(this);
    if (original === undefined) watch();
  }

  /** Listeners to signals that are still in use, have not aborted and still have listeners. */
  leftovers(): Leftover[] {
    const seen = new Set<AbortSignal>();
    const left: Leftover[] = [];
    for (const { signal: weak, place } of this.#noted) {
      const signal = weak.deref();
      if (signal === undefined || signal.aborted || seen.has(signal) || !this.#concerns(place.stack ?? "")) continue;
      const count = getEventListeners(signal, "abort").length;
      if (count === 0) continue;
      seen.add(signal);
      left.push({ kind: "listener", what: `${count} on an AbortSignal`, madeAt: callersIn(place.stack) });
    }
    return left;
  }

  /** Watches no more. */
  close(): void {
    watches.delete(this);
    if (watches.size > 0 || original === undefined) return;
    EventTarget.prototype.addEventListener = original as EventTarget["addEventListener"];
    original = undefined;
  }

  note(signal: AbortSignal, place: Error): void {
    this.#noted.push({ signal: new WeakRef(signal), place });
    if (this.#noted.length < 10_000) return;
    this.#noted = this.#noted.filter(({ signal: weak }) => weak.deref()?.aborted === false);
  }
}

function watch(): void {
  const add = EventTarget.prototype.addEventListener;
  original = add as AbortSignal["addEventListener"];
  EventTarget.prototype.addEventListener = function noting(this: EventTarget, ...args: Parameters<typeof add>): void {
    if (args[0] === "abort" && this instanceof AbortSignal) {
      const place = new Error();
      for (const each of watches) each.note(this, place);
    }
    add.apply(this, args);
  } as typeof add;
}
