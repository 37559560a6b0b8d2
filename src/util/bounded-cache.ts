// A map with a limit, for results that are cheap to lose. It forgets roughly what was not asked for lately, at O(1) per
// call and without touching an entry at every hit. Not for: anything that must not be forgotten.

/** A cache of at most about `limit` entries. */
export class BoundedCache<Name, Value> {
  #half: number;
  #young = new Map<Name, Value>();
  #old = new Map<Name, Value>();

  constructor(limit: number) {
    this.#half = Math.max(1, Math.ceil(limit / 2));
  }

  /** How many entries there are; never more than the limit, rounded up to an even number. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Returns what is remembered under `name`. A value of undefined is the same as none. */
  get(name: Name): Value | undefined {
    const young = this.#young.get(name);
    if (young !== undefined) return young;
    const old = this.#old.get(name);
    if (old !== undefined) this.set(name, old);
    return old;
  }

  set(name: Name, value: Value): void {
    this.#old.delete(name);
    this.#young.set(name, value);
    if (this.#young.size < this.#half) return;
    // The younger half becomes the older one; what was in that and never asked for again is forgotten at once.
    this.#old = this.#young;
    this.#young = new Map();
  }

  delete(name: Name): void {
    this.#young.delete(name);
    this.#old.delete(name);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
