// What every store does, run against each of them.

import { deepEqual, equal, rejects } from "node:assert/strict";
import fc from "fast-check";
import { LmdbStore } from "../../../src/store/lmdb.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import type { Key, Store, Value, Write } from "../../../src/store/store.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

interface Opened {
  readonly store: Store;
  end(): Promise<void>;
}

const STORES: Record<string, () => Promise<Opened>> = {
  "the store in memory": async () => {
    const store = new MemoryStore();
    return { store, end: () => store.close() };
  },
  "the store on LMDB": async () => {
    const folder = await temporaryFolder();
    const store = await LmdbStore.open({ path: folder.path, clock: systemClock });
    return {
      store,
      end: async () => {
        await store.close();
        await folder.remove();
      },
    };
  },
};

for (const [name, openStore] of Object.entries(STORES)) {
  describe(name, () => {
    let opened: Opened;
    let store: Store;
    beforeEach(async () => {
      opened = await openStore();
      store = opened.store;
    });
    afterEach(() => opened.end());

    const keys = async (prefix: Key, limit?: number, after?: Key): Promise<readonly Key[]> =>
      (await store.range("c", prefix, limit, after)).map(([key]) => key);

    it("returns what was put, and undefined where nothing is", async () => {
      const value = { text: "é\u0000\u{1F600}", list: [1, -2.5, null, true], nested: { a: {} }, empty: "" };
      await store.put("c", ["a", 1], value);
      deepEqual(await store.get("c", ["a", 1]), value);
      equal(await store.get("c", ["a"]), undefined);
      equal(await store.get("c", ["a", "1"]), undefined);
      equal(await store.get("d", ["a", 1]), undefined);
    });

    it("overwrites and deletes, and does not mind deleting what is not there", async () => {
      await store.put("c", ["a"], 1);
      await store.put("c", ["a"], 2);
      equal(await store.get("c", ["a"]), 2);
      await store.delete("c", ["a"]);
      await store.delete("c", ["a"]);
      equal(await store.get("c", ["a"]), undefined);
    });

    it("keeps a copy: changing the value afterwards changes nothing", async () => {
      const value = { list: [1] };
      const done = store.put("c", ["a"], value);
      value.list.push(2);
      await done;
      deepEqual(await store.get("c", ["a"]), { list: [1] });
    });

    it("keeps long texts", async () => {
      const text = '<message>é"\\</message>'.repeat(100_000);
      await store.put("c", ["a"], text);
      equal(await store.get("c", ["a"]), text);
    });

    it("drops members that are undefined", async () => {
      await store.put("c", ["a"], { a: undefined, b: 1 });
      deepEqual(await store.get("c", ["a"]), { b: 1 });
    });

    it("applies writes in the order of the calls, without waiting between them", async () => {
      await Promise.all([store.put("c", ["a"], 1), store.delete("c", ["a"]), store.put("c", ["a"], 3)]);
      equal(await store.get("c", ["a"]), 3);
    });

    it("does all writes of a batch, across collections, in order", async () => {
      await store.put("c", ["gone"], 1);
      await store.batch([
        { op: "put", collection: "c", key: ["a"], value: 1 },
        { op: "put", collection: "d", key: ["a"], value: 2 },
        { op: "delete", collection: "c", key: ["gone"] },
        { op: "put", collection: "c", key: ["a"], value: 3 },
      ]);
      equal(await store.get("c", ["a"]), 3);
      equal(await store.get("d", ["a"]), 2);
      equal(await store.get("c", ["gone"]), undefined);
      await store.batch([]);
    });

    it("does nothing of a batch when one write of it is impossible", async () => {
      const write = (key: Key, value: Value): Write => ({ op: "put", collection: "c", key, value });
      await rejects(store.batch([write(["a"], 1), write([Number.NaN], 1)]), { code: "MORENDO_STORE_KEY" });
      await rejects(store.batch([write(["a"], 1), write(["b"], undefined as unknown as Value)]), {
        code: "MORENDO_STORE_VALUE",
      });
      equal(await store.get("c", ["a"]), undefined);
    });

    it("refuses keys without a faithful form", async () => {
      await rejects(store.put("c", ["\uD800"], 1), { code: "MORENDO_STORE_KEY" });
      await rejects(store.put("c", Array(20).fill("x".repeat(250)), 1), { code: "MORENDO_STORE_KEY" });
    });

    it("takes keys as long as the longest address twice, and gives them back whole", async () => {
      const local = "é".repeat(511);
      const long: Key = ["example.org", local, `${local}@${"d".repeat(1023)}/${local}`, 7];
      await store.put("c", long, "one");
      await store.put("c", [...long.slice(0, 2), `${local}@${"d".repeat(1023)}/other`], "two");
      equal(await store.get("c", long), "one");
      deepEqual(await store.range("c", long.slice(0, 3)), [[long, "one"]]);
      equal((await store.range("c", long.slice(0, 2))).length, 2);
    });

    it("returns a range by whole parts, in order: numbers before texts", async () => {
      const all: readonly Key[] = [
        ["a"],
        ["a", Number.NEGATIVE_INFINITY],
        ["a", -2.5],
        ["a", -1],
        ["a", 0],
        ["a", 0.5],
        ["a", 2],
        ["a", 10],
        ["a", 2 ** 53],
        ["a", ""],
        ["a", "", 1],
        ["a", "\u0000"],
        ["a", "\u0000b"],
        ["a", "\u0001"],
        ["a", "A"],
        ["a", "a"],
        ["a", "a", "b"],
        ["a", "a\u0000"],
        ["a", "aa"],
        ["a", "\u{1F600}"],
        ["ab"],
        ["b"],
      ];
      await store.batch(all.toReversed().map((key) => ({ op: "put", collection: "c", key, value: 0 })));
      await store.put("ca", ["a"], 0);
      deepEqual(await keys([]), all);
      deepEqual(await keys(["a"]), all.slice(0, -2));
      deepEqual(await keys(["a", "a"]), [
        ["a", "a"],
        ["a", "a", "b"],
      ]);
      deepEqual(await keys(["a", ""]), [
        ["a", ""],
        ["a", "", 1],
      ]);
      deepEqual(await keys(["zz"]), []);
    });

    it("returns a range page by page", async () => {
      const all = Array.from({ length: 2_500 }, (_, number) => ["p", number]);
      await store.batch(all.map((key) => ({ op: "put", collection: "c", key, value: 0 })));
      await store.put("c", ["o"], 0);
      deepEqual(await keys(["p"]), all);
      deepEqual(await keys(["p"], 3), all.slice(0, 3));
      deepEqual(await keys(["p"], 0), []);
      deepEqual(await keys(["p"], 3, ["p", 2]), all.slice(3, 6));
      deepEqual(await keys(["p"], 3, ["p", 2.5]), all.slice(3, 6));
      deepEqual(await keys(["p"], 2, ["a"]), all.slice(0, 2), "a place before the range is its beginning");
      deepEqual(await keys(["p"], 2, ["q"]), []);
      deepEqual(await keys(["p"], undefined, ["p", 2_498]), all.slice(2_499));
    });

    it("appends in order, also after everything was deleted", async () => {
      const first = await Promise.all(
        Array.from({ length: 20 }, (_, number) => store.append("c", ["list", "x"], number)),
      );
      deepEqual(
        (await store.range("c", ["list", "x"])).map(([, value]) => value),
        Array.from({ length: 20 }, (_, number) => number),
      );
      deepEqual(first[3]?.slice(0, 2), ["list", "x"]);
      for (const key of first) await store.delete("c", key);
      const next = await store.append("c", ["list", "x"], "again");
      deepEqual(await store.range("c", ["list", "x"]), [[next, "again"]]);
      equal(Number(next.at(-1)) > Number(first.at(-1)?.at(-1)), true);
    });

    it("finishes what was begun when it is closed, and rejects what comes later with a code", async () => {
      const pending = store.put("c", ["a"], 1);
      const closed = store.close();
      equal(store.close(), closed);
      await pending;
      await closed;
      const code = { code: "MORENDO_STORE_CLOSED" };
      await rejects(store.get("c", ["a"]), code);
      await rejects(store.put("c", ["a"], 1), code);
      await rejects(store.delete("c", ["a"]), code);
      await rejects(store.batch([]), code);
      await rejects(store.range("c", []), code);
      await rejects(store.append("c", ["a"], 1), code);
      await store.flushed();
    });

    it("behaves like a sorted map", async () => {
      const part = fc.oneof(
        fc.integer({ min: -3, max: 3 }),
        fc.constantFrom("", "a", "b", "\u0000", "aa", "x".repeat(300)),
      );
      const key = fc.array(part, { maxLength: 3 });
      const step = fc.oneof(
        fc.record({ op: fc.constant("put" as const), key, value: fc.jsonValue({ maxDepth: 2 }) }),
        fc.record({ op: fc.constant("delete" as const), key }),
        fc.record({
          op: fc.constant("range" as const),
          key,
          limit: fc.integer({ min: 0, max: 6 }),
          after: fc.option(key),
        }),
      );
      let run = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
          const collection = `run ${run++}`;
          const model = new Map<string, readonly [Key, Value]>();
          for (const one of steps) {
            if (one.op === "put") {
              const value = JSON.parse(JSON.stringify(one.value)) as Value;
              model.set(JSON.stringify(one.key), [one.key, value]);
              await store.put(collection, one.key, value);
              deepEqual(await store.get(collection, one.key), value);
            } else if (one.op === "delete") {
              model.delete(JSON.stringify(one.key));
              await store.delete(collection, one.key);
            } else {
              const { after } = one;
              const expected = [...model.values()]
                .filter(([found]) => one.key.every((value, index) => Object.is(found[index], value)))
                .filter(([found]) => after === null || compareKeys(found, after) > 0)
                .sort(([one], [other]) => compareKeys(one, other))
                .slice(0, one.limit);
              deepEqual(await store.range(collection, one.key, one.limit, after ?? undefined), expected);
            }
          }
        }),
        { numRuns: 60 },
      );
    }).timeout(120_000);
  });
}

/** The order of keys, told in another way than the stores do it. */
function compareKeys(one: Key, other: Key): number {
  for (let index = 0; index < Math.max(one.length, other.length); index++) {
    const [left, right] = [one[index], other[index]];
    if (left === right) continue;
    if (left === undefined) return -1;
    if (right === undefined) return 1;
    if (typeof left !== typeof right) return typeof left === "number" ? -1 : 1;
    return left < right ? -1 : 1;
  }
  return 0;
}
