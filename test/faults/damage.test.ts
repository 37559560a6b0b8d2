// A disk that gives back something else than it was given: pages cut off, emptied, exchanged, half written, single bits turned.
// The store is refused by name, or used without the records that are damaged; nothing is made up, and no process dies of it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LmdbStore } from "../../src/store/lmdb.ts";
import { systemClock } from "../../src/util/clock.ts";
import { Generations } from "../support/generations.ts";
import { NODE, runnable } from "../support/program.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

const CHILD = runnable(new URL("../support/damaged-store-child.ts", import.meta.url));
const SEEDS = Number(process.env.DAMAGE_SEEDS ?? 60);
const FIRST = Number(process.env.DAMAGE_FIRST ?? 1);

describe("A damaged store", function () {
  this.timeout(60_000 + SEEDS * 1_000);
  let folder: TemporaryFolder;

  before(async () => {
    folder = await temporaryFolder();
  });

  after(() => folder.remove());

  it("is refused, or used without what is damaged, and no process dies of it", async () => {
    const sound = join(folder.path, "sound");
    const store = await LmdbStore.open({ path: sound, clock: systemClock });
    const writes: Promise<void>[] = [];
    for (let number = 0; number < 300; number++) {
      writes.push(store.put("short", [number], { collection: "short", number }));
      writes.push(store.put("many", [`${number}`], { collection: "many", number }));
    }
    for (let number = 0; number < 20; number++)
      writes.push(store.put("long", [number], "long".repeat(1_000 + number * 100)));
    await Promise.all(writes);
    for (let number = 0; number < 300; number += 30)
      await store.put("many", [`${number}`], { collection: "many", number });
    await store.close();
    const [node, ...args] = [...NODE, CHILD, sound, folder.path, String(FIRST), String(FIRST + SEEDS - 1)] as const;
    const child = spawn(node, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    assert.deepEqual([code, signal], [0, null], `${output.slice(-300)}\n${errors.slice(-2_000)}`);
    const ends = output.split("\n").filter((line) => line.startsWith("end "));
    assert.equal(ends.length, SEEDS);
    const bad = ends.filter(
      (line) => !/ (refused MORENDO_STORE_CORRUPT|used \d+ aside \d+|failed MORENDO_STORE_CORRUPT)$/.test(line),
    );
    assert.deepEqual(bad, []);
    assert.ok(ends.some((line) => line.includes("refused")) && ends.some((line) => line.includes("used")));
  });

  it("keeps the server from starting, which names the file and what is wrong with it", async () => {
    const generations = await Generations.start({ accounts: [{ jid: "romeo@a.test" }] });
    try {
      generations.process.signal("SIGTERM");
      await generations.process.exited;
      const file = generations.path("data/store/data.mdb");
      truncateSync(file, 5 * 4096);
      const again = Generations.again(generations);
      const exit = await again.exited;
      assert.equal(exit.code, 1, again.log);
      assert.match(again.log, /store.* is damaged.*data\.mdb: page \d+/);
    } finally {
      await generations.end();
    }
  });

  it("with one damaged roster item and one damaged message shows the others, and says which were put aside", async () => {
    const names = ["juliet", "nurse", "paris"];
    const roster = names.map((name) => ({ jid: `${name}@a.test`, subscription: "both" }));
    const generations = await Generations.start({
      accounts: [{ jid: "romeo@a.test", roster }, ...names.map((name) => ({ jid: `${name}@a.test` }))],
    });
    try {
      const juliet = generations.client({ username: "juliet", resource: "1" });
      await juliet.login();
      for (const body of ["one", "two", "three"])
        juliet.send(`<message to='romeo@a.test' type='chat' id='${body}'><body>${body}-told</body></message>`);
      await juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
      await juliet.close();
      generations.process.signal("SIGTERM");
      await generations.process.exited;
      const file = generations.path("data/store/data.mdb");
      const bytes = readFileSync(file);
      // Every copy of it, whichever page is the live one.
      for (const [text, other] of [
        ["two-told", "twe-told"],
        ["paris@a.test", "paris@b.test"],
      ] as const) {
        for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
          if (text === "two-told" || bytes.subarray(Math.max(0, at - 40), at).includes("romeo")) bytes.write(other, at);
        }
      }
      writeFileSync(file, bytes);
      const again = Generations.again(generations);
      await generations.until((status) => status?.state === "running");
      const romeo = generations.client({ username: "romeo", resource: "1" });
      await romeo.login();
      const items = await romeo.iq("get", "<query xmlns='jabber:iq:roster'/>");
      assert.match(items, /juliet@a\.test/);
      assert.match(items, /nurse@a\.test/);
      assert.doesNotMatch(items, /paris/);
      romeo.presence();
      await romeo.waitFor((xml) => xml.includes("three-told"));
      const bodies = romeo.received.flatMap(({ xml }) => /<body>(.*?)<\/body>/.exec(xml)?.slice(1) ?? []);
      assert.deepEqual(bodies, ["one-told", "three-told"]);
      assert.equal(again.log.split("a damaged record is put aside").length - 1, 2, again.log);
      await romeo.close();
      again.signal("SIGTERM");
      await again.exited;
    } finally {
      await generations.end();
    }
  });
});
