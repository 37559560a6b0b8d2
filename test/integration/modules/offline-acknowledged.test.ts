// Messages from the offline store that a client has not acknowledged (XEP-0198), with real processes: over a crash, over a
// restart, and over a stop and a start. The rules one by one are in test/modules/offline.test.ts.

import assert from "node:assert/strict";
import { join } from "node:path";
import { LmdbStore } from "../../../src/store/lmdb.ts";
import { attributeOf, type RawClient } from "../../../src/testing/raw-client.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { sleep } from "../../support/child.ts";
import { restarted } from "../../support/control.ts";
import { Generations } from "../../support/generations.ts";
import { SmClient } from "../../support/sm-client.ts";

const BODIES = ["m1", "m2", "m3"];

/** The last of the messages; a random identifier elsewhere may look like its own. */
const isLast = (xml: string): boolean => xml.startsWith("<message") && attributeOf(xml, "id") === "m3";

describe("offline messages that a client has not acknowledged", function () {
  this.timeout(120_000);
  let generations: Generations;
  let clients: RawClient[];

  beforeEach(async () => {
    clients = [];
    generations = await Generations.start({
      accounts: [{ jid: "romeo@a.test" }, { jid: "juliet@a.test" }],
      settings: { extra: '[shutdown]\ndeadline = "8s"\nresumable = "keep"\n' },
    });
    const romeo = generations.client({ username: "romeo" });
    clients.push(romeo);
    await romeo.login();
    for (const id of BODIES)
      romeo.send(`<message to='juliet@a.test' id='${id}' type='chat'><body>${id}</body></message>`);
    // The answer says that what came before it was taken.
    await romeo.iq("get", "<query xmlns='jabber:iq:roster'/>");
    assert.equal(await stored(), BODIES.length);
  });

  afterEach(async () => {
    for (const client of clients) client.destroy();
    await generations.end();
  });

  async function stored(): Promise<number> {
    const store = await LmdbStore.open({ path: join(generations.folder, "data/store"), clock: systemClock });
    try {
      return (await store.range("module:offline", [])).length;
    } finally {
      await store.close();
    }
  }

  async function storedSoon(count: number): Promise<void> {
    const limit = performance.now() + 30_000;
    while ((await stored()) !== count) {
      if (performance.now() > limit) throw new Error(`never ${count} messages, but ${await stored()}`);
      await sleep(50);
    }
  }

  function idsOf(client: RawClient): string[] {
    return client.received
      .filter(({ xml }) => xml.startsWith("<message"))
      .map(({ xml }) => attributeOf(xml, "id") ?? "");
  }

  /** Juliet has seen all of them and said nothing. */
  async function silentJuliet(): Promise<SmClient> {
    const juliet = await SmClient.start(generations, "juliet", "x");
    clients.push(juliet.raw);
    juliet.answers = false;
    juliet.raw.presence();
    await juliet.raw.waitFor(isLast);
    assert.deepEqual(idsOf(juliet.raw), BODIES);
    return juliet;
  }

  async function anotherJuliet(): Promise<RawClient> {
    const juliet = generations.client({ username: "juliet", resource: "y" });
    clients.push(juliet);
    await juliet.login();
    juliet.presence();
    await juliet.iq("get", "<query xmlns='jabber:iq:roster'/>");
    return juliet;
  }

  async function killAll(): Promise<void> {
    for (const pid of generations.pids) process.kill(pid, "SIGKILL");
    await generations.startAgain();
  }

  it("come again after a crash", async () => {
    await silentJuliet();
    await killAll();
    const juliet = await anotherJuliet();
    await juliet.waitFor(isLast);
    assert.deepEqual(idsOf(juliet), BODIES);
    await storedSoon(0);
  });

  it("are not there after a crash any more when it has", async () => {
    const juliet = await silentJuliet();
    juliet.answers = true;
    juliet.raw.send(`<a xmlns='urn:xmpp:sm:3' h='${juliet.handled}'/>`);
    await storedSoon(0);
    await killAll();
    assert.deepEqual(idsOf(await anotherJuliet()), []);
  });

  it("are in a successor's hands after a restart, come to nobody else there, and go when it acknowledges", async () => {
    const juliet = await silentJuliet();
    await restarted(generations.folder);
    assert.deepEqual(idsOf(await anotherJuliet()), []);
    const resumed = await SmClient.resume(generations, { username: "juliet", previd: juliet.id, h: juliet.handled });
    clients.push(resumed.raw);
    assert.match(resumed.answer, /^<resumed/);
    await storedSoon(0);
    assert.deepEqual(idsOf(resumed.raw), []);
  });

  it("are still there after a restart and a crash", async () => {
    await silentJuliet();
    const { predecessor } = await restarted(generations.folder);
    await generations.alone(...generations.pids.filter((pid) => pid !== predecessor));
    await killAll();
    const juliet = await anotherJuliet();
    await juliet.waitFor(isLast);
    assert.deepEqual(idsOf(juliet), BODIES);
  });

  it("are kept with their session over a stop and a start, and come once", async () => {
    const juliet = await silentJuliet();
    for (const pid of generations.pids) process.kill(pid, "SIGTERM");
    await generations.startAgain();
    assert.equal(await stored(), BODIES.length);
    assert.deepEqual(idsOf(await anotherJuliet()), []);
    // Of what it has seen it does not know any more.
    const resumed = await SmClient.resume(generations, { username: "juliet", previd: juliet.id, h: 0 });
    clients.push(resumed.raw);
    await resumed.raw.waitFor(isLast);
    assert.deepEqual(idsOf(resumed.raw), BODIES);
    await storedSoon(0);
  });
});
