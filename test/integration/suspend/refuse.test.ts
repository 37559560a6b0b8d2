// A server that is suspended in mode refuse: who goes on, who is let in and what the others are told.

import assert from "node:assert/strict";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { SmClient } from "../../support/sm-client.ts";
import { waitUntil } from "../../support/wire.ts";

const REFUSE = { reason: "we are moving", trigger: "test", mode: "refuse" } as const;
const BACK = { reason: "done", trigger: "test" };

describe("a server that is suspended in mode refuse", function () {
  this.timeout(60_000);
  let running: TestServer;
  const peers: ScriptedPeer[] = [];
  afterEach(async () => {
    await running.dispose();
    for (const peer of peers.splice(0)) await peer.stop();
  });

  async function peer(domain: string, certificates?: "self-signed"): Promise<ScriptedPeer> {
    const started = await ScriptedPeer.start({ domain, ...(certificates === undefined ? {} : { certificates }) });
    peers.push(started);
    return started;
  }

  it("serves who is there, lets them resume, and tells others why when they bind a resource, not before", async () => {
    running = await startServer();
    const juliet = await SmClient.start(running, "juliet", "balcony");
    const romeo = await running.login("romeo", "orchard");
    assert.equal((await running.server.suspend(REFUSE)).outcome, "suspended");

    for (const security of ["starttls", "direct"] as const) {
      const late = running.client({ username: "romeo", security });
      await assert.rejects(late.login());
      assert.ok(late.received.some(({ xml }) => xml.startsWith("<success")));
      const ending = await late.ended;
      assert.equal(ending.streamError, "resource-constraint");
      const error = late.received.find(({ xml }) => xml.startsWith("<stream:error"));
      assert.match(error?.xml ?? "", /we are moving/);
    }
    romeo.send("<message to='juliet@a.test/balcony'><body>still here</body></message>");
    await juliet.raw.waitFor((xml) => xml.includes("still here"));
    juliet.raw.reset();
    await waitUntil(() => running.status.hibernating === 1, "its session waits");
    const back = await SmClient.resume(running, juliet.identity);
    assert.match(back.answer, /^<resumed/);
    assert.equal(running.status.suspension?.mode, "refuse");

    await running.server.resume(BACK);
    assert.equal((await running.login("romeo", "chamber")).jid, "romeo@a.test/chamber");
  });

  it("sends them elsewhere where the configuration says so", async () => {
    running = await startServer({ suspend: { see_other_host: "other.example:5222" } });
    await running.server.suspend(REFUSE);
    const late = running.client({ username: "romeo" });
    await assert.rejects(late.login());
    assert.equal((await late.ended).streamError, "see-other-host");
    const error = late.received.find(({ xml }) => xml.startsWith("<stream:error"));
    assert.match(error?.xml ?? "", />other\.example:5222<\/see-other-host>.*we are moving/);
  });

  it("tells a wrong password nothing else than at other times", async () => {
    running = await startServer();
    await running.server.suspend(REFUSE);
    const stranger = running.client({ username: "romeo", password: "wrong" });
    await assert.rejects(stranger.login());
    assert.ok(stranger.received.some(({ xml }) => xml.includes("not-authorized")));
    assert.ok(!stranger.received.some(({ xml }) => xml.includes("we are moving")));
  });

  it("refuses servers that are new, and goes on with those it is in touch with, in both directions", async () => {
    const known = await peer("known.test");
    const asked = await peer("asked.test");
    const stranger = await peer("new.test");
    const later = await peer("later.test");
    running = await startServer({}, { peers: [known, asked, stranger, later] });
    const romeo = await running.login("romeo", "orchard");
    const send = (to: ScriptedPeer, body: string): void => {
      to.send(`<message from='x@${to.domain}' to='romeo@a.test/orchard'><body>${body}</body></message>`);
    };
    const got = (body: string) => romeo.waitFor((xml) => xml.includes(`<body>${body}</body>`));
    send(known, "before");
    await got("before");
    await running.server.suspend(REFUSE);
    send(known, "on a stream that is there");
    await got("on a stream that is there");
    send(stranger, "from a stranger");
    await stranger.until((one) => /resource-constraint/.test(one.history()), "the stranger is refused");
    assert.match(stranger.history(), /we are moving/);
    // Romeo asks for it, and the answer needs a stream of the other server.
    romeo.send("<message to='y@asked.test'><body>hello</body></message>");
    await asked.until((one) => one.arrived.length > 0, "it arrived");
    send(asked, "an answer");
    await got("an answer");
    assert.ok(!romeo.received.some(({ xml }) => xml.includes("from a stranger")));
    await running.server.resume(BACK);
    send(later, "now");
    await got("now");
  });
});
