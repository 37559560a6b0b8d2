import assert from "node:assert/strict";
import type { RosterChanged } from "../../../src/server/catalogue.ts";
import { type RosterItem, StoredRosters } from "../../../src/server/rosters.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { jidOf } from "../../../src/testing/module-host.ts";
import { systemRandom } from "../../../src/util/random.ts";

const romeo = jidOf("romeo@a.test");

function item(jid: string, more: Partial<RosterItem> = {}): RosterItem {
  return { jid, groups: [], subscription: "none", ...more };
}

function rostersOn(store: MemoryStore, more: { cachedItems?: number; loggedChanges?: number } = {}) {
  const told: RosterChanged[] = [];
  const rosters = new StoredRosters({ store, random: systemRandom, changed: (change) => told.push(change), ...more });
  return { rosters, told };
}

describe("StoredRosters", () => {
  it("gives everybody the same roster, which follows every change", async () => {
    const { rosters } = rostersOn(new MemoryStore());
    const [one, other] = await Promise.all([rosters.load(romeo), rosters.load(romeo)]);
    assert.equal(one, other);
    await rosters.put(romeo, item("juliet@b.test"));
    assert.equal(one.items.get("juliet@b.test")?.subscription, "none");
    await rosters.remove(romeo, "juliet@b.test");
    assert.equal(one.items.size, 0);
  });

  it("has a change on disk before it says so or tells of it", async () => {
    const store = new MemoryStore();
    let onDiskWhenTold = 0;
    const rosters = new StoredRosters({
      store,
      random: systemRandom,
      changed: () => {
        onDiskWhenTold = flushes;
      },
    });
    let flushes = 0;
    store.hooks.beforeFlush = () => {
      flushes++;
    };
    const everything = item("j@b.test", {
      name: "J",
      groups: ["a", "b"],
      subscription: "from",
      ask: true,
      approved: true,
    });
    await rosters.put(romeo, everything);
    assert.ok(onDiskWhenTold > 0);
    const later = rostersOn(store.afterCrash());
    const roster = await later.rosters.load(romeo);
    assert.deepEqual([...roster.items.values()], [everything]);
    assert.equal(roster.version, (await rosters.load(romeo)).version);
  });

  it("rejects, tells nobody and keeps the roster when the store fails", async () => {
    const store = new MemoryStore();
    const { rosters, told } = rostersOn(store);
    const roster = await rosters.load(romeo);
    store.hooks.beforeWrite = () => {
      throw new Error("the disk is full");
    };
    await assert.rejects(rosters.put(romeo, item("j@b.test")), /disk is full/);
    assert.equal(roster.items.size, 0);
    assert.deepEqual(told, []);
    store.hooks.beforeWrite = undefined;
    await rosters.put(romeo, item("j@b.test"));
    assert.equal(told.length, 1);
  });

  it("changes one item after the other, and tells in that order", async () => {
    const { rosters, told } = rostersOn(new MemoryStore());
    const names = Array.from({ length: 20 }, (_, index) => String(index));
    await Promise.all(
      names.map((name) =>
        rosters.update(romeo, "j@b.test", (before) => item("j@b.test", { name: `${before?.name ?? ""}${name},` })),
      ),
    );
    const roster = await rosters.load(romeo);
    assert.equal(roster.items.get("j@b.test")?.name, `${names.join(",")},`);
    assert.deepEqual(
      told.map((change) => change.item.name?.length),
      told.map((change) => change.item.name?.length).toSorted((a, b) => (a ?? 0) - (b ?? 0)),
    );
    assert.equal(told.at(-1)?.version, roster.version);
  });

  it("lets changes of different accounts share a flush", async () => {
    const store = new MemoryStore();
    const { rosters } = rostersOn(store);
    let waiting = 0;
    let most = 0;
    store.hooks.beforeFlush = async () => {
      most = Math.max(most, waiting);
    };
    await Promise.all(
      Array.from({ length: 10 }, async (_, index) => {
        waiting++;
        await rosters.importItems(jidOf(`u${index}@a.test`), [item("j@b.test")]);
        waiting--;
      }),
    );
    assert.equal(most, 10);
  });

  it("calls onDisk before the change is told", async () => {
    const store = new MemoryStore();
    const order: string[] = [];
    const rosters = new StoredRosters({ store, random: systemRandom, changed: () => order.push("told") });
    await rosters.update(
      romeo,
      "j@b.test",
      () => item("j@b.test"),
      () => order.push("on disk"),
    );
    assert.deepEqual(order, ["on disk", "told"]);
  });

  describe("hidden items", () => {
    it("are stored but not told, and do not change the version", async () => {
      const { rosters, told } = rostersOn(new MemoryStore());
      await rosters.put(romeo, item("k@b.test"));
      const { version } = await rosters.load(romeo);
      await rosters.put(romeo, item("j@b.test", { hidden: true, pendingIn: "x" }));
      assert.equal((await rosters.load(romeo)).version, version);
      assert.equal(told.length, 1);
    });

    it("are told as removed when a contact becomes one", async () => {
      const { rosters, told } = rostersOn(new MemoryStore());
      await rosters.put(romeo, item("j@b.test"));
      await rosters.put(romeo, item("j@b.test", { hidden: true, pendingIn: "x" }));
      assert.equal(told.at(-1)?.item.subscription, "remove");
    });
  });

  describe("changesSince", () => {
    it("returns the last state of what changed, in the order of the last changes, each with its version", async () => {
      const { rosters } = rostersOn(new MemoryStore());
      await rosters.put(romeo, item("a@b.test"));
      const { version } = await rosters.load(romeo);
      await rosters.put(romeo, item("b@b.test"));
      await rosters.put(romeo, item("c@b.test"));
      await rosters.put(romeo, item("b@b.test", { name: "B" }));
      await rosters.remove(romeo, "a@b.test");
      const changes = (await rosters.changesSince(romeo, version)) ?? [];
      assert.deepEqual(
        changes.map(({ jid, name, subscription }) => [jid, name, subscription]),
        [
          ["c@b.test", undefined, "none"],
          ["b@b.test", "B", "none"],
          ["a@b.test", undefined, "remove"],
        ],
      );
      assert.equal(changes.at(-1)?.version, (await rosters.load(romeo)).version);
      // Whoever got only the first of them asks again from its version and misses nothing.
      assert.equal((await rosters.changesSince(romeo, changes[0]?.version ?? ""))?.length, 2);
    });

    it("returns nothing for the present version, also of a roster that was never written", async () => {
      const { rosters } = rostersOn(new MemoryStore());
      assert.deepEqual(await rosters.changesSince(romeo, (await rosters.load(romeo)).version), []);
      await rosters.put(romeo, item("a@b.test"));
      assert.deepEqual(await rosters.changesSince(romeo, (await rosters.load(romeo)).version), []);
    });

    it("does not know versions that are too old, of the future, of another roster or made up", async () => {
      const store = new MemoryStore();
      const { rosters } = rostersOn(store, { loggedChanges: 3 });
      await rosters.put(romeo, item("a@b.test"));
      const { version } = await rosters.load(romeo);
      for (let count = 0; count < 3; count++) await rosters.put(romeo, item("a@b.test", { name: String(count) }));
      assert.equal((await rosters.changesSince(romeo, version))?.length, 1);
      await rosters.put(romeo, item("a@b.test"));
      const [epoch] = version.split("-");
      for (const unknown of [version, `${epoch}-999`, `${epoch}-x`, "0", "", "other-2"]) {
        assert.equal(await rosters.changesSince(romeo, unknown), undefined, unknown);
      }
      assert.equal((await store.range("roster-log", ["romeo@a.test"])).length, 3);
    });

    it("does not take the roster of a new account of the same name for the old one", async () => {
      const { rosters } = rostersOn(new MemoryStore());
      await rosters.put(romeo, item("a@b.test"));
      const { version } = await rosters.load(romeo);
      await rosters.removeAll(romeo);
      assert.equal((await rosters.load(romeo)).items.size, 0);
      await rosters.put(romeo, item("c@b.test"));
      assert.equal(await rosters.changesSince(romeo, version), undefined);
    });
  });

  it("imports a roster of many items in one write", async () => {
    const store = new MemoryStore();
    let writes = 0;
    store.hooks.beforeWrite = () => {
      writes++;
    };
    const { rosters, told } = rostersOn(store, { loggedChanges: 10 });
    const items = Array.from({ length: 500 }, (_, index) => item(`u${index}@b.test`, { subscription: "both" }));
    await rosters.importItems(romeo, items);
    assert.equal(writes, 1);
    assert.equal(told.length, 500);
    assert.equal((await store.range("roster-log", ["romeo@a.test"])).length, 10);
    assert.equal((await rostersOn(store.afterCrash()).rosters.load(romeo)).items.size, 500);
  });

  it("keeps only so many rosters in memory, and the same object for those that are held", async () => {
    const store = new MemoryStore();
    const { rosters } = rostersOn(store, { cachedItems: 50 });
    const held = await rosters.load(romeo);
    for (let index = 0; index < 100; index++) {
      await rosters.put(jidOf(`u${index}@a.test`), item("j@b.test"));
    }
    assert.equal(await rosters.load(romeo), held);
    await rosters.put(romeo, item("j@b.test"));
    assert.equal(held.items.size, 1);
  });

  it("passes over what is not an item in the store", async () => {
    const store = new MemoryStore();
    await rostersOn(store).rosters.put(romeo, item("j@b.test"));
    await store.put("roster", ["romeo@a.test", "x@b.test"], "not an item");
    await store.put("roster", ["romeo@a.test", "y@b.test"], { subscription: "sideways" });
    const roster = await rostersOn(store).rosters.load(romeo);
    assert.deepEqual([...roster.items.keys()], ["j@b.test"]);
  });
});
