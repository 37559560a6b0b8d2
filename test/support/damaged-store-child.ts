// Opens stores that it has damaged itself, one for each seed from FIRST to LAST, and says on its standard output what came of
// each: damaged-store-child.ts SOUND FOLDER FIRST LAST. A process of its own, because what it looks for is its sudden death.

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LmdbStore } from "../../src/store/lmdb.ts";
import { SeededRandom } from "../../src/testing/simulation/seeded-random.ts";
import { systemClock } from "../../src/util/clock.ts";
import { codeOf } from "../../src/util/errors.ts";
import { silentLog } from "../../src/util/log.ts";

const PAGE = 4096;
const [sound = "", folder = "", first = "0", last = "0"] = process.argv.slice(2);

/** The damage of a seed: what a disk, or the loss of power in the middle of a write, may leave. */
function damaged(bytes: Buffer, random: SeededRandom): Buffer {
  const copy = Buffer.from(bytes);
  const page = (): number => random.below(copy.length / PAGE) * PAGE;
  switch (random.below(6)) {
    case 0:
      return copy.subarray(0, random.below(copy.length));
    case 1: {
      for (let count = random.between(1, 4); count > 0; count--) {
        const at = random.below(copy.length);
        copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
      }
      return copy;
    }
    case 2: {
      // In a header or the places of nodes, where it does the most harm.
      const at = page() + random.below(64);
      copy[at] = random.below(256);
      return copy;
    }
    case 3:
      copy.fill(0, page(), copy.length).fill(random.pick([0, 255]), page(), page() + PAGE);
      return copy;
    case 4:
      copy.copy(copy, page(), page(), copy.length);
      return copy;
    default: {
      // Half of a page was written.
      const at = page();
      copy.fill(random.pick([0, 255]), at + PAGE / 2, at + PAGE);
      return copy;
    }
  }
}

const bytes = readFileSync(join(sound, "data.mdb"));
for (let seed = Number(first); seed <= Number(last); seed++) {
  const path = join(folder, String(seed));
  mkdirSync(path);
  copyFileSync(join(sound, "data.mdb"), join(path, "data.mdb"));
  writeFileSync(join(path, "data.mdb"), damaged(bytes, new SeededRandom(seed)));
  process.stdout.write(`begin ${seed}\n`);
  process.stdout.write(`end ${seed} ${await outcome(path)}\n`);
  rmSync(path, { recursive: true });
}

async function outcome(path: string): Promise<string> {
  let aside = 0;
  const log = { ...silentLog, error: () => void aside++ };
  let store: LmdbStore;
  try {
    store = await LmdbStore.open({ path, clock: systemClock, log });
  } catch (thrown) {
    return `refused ${codeOf(thrown) ?? String(thrown)}`;
  }
  try {
    let read = 0;
    for (const collection of ["short", "long", "many"]) {
      for (const [key, value] of await store.range(collection, [])) {
        read++;
        if (JSON.stringify(value) !== expected(collection, key)) return `wrong ${collection} ${JSON.stringify(key)}`;
      }
    }
    const numbers = Array.from({ length: 300 }, (_, number) => number);
    await store.batch(
      numbers.map((number) => ({ op: "put", collection: "new", key: [number], value: "x".repeat(number * 20) })),
    );
    await store.batch(numbers.map((number) => ({ op: "delete", collection: "short", key: [number] })));
    await store.flushed();
    return `used ${read} aside ${aside}`;
  } catch (thrown) {
    return `failed ${codeOf(thrown) ?? String(thrown)}`;
  } finally {
    await store.close();
  }
}

/** What is in the sound store, as the test wrote it. */
function expected(collection: string, [key = 0]: readonly (string | number)[]): string {
  const number = Number(key);
  if (collection === "long") return JSON.stringify("long".repeat(1_000 + number * 100));
  return JSON.stringify({ collection, number });
}
