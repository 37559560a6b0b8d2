// Crashes of real processes and what contacts on another server believe afterwards: nobody is left looking at a ghost, nobody
// who is there is said to be gone. The rules one by one are in test/modules/presence-ledger.test.ts.

import assert from "node:assert/strict";
import { join } from "node:path";
import { LmdbStore } from "../../../src/store/lmdb.ts";
import type { RawClient } from "../../../src/testing/raw-client.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { PORTS } from "../../support/addresses.ts";
import { sleep } from "../../support/child.ts";
import { restarted } from "../../support/control.ts";
import { Generations } from "../../support/generations.ts";

const ROSTER = [
  { jid: "from@peer.test", subscription: "from" },
  { jid: "both@peer.test", subscription: "both" },
  { jid: "to@peer.test", subscription: "to" },
];
const ROOM = "room@peer.test/romeo";

describe("who is gone after a crash", function () {
  this.timeout(120_000);
  let generations: Generations;
  let peer: ScriptedPeer;
  let clients: RawClient[];

  beforeEach(async () => {
    clients = [];
    peer = await ScriptedPeer.start({ domain: "peer.test", certificates: "self-signed" });
    generations = await Generations.start({
      accounts: [
        { jid: "romeo@a.test", roster: ROSTER },
        { jid: "juliet@a.test", roster: ROSTER },
      ],
      settings: {
        extra: `[s2s.routes]\n"peer.test" = "${peer.address}"\n[shutdown]\ndeadline = "8s"\n[module.presence]\nledger_grace = "1s"\n`,
      },
    });
    peer.routes.set("a.test", `${generations.address}:${PORTS.s2s}`);
  });

  afterEach(async () => {
    for (const client of clients) client.destroy();
    await generations.end();
    await peer.stop();
  });

  async function available(username: string): Promise<RawClient> {
    const client = generations.client({ username, resource: "x" });
    clients.push(client);
    await client.login();
    client.presence();
    return client;
  }

  /** Reads something of the store beside whoever has it open. */
  async function inStore<T>(read: (store: LmdbStore) => Promise<T>): Promise<T> {
    const store = await LmdbStore.open({ path: join(generations.folder, "data/store"), clock: systemClock });
    try {
      return await read(store);
    } finally {
      await store.close();
    }
  }

  const records = async (): Promise<number> =>
    await inStore(async (store) => (await store.range("module:presence", ["told"])).length);

  /** Waits until the ledger has so many records. */
  async function recorded(count: number): Promise<void> {
    const limit = performance.now() + 30_000;
    while ((await records()) !== count) {
      if (performance.now() > limit) throw new Error(`never ${count} records, but ${await records()}`);
      await sleep(50);
    }
  }

  async function kill(...pids: readonly number[]): Promise<void> {
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await generations.alone(...generations.pids.filter((pid) => !pids.includes(pid)));
  }

  /** How often each was told that `from` is gone. */
  function goodbyes(from: string): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { name, attrs } of peer.stanzas) {
      if (name !== "presence" || attrs.type !== "unavailable" || attrs.from !== from) continue;
      counts[attrs.to ?? ""] = (counts[attrs.to ?? ""] ?? 0) + 1;
    }
    return counts;
  }

  /** What is believed of each full JID there, by whom: the last word. */
  function believers(from: string): string[] {
    const last = new Map<string, string>();
    for (const { name, attrs } of peer.stanzas) {
      const { type = "available" } = attrs;
      const isState = type === "available" || type === "unavailable";
      if (name === "presence" && isState && attrs.from === from) last.set(attrs.to ?? "", type);
    }
    return [...last].filter(([, type]) => type === "available").map(([to]) => to);
  }

  const told = async (from: string, count: number): Promise<void> =>
    await peer.until(() => believers(from).length === count, `${count} see ${from}`);

  it("contacts, and a room, are told once; who is back is not said to be gone; and a stop leaves nothing to say", async () => {
    const romeo = await available("romeo");
    romeo.send(`<presence to='${ROOM}'/>`);
    await available("juliet");
    await told("romeo@a.test/x", 3);
    await told("juliet@a.test/x", 2);
    await recorded(3);
    await kill(...generations.pids);

    await generations.startAgain();
    await available("juliet");
    await peer.until(() => Object.keys(goodbyes("romeo@a.test/x")).length === 3, "the goodbyes");
    await recorded(1);
    assert.deepEqual(goodbyes("romeo@a.test/x"), { "from@peer.test": 1, "both@peer.test": 1, [ROOM]: 1 });
    assert.deepEqual(goodbyes("juliet@a.test/x"), {});

    for (const pid of generations.pids) process.kill(pid, "SIGTERM");
    await generations.alone();
    await recorded(0);
    assert.deepEqual(goodbyes("juliet@a.test/x"), { "from@peer.test": 1, "both@peer.test": 1 });
  });

  it("another crash before the goodbyes have arrived leaves them to the next start", async () => {
    await available("romeo");
    await told("romeo@a.test/x", 2);
    await recorded(1);
    await kill(...generations.pids);

    peer.when("header", "ignore");
    const before = peer.connections.length;
    await generations.startAgain();
    // They are on their way: the peer has been dialled for them.
    await peer.until(() => peer.connections.length > before, "an attempt to say goodbye");
    await kill(...generations.pids);
    assert.equal(await records(), 1);

    peer.when("header", "ordinary");
    await generations.startAgain();
    await told("romeo@a.test/x", 0);
    await recorded(0);
    assert.deepEqual(goodbyes("romeo@a.test/x"), { "from@peer.test": 1, "both@peer.test": 1 });
  });

  it("a damaged record is set aside, and the others are used", async () => {
    await available("romeo");
    await told("romeo@a.test/x", 2);
    await recorded(1);
    await kill(...generations.pids);
    await inStore(async (store) => {
      const [[key] = assert.fail("there is no record")] = await store.range("module:presence", ["told"]);
      await store.put("module:presence", [...key.slice(0, 2), 1_000], [5, "not an address"]);
    });
    await generations.startAgain();
    await told("romeo@a.test/x", 0);
    await recorded(0);
    assert.equal(await inStore(async (store) => (await store.range("module:presence", ["damaged"])).length), 1);
  });

  it("of the old process in the middle of a restart, the new one says its goodbyes", async () => {
    await available("romeo");
    await told("romeo@a.test/x", 2);
    await recorded(1);
    // Nothing that the old process says arrives any more, but it is not told so.
    peer.when("stanza", "ignore");
    peer.when("ack", "ignore");
    const { predecessor } = await restarted(generations.folder);
    await kill(predecessor);
    peer.when("stanza", "ordinary");
    peer.when("ack", "ordinary");
    await told("romeo@a.test/x", 0);
    await recorded(0);
  });
});
