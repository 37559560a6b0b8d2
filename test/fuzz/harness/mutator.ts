// Makes new inputs out of known ones: bytes and runs of bytes are changed, repeated, moved and taken out, words of the
// target's language put in, and two inputs joined. Everything it does is decided by the seed.

import type { SeededRandom } from "../../../src/testing/simulation/seeded-random.ts";

/** No input is longer: what is quadratic shows at this length, and what is linear is quick. */
export const MAX_INPUT = 16_384;

const BYTES: readonly [number, ...number[]] = [
  0, 9, 10, 13, 32, 34, 38, 39, 47, 60, 61, 62, 91, 93, 123, 125, 127, 128, 192, 237, 240, 255,
];
const NUMBERS: readonly [string, ...string[]] = [
  "0",
  "-1",
  "1",
  "255",
  "256",
  "4294967295",
  "4294967296",
  "9007199254740992",
  "1e309",
  "-0",
  "0.5",
  "99999999999999999999",
];

type Change = (input: Buffer, random: SeededRandom) => Buffer;

/** Makes inputs for one target. */
export class Mutator {
  #words: readonly Buffer[];
  #random: SeededRandom;
  #changes: readonly [Change, ...Change[]];

  constructor(words: readonly (string | Buffer)[], random: SeededRandom) {
    this.#words = words.map((word) => Buffer.from(word));
    this.#random = random;
    this.#changes = [
      setByte,
      flipBit,
      removeRun,
      removeRun,
      copyRun,
      repeatRun,
      setNumber,
      this.#putWord,
      this.#putWord,
      this.#putWord,
    ];
  }

  /** Returns an input made of one or two of `known`. */
  next(known: readonly Buffer[]): Buffer {
    const random = this.#random;
    let input = this.#any(known);
    if (random.chance(0.2)) input = splice(input, this.#any(known), random);
    const count = random.chance(0.5) ? 1 : random.between(1, 8);
    for (let done = 0; done < count; done++) input = random.pick(this.#changes)(input, random);
    return input.subarray(0, MAX_INPUT);
  }

  #any(known: readonly Buffer[]): Buffer {
    return known[this.#random.below(known.length)] ?? Buffer.alloc(0);
  }

  #putWord: Change = (input, random) => {
    const word = this.#words[random.below(this.#words.length)];
    if (word === undefined) return input;
    const at = random.below(input.length + 1);
    const replaced = random.chance(0.5) ? 0 : random.below(Math.min(input.length - at, 2 * word.length) + 1);
    return Buffer.concat([input.subarray(0, at), word, input.subarray(at + replaced)]);
  };
}

function setByte(input: Buffer, random: SeededRandom): Buffer {
  const at = random.below(input.length + 1);
  const value = random.chance(0.5) ? random.pick(BYTES) : random.below(256);
  return Buffer.concat([input.subarray(0, at), Buffer.of(value), input.subarray(at + random.below(2))]);
}

function flipBit(input: Buffer, random: SeededRandom): Buffer {
  const copy = Buffer.from(input);
  const at = random.below(copy.length);
  const byte = copy[at];
  if (byte !== undefined) copy[at] = byte ^ (1 << random.below(8));
  return copy;
}

function removeRun(input: Buffer, random: SeededRandom): Buffer {
  const [from, to] = run(input, random);
  return Buffer.concat([input.subarray(0, from), input.subarray(to)]);
}

function copyRun(input: Buffer, random: SeededRandom): Buffer {
  const [from, to] = run(input, random);
  const at = random.below(input.length + 1);
  return Buffer.concat([input.subarray(0, at), input.subarray(from, to), input.subarray(at)]);
}

function repeatRun(input: Buffer, random: SeededRandom): Buffer {
  const [from, to] = run(input, random);
  if (from === to) return input;
  const times = random.pick([2, 3, 20, 500, 5_000]);
  const piece = input.subarray(from, to);
  const copies = Math.min(times, Math.ceil(MAX_INPUT / piece.length));
  return Buffer.concat([input.subarray(0, from), ...Array.from({ length: copies }, () => piece), input.subarray(to)]);
}

/** Puts another number where there is one. */
function setNumber(input: Buffer, random: SeededRandom): Buffer {
  const places = [...input.toString("latin1").matchAll(/\d+/g)];
  const place = places[random.below(places.length)];
  if (place === undefined) return input;
  const rest = input.subarray(place.index + place[0].length);
  return Buffer.concat([input.subarray(0, place.index), Buffer.from(random.pick(NUMBERS)), rest]);
}

function splice(one: Buffer, other: Buffer, random: SeededRandom): Buffer {
  return Buffer.concat([one.subarray(0, random.below(one.length + 1)), other.subarray(random.below(other.length + 1))]);
}

function run(input: Buffer, random: SeededRandom): readonly [number, number] {
  const from = random.below(input.length + 1);
  const length = random.below(Math.min(input.length - from, random.pick([2, 8, 40, 400])) + 1);
  return [from, from + length];
}
