// What can be fuzzed: a parser with everything that must hold of it whatever it is given. Not for how inputs are made
// (mutator.ts) and how often they are tried (fuzzer.ts).

import type { SeededRandom } from "../../../src/testing/simulation/seeded-random.ts";

/** A parser under test. */
export interface Target {
  readonly name: string;
  /** Inputs to begin with, beside those in `corpus/NAME`. */
  readonly seeds: readonly (string | Buffer)[];
  /** Pieces of its language, which mutation puts into inputs. */
  readonly words: readonly (string | Buffer)[];
  /**
   * Gives `input` to the parser and throws when something does not hold. What else it decides at random, such as where the
   * input is cut, comes from `random`, which is made from the input: the same input always does the same.
   */
  run(input: Buffer, random: SeededRandom): void | Promise<void>;
  /** Undoes what the target has opened. */
  close?(): Promise<void>;
}

/** Cuts `input` into pieces of random length. */
export function cut(input: Buffer, random: SeededRandom): Buffer[] {
  const longest = random.pick([1, 3, 17, 200, 5_000]);
  const pieces: Buffer[] = [];
  for (let at = 0; at < input.length; ) {
    const end = Math.min(input.length, at + random.between(1, longest));
    pieces.push(input.subarray(at, end));
    at = end;
  }
  return pieces;
}
