// Gives a target its corpus and then inputs made from it, and says which of them it did not stand. By count, for tests,
// or by time with coverage to guide it, for the longer run by hand.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SeededRandom } from "../../../src/testing/simulation/seeded-random.ts";
import { asError } from "../../../src/util/errors.ts";
import { Coverage, hasNewBlock } from "./coverage.ts";
import { HangWatch } from "./hang-watch.ts";
import { Mutator } from "./mutator.ts";
import type { Target } from "./target.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const HANG_MS = 20_000;
/** An input that takes longer is tried again, and a find when it does so each time. */
const SLOW_MS = 1_500;
const BATCH = 50;
/** Longer inputs are not written into the corpus. */
const MAX_KEPT = 2_048;

/** An input that a target did not stand. */
export interface Find {
  readonly input: Buffer;
  readonly error: Error;
}

/** How a run by time went. */
export interface LongRun {
  readonly runs: number;
  readonly blocks: number;
  readonly added: number;
  readonly finds: readonly Find[];
}

/** The inputs that are kept for a target, by file name. */
export function keptInputs(kind: "corpus" | "found", target: string): ReadonlyMap<string, Buffer> {
  const folder = join(ROOT, kind, target);
  if (!existsSync(folder)) return new Map();
  return new Map(
    readdirSync(folder)
      .toSorted()
      .map((name) => [name, readFileSync(join(folder, name))]),
  );
}

/** Writes `input` into the folder of a target and returns the file's name. */
export function keepInput(kind: "corpus" | "found", target: string, input: Buffer): string {
  const folder = join(ROOT, kind, target);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, createHash("sha1").update(input).digest("hex").slice(0, 12));
  writeFileSync(file, input);
  return file;
}

/** Tries one input. */
export async function tryInput(target: Target, input: Buffer): Promise<Error | undefined> {
  const seed = createHash("sha1").update(input).digest().readUInt32LE(0);
  try {
    await target.run(input, new SeededRandom(seed));
    return undefined;
  } catch (thrown) {
    return asError(thrown);
  }
}

/** Tries the corpus of `target`, and then `runs` inputs decided by `seed`; returns the first that it does not stand. */
export async function fuzzByCount(target: Target, runs: number, seed: number): Promise<Find | undefined> {
  const known = startOf(target);
  const random = new SeededRandom(seed).stream(target.name);
  const mutator = new Mutator(target.words, random);
  const watch = new HangWatch(join(ROOT, "found", target.name), HANG_MS);
  try {
    for (let run = 0; run < known.length + runs; run++) {
      const input = known[run] ?? mutator.next(known);
      watch.begin(input);
      const error = await tryInput(target, input);
      watch.end();
      if (error !== undefined) return { input, error };
    }
    return undefined;
  } finally {
    await watch.close();
  }
}

/** Tries inputs for `ms`, keeps those that reach something new in the corpus, and makes what it finds small. */
export async function fuzzByTime(target: Target, ms: number, seed: number): Promise<LongRun> {
  const known = startOf(target);
  const mutator = new Mutator(target.words, new SeededRandom(seed).stream(target.name));
  const watch = new HangWatch(join(ROOT, "found", target.name), HANG_MS);
  const coverage = new Coverage();
  const finds = new Map<string, Find>();
  const end = performance.now() + ms;
  let runs = 0;
  let added = 0;
  const attempt = async (input: Buffer): Promise<void> => {
    runs++;
    watch.begin(input);
    const before = performance.now();
    let error = await tryInput(target, input);
    if (performance.now() - before > SLOW_MS) error ??= await slowness(target, input);
    watch.end();
    if (error === undefined) return;
    const kind = `${error.message.slice(0, 60)}${error.stack?.split("\n")[1] ?? ""}`;
    if (!finds.has(kind)) finds.set(kind, { input: await smallest(target, input), error });
  };
  coverage.start();
  try {
    for (const input of known) await attempt(input);
    coverage.fresh(true);
    while (performance.now() < end && finds.size < 10) {
      const batch = Array.from({ length: BATCH }, () => mutator.next(known));
      for (const input of batch) await attempt(input);
      if (coverage.fresh(false).length === 0) continue;
      // One of them has reached something new: which?
      for (const input of batch) {
        await attempt(input);
        const fresh = coverage.fresh(true);
        if (fresh.length > 0) known.push(input);
        if (!hasNewBlock(fresh) || input.length > MAX_KEPT) continue;
        added++;
        keepInput("corpus", target.name, input);
      }
    }
  } finally {
    coverage.stop();
    await watch.close();
  }
  return { runs, blocks: coverage.blocks, added, finds: [...finds.values()] };
}

function startOf(target: Target): Buffer[] {
  return [...target.seeds.map((seed) => Buffer.from(seed)), ...keptInputs("corpus", target.name).values()];
}

async function slowness(target: Target, input: Buffer): Promise<Error | undefined> {
  let shortest = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 3; attempt++) {
    const before = performance.now();
    await tryInput(target, input);
    shortest = Math.min(shortest, performance.now() - before);
    if (shortest < SLOW_MS) return undefined;
  }
  return new Error(`${input.length} bytes take ${Math.round(shortest)} ms`);
}

/** Takes out of `input` what does not matter to its fate. */
async function smallest(target: Target, input: Buffer): Promise<Buffer> {
  let best = input;
  for (let length = Math.ceil(best.length / 2); length >= 1; length = Math.floor(length / 2)) {
    for (let at = 0; at < best.length; ) {
      const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + length)]);
      if ((await tryInput(target, shorter)) === undefined) at += length;
      else best = shorter;
    }
  }
  return best;
}
