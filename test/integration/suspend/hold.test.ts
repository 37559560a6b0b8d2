// A server that is suspended in mode hold, with real sockets: what clients notice of it, which is nothing, and that it
// writes nothing.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineModule } from "../../../src/module.ts";
import type { RawClient } from "../../../src/testing/raw-client.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { SmClient } from "../../support/sm-client.ts";
import { contentOf, WhiteSpaceNetwork } from "../../support/suspended.ts";
import { waitUntil } from "../../support/wire.ts";

const HOLD = { reason: "a backup", trigger: "test", mode: "hold" } as const;
const BACK = { reason: "done", trigger: "test" };
const QUICK = { suspend: { keepalive: "50ms" } };

function say(client: RawClient, to: string, body: string): void {
  client.send(`<message to='${to}' type='chat'><body>${body}</body></message>`);
}

function bodies(client: RawClient): string[] {
  return client.received.flatMap(({ xml }) => /<body>(.*?)<\/body>/.exec(xml)?.[1] ?? []);
}

async function online(server: TestServer, name: string, resource: string, network?: WhiteSpaceNetwork) {
  const client = await server.login(name, resource, network === undefined ? {} : { network });
  client.presence();
  await client.waitFor((xml) => xml.startsWith("<presence"));
  return client;
}

