import assert from "node:assert/strict";
import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { defineModule } from "../../../src/module.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { MemoryNetwork } from "../../../src/testing/memory-network.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { startServer } from "../../../src/testing/start-server.ts";
import { skip } from "../../support/skip.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

describe("a server in a test", () => {
  it("has ports, accounts and a folder of its own, and is gone when its block ends", async () => {
    let data: string;
    let port: number;
    {
      await using server = await startServer({}, { accounts: { "romeo@a.test": "let me in", juliet: "balcony" } });
      data = server.data;
      port = server.ports.c2s;
      assert.ok(existsSync(data));
      assert.equal(new Set(Object.values(server.ports)).size, 3);
      await server.login("romeo", "1", { password: "let me in" });
      await server.login("juliet", "1", { security: "direct" });
      await assert.rejects(server.login("romeo", "2", { password: "wrong" }), /login refused/);
      assert.equal(server.status.sessions, 2);
    }
    assert.ok(!existsSync(data));
    await assert.rejects(
      startServer().then(async (other) => {
        await using server = other;
        await server.client({ port }).connect();
      }),
      /ECONNREFUSED/,
    );
  });

  it("tells its progress as it comes and has its report at the end", async () => {
    await using server = await startServer();
    const client = await server.login("romeo", "1", { answerClose: false, answerEnd: false });
    const phases = new Set<string>();
    const watching = (async () => {
      for await (const { phase } of server.progress()) phases.add(phase);
    })();
    const states: string[] = [];
    server.on("state", ({ state }) => states.push(state));
    assert.equal(server.report, undefined);
    setTimeout(() => client.destroy(), 400);
    const report = await server.stop("enough");
    await watching;
    assert.equal(server.report, report);
    assert.equal(report.reason, "enough");
    assert.ok(phases.has("close-sessions"), [...phases].join());
    assert.deepEqual(states, ["stopping", "stopped"]);
  });

  it("keeps what it has in a folder that the test gave it, in a real store", async () => {
    const folder = await temporaryFolder();
    {
      await using server = await startServer({ data: folder.path }, { store: "lmdb" });
      const juliet = await server.login("juliet", "1");
      juliet.send("<message to='romeo@a.test' type='chat'><body>Wherefore art thou?</body></message>");
      await juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
    }
    {
      await using server = await startServer({ data: folder.path }, { store: "lmdb", accounts: [] });
      const romeo = await server.login("romeo", "1", { password: "orchard" });
      romeo.presence();
      await romeo.waitFor((xml) => xml.includes("Wherefore"));
    }
    assert.ok(existsSync(folder.path));
    await folder.remove();
  });

  it("runs on a manual clock and a network in memory, with its clients and peers", async () => {
    const clock = new ManualClock();
    const network = new MemoryNetwork({ clock, latencyMs: 20 });
    await using peer = await ScriptedPeer.start({ domain: "b.test", clock, network, script: { ack: "ignore" } });
    await using server = await startServer({ shutdown: { deadline: "20s" } }, { clock, network, peers: [peer] });
    const romeo = await server.login("romeo", "1");
    romeo.send("<message to='x@b.test' id='m1'><body>hi</body></message>");
    const arrived = peer.until(({ stanzas }) => stanzas.length === 1);
    await clock.advance(1_000);
    await arrived;
    const stopped = server.stop();
    await clock.advance(20_000);
    const report = await stopped;
    assert.equal(report.obligations.run.evidence.closed, 1, peer.history());
    assert.ok(report.durationMs > 4_000, "it waited for an acknowledgement");
    assert.equal((await romeo.ended).streamError, "system-shutdown");
  });

  it("speaks TLS with peers that have certificates, in both directions", async () => {
    await using one = await ScriptedPeer.start({ domain: "one.test", certificates: "self-signed" });
    await using two = await ScriptedPeer.start({ domain: "two.test", certificates: "self-signed" });
    await using server = await startServer({}, { peers: [one, two] });
    const romeo = await server.login("romeo");
    for (const domain of ["one.test", "two.test"]) romeo.send(`<message to='x@${domain}'><body>hi</body></message>`);
    await one.until(({ stanzas }) => stanzas.length === 1);
    two.send(`<message from='x@two.test' to='${romeo.jid}'><body>hi</body></message>`);
    await romeo.waitFor((xml) => xml.startsWith("<message") && xml.includes("x@two.test"));
    for (const peer of [one, two]) assert.ok(peer.seen.some(({ kind, text }) => kind === "tls" && text === "TLSv1.3"));
    assert.equal(server.config.s2s.require_tls, true);
  });

  it("says why it did not start", async () => {
    const broken = defineModule({
      name: "broken",
      load: () => {
        throw new Error("out of order");
      },
    });
    await assert.rejects(startServer({}, { modules: [broken] }), /did not start: .*out of order/);
  });

  it("fails the test when something of it is left", async function () {
    if (process.platform !== "linux") skip(this, "only Linux tells what a process has open");
    const folder = await temporaryFolder();
    const forgotten = join(folder.path, "forgotten.txt");
    let fd = 0;
    const leaky = defineModule({
      name: "leaky",
      load: () => {
        fd = openSync(forgotten, "w");
      },
    });
    const server = await startServer({ data: folder.path }, { modules: [leaky] });
    await assert.rejects(server.dispose(), /left behind:\nfile: .*forgotten\.txt/);
    closeSync(fd);
    const again = await startServer({ data: folder.path }, { modules: [leaky], accounts: [], checkLeaks: false });
    await again.dispose();
    closeSync(fd);
    await folder.remove();
  });
});
