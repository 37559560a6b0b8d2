// The counting of XEP-0198: which of the things we sent the peer has taken responsibility for, and how many of the peer's
// we have. Only numbers and a first-in-first-out list; what is sent on the wire, and when, is the stream owner's matter.

/** The counters of XEP-0198 wrap here (§4): 2^32. */
const WRAP = 0x1_0000_0000;

/** Things sent and not yet proved, oldest first, each with its number. Adding and proving are O(1) each. */
export class AckWindow<T> {
  #items: (T | undefined)[] = [];
  #head = 0;
  #proved: number;

  /** A window whose first `proved` things have been sent and proved before. */
  constructor(proved = 0) {
    this.#proved = proved;
  }

  /** How many have been sent since the beginning; not wrapped. */
  get sent(): number {
    return this.#proved + this.pending;
  }

  /** How many of those are proved; not wrapped. */
  get proved(): number {
    return this.#proved;
  }

  /** How many wait for proof. */
  get pending(): number {
    return this.#items.length - this.#head;
  }

  /** What waits for proof, oldest first. */
  *items(): Generator<T> {
    for (let at = this.#head; at < this.#items.length; at++) yield this.#items[at] as T;
  }

  /** Notes that `item` has been sent. */
  add(item: T): void {
    this.#items.push(item);
  }

  /**
   * Takes a peer's `h` (XEP-0198 §4) and hands each item it newly covers to `take`, in order. Returns false, and takes
   * nothing, when `h` counts more than was sent, or less than it did before.
   */
  acknowledge(h: number, take: (item: T) => void): boolean {
    if (!this.covers(h)) return false;
    this.proveUpTo(this.#proved + this.#fresh(h), take);
    return true;
  }

  /** Tells whether `acknowledge` would take `h`. */
  covers(h: number): boolean {
    return this.#fresh(h) <= this.pending;
  }

  /** How many more than before `h` counts. */
  #fresh(h: number): number {
    return (((h - this.#proved) % WRAP) + WRAP) % WRAP;
  }

  /** Hands every item up to number `count` (as `sent` counts) to `take`, in order. */
  proveUpTo(count: number, take: (item: T) => void): void {
    while (this.#proved < count && this.pending > 0) {
      const item = this.#items[this.#head] as T;
      this.#items[this.#head++] = undefined;
      this.#proved++;
      take(item);
    }
    this.#compact();
  }

  /** Empties the window and returns what was in it, oldest first: the peer has not proved these. */
  takeAll(): T[] {
    const left = this.#items.slice(this.#head) as T[];
    this.#items = [];
    this.#head = 0;
    this.#proved += left.length;
    return left;
  }

  #compact(): void {
    if (this.#head < this.#items.length && this.#head < 1024) return;
    this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }
}

/** How many stanzas of the peer we have taken responsibility for: what we send as `h`. */
export class HandledCounter {
  #handled: number;

  /** A counter that goes on from `h`. */
  constructor(h = 0) {
    this.#handled = h;
  }

  /** The value of `h` now. */
  get h(): number {
    return this.#handled;
  }

  /** Counts one more; call it only once the stanza is delivered, stored or answered. */
  count(): void {
    this.#handled = (this.#handled + 1) % WRAP;
  }
}

/** Reads the `h` of an `<a/>`; undefined when it is not a number of XEP-0198. */
export function parseH(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const h = Number(text);
  return h < WRAP ? h : undefined;
}