describe("a server that is suspended in mode hold", function () {
  this.timeout(60_000);
  let running: TestServer;
  afterEach(() => running.dispose());

  it("leaves what clients send unread, keeps their connections busy, and then goes on in order", async () => {
    running = await startServer(QUICK);
    const { server } = running;
    const network = new WhiteSpaceNetwork();
    const juliet = await online(running, "juliet", "balcony", network);
    const romeo = await online(running, "romeo", "orchard");
    const expected: string[] = [];
    for (let round = 0; round < 3; round++) {
      const send = (what: string): void => {
        for (let index = 0; index < 10; index++) {
          expected.push(`${round} ${what} ${index}`);
          say(romeo, "juliet@a.test/balcony", `${round} ${what} ${index}`);
        }
      };
      send("before");
      const report = await server.suspend(HOLD);
      assert.equal(report.outcome, "suspended", JSON.stringify(report));
      assert.equal(server.status().state, "suspended");
      const handled = bodies(juliet).length;
      send("meanwhile");
      const before = network.count;
      await waitUntil(() => network.count >= before + 2, "white space came");
      assert.ok(bodies(juliet).length <= round * 30 + 10, "something was read meanwhile");
      assert.ok(bodies(juliet).length >= handled);
      assert.deepEqual(await server.resume(BACK), { resumed: true, failed: [] });
      send("after");
      await juliet.waitFor((xml) => xml.includes(`${round} after 9`));
      assert.deepEqual(bodies(juliet), expected);
    }
    const after = network.count;
    assert.equal((await juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")).includes("result"), true);
    assert.equal((await romeo.close()).streamError, undefined);
    assert.equal((await juliet.close()).streamError, undefined);
    assert.ok(network.count <= after + 1, "white space goes on after the resume");
  });

  it("acknowledges and is acknowledged afterwards as if nothing had been (XEP-0198)", async () => {
    running = await startServer(QUICK);
    const juliet = await SmClient.start(running, "juliet", "balcony");
    const romeo = await SmClient.start(running, "romeo", "orchard");
    juliet.raw.presence();
    await running.server.suspend(HOLD);
    say(romeo.raw, "juliet@a.test/balcony", "one");
    romeo.raw.send("<r xmlns='urn:xmpp:sm:3'/>");
    await running.server.resume(BACK);
    await romeo.raw.waitFor((xml) => xml.startsWith("<a") && xml.includes("h='1'"));
    await juliet.raw.waitFor((xml) => xml.includes("<body>one</body>"));
    assert.equal(running.status.hibernating, 0);
  });

  it("lets who connects wait in the backlog, and serves them after the resume", async () => {
    running = await startServer(QUICK);
    await running.server.suspend(HOLD);
    const logins = [
      running.login("romeo", "orchard"),
      running.login("romeo", "chamber", { security: "direct" }),
      running.login("juliet", "balcony"),
    ];
    const early: string[] = [];
    for (const login of logins) login.then((client) => early.push(client.jid)).catch(() => early.push("failed"));
    const before = running.status.connections;
    assert.equal(before, 0);
    // A status that is asked for over and over takes turns of the event loop in which a connection could have come in.
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([early, running.status.connections], [[], 0]);
    await running.server.resume(BACK);
    const clients = await Promise.all(logins);
    assert.deepEqual(
      clients.map(({ jid }) => jid),
      ["romeo@a.test/orchard", "romeo@a.test/chamber", "juliet@a.test/balcony"],
    );
  });

  it("does not notice that a connection breaks until it goes on", async () => {
    running = await startServer(QUICK);
    const network = new WhiteSpaceNetwork();
    const juliet = await online(running, "juliet", "balcony", network);
    const romeo = await online(running, "romeo", "orchard");
    const waiting = await SmClient.start(running, "romeo", "tomb");
    const before = running.status;
    await running.server.suspend(HOLD);
    romeo.reset();
    waiting.raw.reset();
    const count = network.count;
    await waitUntil(() => network.count >= count + 3, "white space came, also to those who are gone");
    assert.deepEqual([running.status.sessions, running.status.hibernating], [before.sessions, 0]);
    await running.server.resume(BACK);
    await waitUntil(() => running.status.sessions === 2 && running.status.hibernating === 1, "it was noticed");
    const back = await SmClient.resume(running, waiting.identity);
    assert.match(back.answer, /^<resumed/);
    assert.equal((await juliet.close()).streamError, undefined);
  });

  it("has finished what was in work, and names who does not finish", async () => {
    let isOpen = false;
    const waiting: (() => void)[] = [];
    const slow = defineModule({
      name: "slow",
      load: (api) => {
        api.hook("iq/get/urn:example:slow", async () => {
          if (!isOpen) await new Promise<void>((resolve) => waiting.push(resolve));
          return "empty" as const;
        });
      },
    });
    running = await startServer(QUICK, { modules: [slow] });
    const juliet = await running.login("juliet", "balcony");
    const asked = juliet.iq("get", "<slow xmlns='urn:example:slow'/>");
    await waitUntil(() => waiting.length === 1, "the module is asked");
    const late = await running.server.suspend({ ...HOLD, timeoutMs: 300 });
    assert.equal(late.outcome, "timed-out");
    assert.deepEqual(late.late, ["c2s"]);
    assert.equal(running.status.state, "running");
    assert.deepEqual(running.status.lastSuspension?.late, ["c2s"]);
    const blockers: string[] = [];
    running.on("progress", (progress) => blockers.push(...progress.blockers));
    const suspended = running.server.suspend(HOLD);
    await waitUntil(() => blockers.includes("juliet@a.test/balcony"), "the blocker is named");
    isOpen = true;
    for (const go of waiting) go();
    assert.equal((await suspended).outcome, "suspended");
    assert.match(await asked, /type=["']result/);
    await running.server.resume(BACK);
  });

  it("writes nothing: its data folder can be copied, and another server can serve from the copy", async () => {
    running = await startServer({ ...QUICK, c2s: { sm_max: "5m" } }, { store: "lmdb" });
    const network = new WhiteSpaceNetwork();
    const juliet = await online(running, "juliet", "balcony", network);
    const romeo = await online(running, "romeo", "orchard");
    romeo.send("<iq type='set' id='r1'><query xmlns='jabber:iq:roster'><item jid='nurse@a.test'/></query></iq>");
    for (let index = 0; index < 50; index++) say(romeo, "juliet@a.test/balcony", `m${index}`);
    await running.addAccount("nurse");
    for (let index = 0; index < 50; index++) say(juliet, "nurse@a.test", `for later ${index}`);
    for (const client of [juliet, romeo]) await client.iq("get", "<ping xmlns='urn:xmpp:ping'/>");
    const report = await running.server.suspend(HOLD);
    assert.equal(report.outcome, "suspended", JSON.stringify(report));
    const before = contentOf(running.data);
    for (let index = 0; index < 50; index++) say(juliet, "nurse@a.test", `not yet ${index}`);
    romeo.send("<iq type='set' id='r2'><query xmlns='jabber:iq:roster'><item jid='friar@a.test'/></query></iq>");
    const count = network.count;
    await waitUntil(() => network.count >= count + 3, "time went by");
    const copy = mkdtempSync(join(tmpdir(), "morendo-copy-"));
    cpSync(running.data, copy, { recursive: true });
    assert.equal(contentOf(running.data), before);
    await running.server.resume(BACK);
    await romeo.waitFor((xml) => xml.includes("r2"));

    const other = await startServer({ data: copy }, { store: "lmdb", accounts: [] });
    try {
      const nurse = await other.login("nurse", "chamber");
      nurse.presence();
      await nurse.waitFor((xml) => xml.includes("for later 49"));
      assert.ok(!bodies(nurse).some((body) => body.startsWith("not yet")));
      const roster = await (await other.login("romeo", "x")).iq("get", "<query xmlns='jabber:iq:roster'/>");
      assert.ok(roster.includes("nurse@a.test") && !roster.includes("friar@a.test"), roster);
    } finally {
      await other.dispose();
      rmSync(copy, { recursive: true, force: true });
    }
    const nurse = await online(running, "nurse", "chamber");
    await nurse.waitFor((xml) => xml.includes("not yet 49"));
    assert.equal(bodies(nurse).length, 100);
  });
});
