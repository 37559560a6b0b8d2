// What waits for another server, with the whole server: over a stop and a start, a kill, and a restart with a successor; what
// the sender learns, and what an operator sees. The rules one by one are in test/unit/server/s2s/journal.test.ts.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import type { JournalList } from "../../../src/server/s2s/journal-desk.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { startServer, type TestConfig, type TestServer } from "../../../src/testing/start-server.ts";
import { NS } from "../../../src/xml/ns.ts";
import { PORTS } from "../../support/addresses.ts";
import { temporaryFolder } from "../../support/child.ts";
import { ask, restarted } from "../../support/control.ts";
import { Generations } from "../../support/generations.ts";
import { waitUntil } from "../../support/wire.ts";

const chat = (to: string, id: string): string =>
  `<message to='${to}' id='${id}' type='chat'><body>hear ${id}</body></message>`;

describe("what waits for other servers", function () {
  this.timeout(120_000);

  describe("in one process", () => {
    let data: string;
    let peer: ScriptedPeer;
    let servers: TestServer[];

    beforeEach(async () => {
      data = temporaryFolder("journal");
      peer = await ScriptedPeer.start({ domain: "peer.test" });
      servers = [];
    });

    afterEach(async () => {
      // The later ones first: they have the same store open.
      for (const server of servers.toReversed()) await server.dispose();
      await peer.stop();
      await rm(data, { recursive: true, force: true });
    });

    async function start(config: TestConfig = {}): Promise<TestServer> {
      const first = servers.length === 0;
      const options = { peers: [peer], store: "lmdb", ...(first ? {} : { accounts: [] }) } as const;
      const server = await startServer({ data, shutdown: { deadline: "8s" }, ...config }, options);
      servers.push(server);
      return server;
    }

    const waiting = (server: TestServer): number => server.status.journal?.waiting ?? 0;

    it("is sent at the next start, once, with the time at which it came, and the report says that it is stored", async () => {
      const server = await start();
      await peer.refuse();
      const romeo = await server.login("romeo", "r");
      for (const id of ["m1", "m2"]) romeo.send(chat("nurse@peer.test", id));
      romeo.send("<presence to='nurse@peer.test' type='subscribe'/>");
      await waitUntil(() => waiting(server) === 3, "3 wait");
      romeo.send(chat("nurse@peer.test", "m3"));
      await waitUntil(() => waiting(server) === 4, "4 wait");
      const report = await server.stop();
      assert.equal(report.exitCode, 0, JSON.stringify(report.obligations));
      assert.equal((report.sections.journal as { waiting: number }).waiting, 4);
      assert.ok(!romeo.received.some(({ xml }) => xml.includes("<error")));

      await peer.listen();
      const next = await start();
      await peer.until(() => peer.stanzas.length >= 4, "what waited");
      const [first] = peer.stanzas;
      assert.equal(first?.getChild("delay", NS.delay)?.attrs.from, "a.test");
      await waitUntil(() => waiting(next) === 0, "0 wait");
      await next.stop();
      const third = await start();
      await third.stop();
      assert.deepEqual(
        peer.stanzas.map(({ attrs }) => attrs.id ?? attrs.type),
        ["m1", "m2", "subscribe", "m3"],
      );
    });

    it("comes back in the end, also to somebody who is not there then: by an error that waits for him", async () => {
      const server = await start({ s2s: { journal_lifetime: "1s" } });
      await peer.refuse();
      const romeo = await server.login("romeo", "r");
      romeo.send(chat("nurse@peer.test", "m1"));
      await waitUntil(() => waiting(server) === 1, "1 wait");
      await server.stop();
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await peer.listen();
      const next = await start({ s2s: { journal_lifetime: "1s" } });
      const again = await next.login("romeo", "other");
      again.presence();
      const error = await again.waitFor((xml) => xml.includes("m1"));
      assert.match(error.xml, /type="error"/);
      assert.match(error.xml, /remote-server-timeout/);
      assert.match(error.xml, /hear m1/);
      assert.equal(peer.stanzas.length, 0);
    });

    it("lets a client be gone without its request, and returns the request at once", async () => {
      const server = await start();
      await peer.refuse();
      const romeo = await server.login("romeo", "r");
      romeo.send("<iq type='get' id='q' to='peer.test'><ping xmlns='urn:xmpp:ping'/></iq>");
      const error = await romeo.waitFor((xml) => xml.includes('id="q"'));
      assert.match(error.xml, /remote-server-timeout/);
      assert.equal(waiting(server), 0);
    });
  });

  describe("with real processes", () => {
    let generations: Generations;
    let peer: ScriptedPeer;

    beforeEach(async () => {
      peer = await ScriptedPeer.start({ domain: "peer.test", certificates: "self-signed" });
      generations = await Generations.start({
        accounts: [{ jid: "romeo@a.test" }],
        settings: {
          s2s: 'auth_timeout = "3s"\nretry_delay = "1s"',
          extra: `[s2s.routes]\n"peer.test" = "${peer.address}"\n[shutdown]\ndeadline = "8s"\n`,
        },
      });
      peer.routes.set("a.test", `${generations.address}:${PORTS.s2s}`);
    });

    afterEach(async () => {
      await generations.end();
      await peer.stop();
    });

    const list = async (): Promise<JournalList> => (await ask(generations.folder, "journal.list")) as JournalList;
    const command = (...args: readonly string[]) =>
      generations.command("journal", ...args, "--config", generations.path("morendo.toml"));

    it("is still there after a kill, and is listed, dropped and tried by an operator, with the server running or not", async () => {
      await peer.refuse();
      const romeo = generations.client({ username: "romeo" });
      await romeo.login();
      for (const id of ["m1", "m2", "m3", "m4"]) romeo.send(chat("nurse@peer.test", id));
      await generations.until((status) => status?.journal?.waiting === 4);
      const [first, second] = (await list()).items;
      assert.equal(first?.stanzaId, "m1");
      const dropped = await command("drop", first?.id ?? "", "--tell");
      assert.deepEqual(dropped, { code: 0, output: "gave up 1; 1 senders are told\n" });
      const error = await romeo.waitFor((xml) => xml.includes("m1"));
      assert.match(error.xml, /type="error"/);
      for (const pid of generations.pids) process.kill(pid, "SIGKILL");
      await generations.process.exited;

      const listed = await command("list");
      assert.equal(listed.code, 0, listed.output);
      assert.deepEqual(
        [...listed.output.matchAll(/ id=(\w+)/g)].map(([, id]) => id),
        ["m2", "m3", "m4"],
      );
      assert.equal(listed.output.includes("hear"), false);
      assert.equal((await command("drop", "--domain", "peer.test", "--tell")).code, 1);
      assert.match((await command("drop", second?.id ?? "")).output, /gave up 1; nobody is told/);

      await generations.startAgain();
      await generations.until((status) => status?.journal?.waiting === 2);
      await peer.listen();
      assert.equal((await command("retry", "peer.test")).code, 0);
      await peer.until(() => peer.stanzas.length === 2, "the rest");
      await generations.until((status) => status?.journal?.waiting === 0);
      assert.deepEqual(
        peer.stanzas.map(({ attrs }) => attrs.id),
        ["m3", "m4"],
      );
      assert.equal((await command("retry", "peer.test")).code, 1);
    });

    it("is taken up by a successor when the predecessor could not deliver it, and comes once", async () => {
      peer.when("header", "ignore");
      const romeo = generations.client({ username: "romeo" });
      await romeo.login();
      for (const id of ["m1", "m2"]) romeo.send(chat("nurse@peer.test", id));
      // The answer says that what came before it was taken.
      await romeo.iq("get", "<query xmlns='jabber:iq:roster'/>");
      const { pid, predecessor } = await restarted(generations.folder);
      await generations.alone(pid);
      assert.equal(generations.pids.includes(predecessor), false);
      await generations.until((status) => (status?.journal?.waiting ?? 0) === 2);
      peer.when("header", "ordinary");
      await peer.until(() => peer.stanzas.length >= 2, "what waited", 60_000);
      await generations.until((status) => status?.journal?.waiting === 0);
      assert.deepEqual(
        peer.stanzas.map(({ attrs }) => attrs.id),
        ["m1", "m2"],
      );
    });
  });
});
