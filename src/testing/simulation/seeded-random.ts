// Randomness that a number decides: the same seed gives the same values, and named streams do not disturb one another,
// so that one more choice in one place leaves all others as they were. Not for secrets.

import type { Random } from "../../util/random.ts";

/** A repeatable source of random values (xoshiro128**, seeded by splitmix32). */
export class SeededRandom implements Random {
  #state: Uint32Array;
  #seed: number;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.#state = new Uint32Array(4);
    let mixed = this.#seed;
    for (let index = 0; index < 4; index++) {
      mixed = (mixed + 0x9e3779b9) >>> 0;
      let word = mixed;
      word = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      this.#state[index] = word ^ (word >>> 15);
    }
  }

  /** Returns a source of its own for `name`, always the same for this seed. */
  stream(name: string): SeededRandom {
    let hash = 0x811c9dc5 ^ this.#seed;
    for (let index = 0; index < name.length; index++) hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
    return new SeededRandom(hash ^ (hash >>> 13));
  }

  below(limit: number): number {
    return limit <= 1 ? 0 : Math.floor(this.#fraction() * limit);
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.allocUnsafe(count);
    for (let index = 0; index < count; index++) bytes[index] = this.#next() >>> 24;
    return bytes;
  }

  id(): string {
    return this.bytes(18).toString("base64url");
  }

  /** Returns true with the given probability, from 0 to 1. */
  chance(probability: number): boolean {
    return this.#fraction() < probability;
  }

  /** Returns a whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** Returns one of `items`. */
  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0];
  }

  #fraction(): number {
    return this.#next() / 0x1_0000_0000;
  }

  #next(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.#state;
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const e = d ^ b;
    this.#state[0] = a ^ e;
    this.#state[1] = b ^ (c ^ a);
    this.#state[2] = c ^ a ^ (b << 9);
    this.#state[3] = rotate(e, 11);
    return result;
  }
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
