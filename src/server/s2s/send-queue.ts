// What waits for a stream to one remote domain: first in, first out, bounded by count and by size. What comes back from
// a broken stream goes to the front, in its old order, and never meets the bound: it was accepted once already.

import type { Owed } from "./fates.ts";

/** A bounded queue of stanzas. */
export class SendQueue {
  #items: (Owed | undefined)[] = [];
  #head = 0;
  #size = 0;
  #maxCount: number;
  #maxSize: number;

  constructor(maxCount: number, maxSize: number) {
    this.#maxCount = maxCount;
    this.#maxSize = maxSize;
  }

  /** Other bounds from now on; what waits already stays. */
  setBounds(maxCount: number, maxSize: number): void {
    this.#maxCount = maxCount;
    this.#maxSize = maxSize;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  /** Tells whether one more of `size` fits into `factor` times the bounds, with `count` and `bytes` in use elsewhere. */
  fits(size: number, count: number, bytes: number, factor = 1): boolean {
    return this.length + count < this.#maxCount * factor && this.#size + bytes + size <= this.#maxSize * factor;
  }

  push(owed: Owed): void {
    this.#items.push(owed);
    this.#size += owed.size;
  }

  shift(): Owed | undefined {
    const owed = this.#items[this.#head];
    if (owed === undefined) return undefined;
    this.#items[this.#head++] = undefined;
    this.#size -= owed.size;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    }
    return owed;
  }

  /** Empties the queue and returns what was in it. */
  takeAll(): Owed[] {
    const all = this.#items.slice(this.#head) as Owed[];
    this.#items = [];
    this.#head = 0;
    this.#size = 0;
    return all;
  }

  /**
   * Puts what a broken stream had written back before what waits. Of several presences from one address to another
   * the latest alone is kept, at the latest's place, and stands in for the older ones.
   */
  putBack(written: readonly Owed[]): void {
    const all = [...written, ...this.takeAll()];
    const latest = new Map<string, Owed>();
    const kept = new Set<Owed>();
    for (const owed of all) {
      const key = presenceKey(owed);
      const older = key === undefined ? undefined : latest.get(key);
      if (older !== undefined) {
        kept.delete(older);
        appendStandIn(owed, older);
      }
      if (key !== undefined) latest.set(key, owed);
      kept.add(owed);
    }
    for (const owed of kept) this.push(owed);
  }
}

/** Presence of one state: available and unavailable replace one another, a subscription type only itself. */
function presenceKey({ stanza }: Owed): string | undefined {
  if (stanza.kind !== "presence" || stanza.type === "error") return undefined;
  const state = stanza.type === "available" || stanza.type === "unavailable" ? "" : stanza.type;
  return `${stanza.from.toString()}\n${stanza.to?.toString() ?? ""}\n${state}`;
}

function appendStandIn(owed: Owed, older: Owed): void {
  let last = owed;
  while (last.standsInFor !== undefined) last = last.standsInFor;
  last.standsInFor = older;
}
