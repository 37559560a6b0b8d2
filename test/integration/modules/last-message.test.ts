// The last message on the wire: real clients, a real shutdown.

import assert from "node:assert/strict";
import type { RawClient } from "../../../src/testing/raw-client.ts";
import { startServer } from "../../../src/testing/start-server.ts";
import { systemClock } from "../../../src/util/clock.ts";

const MODULES = ["roster", "presence", "ping", "last-message"];

/** What a client received, as far as it matters here, in order. */
function story(client: RawClient): string[] {
  const events: string[] = [];
  for (const { xml } of client.received) {
    const text = /<message[^>]*type="headline"[\s\S]*<body>([^<]*)<\/body>/.exec(xml)?.[1];
    if (text !== undefined) events.push(text);
    else if (xml.includes("system-shutdown")) events.push("system-shutdown");
  }
  return events;
}

/** Waits until the server reads no more of what `client` sends, because somebody else does not read. */
async function stuck(client: RawClient): Promise<void> {
  for (let before = -1; client.unsent === 0 || client.unsent !== before; ) {
    before = client.unsent;
    await systemClock.sleep(300);
  }
}

describe("last-message on the wire", function () {
  this.timeout(60_000);

  it("reaches each available resource once, before the stream error", async () => {
    const config = { modules: MODULES, module: { "last-message": { text: "good night: {reason}", batch: 2 } } };
    await using server = await startServer(config);
    const clients = [
      await server.login("romeo", "x"),
      await server.login("romeo", "y"),
      await server.login("juliet", "x"),
    ];
    const silent = await server.login("juliet", "silent");
    for (const client of clients) {
      client.presence();
      await client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
    }
    const report = await server.stop("new version");
    assert.equal(report.outcome, "clean");
    for (const client of clients) {
      await client.ended;
      assert.deepEqual(story(client), ["good night: new version", "system-shutdown"]);
    }
    await silent.ended;
    assert.deepEqual(story(silent), ["system-shutdown"]);
    const phase = report.phases.find(({ name }) => name === "stop-accepting");
    assert.equal(phase?.participants.find(({ name }) => name === "last-message")?.outcome, "done");
  });

  it("is taken back when the stop is cancelled, and goes out again at the next stop", async () => {
    await using server = await startServer({ modules: MODULES });
    const romeo = await server.login("romeo", "x");
    romeo.presence();
    await romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
    // Somebody holds the stop up for as long as it can be cancelled.
    const release = server.server.lifecycle.attach("stop-accepting", {
      name: "holder",
      when: "after",
      run: ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
    });
    const stopping = server.stop("new version");
    await romeo.waitFor((xml) => xml.includes("The server is going down: new version"));
    const cancelled = await server.server.cancel({ reason: "not now", trigger: "test" });
    assert.deepEqual(cancelled, { cancelled: true, failed: [] });
    assert.equal((await stopping).outcome, "cancelled");
    await romeo.waitFor((xml) => xml.includes("The server stays up."));
    assert.match(await romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test"), /type="result"/);
    release();
    await server.stop("now");
    await romeo.ended;
    assert.deepEqual(story(romeo), [
      "The server is going down: new version",
      "The server stays up.",
      "The server is going down: now",
      "system-shutdown",
    ]);
  });

  it("holds the stop up no longer than its limit when a client does not read", async () => {
    const config = {
      modules: MODULES,
      module: { "last-message": { text: "x".repeat(2_000), limit: "200ms" } },
      c2s: { rate: "1GiB", burst: "1GiB", max_unread: "64MiB", stall_timeout: "1m", close_timeout: "500ms" },
      shutdown: { deadline: "15s" },
    };
    await using server = await startServer(config);
    const romeo = await server.login("romeo", "x");
    const juliet = await server.login("juliet", "x");
    for (const client of [romeo, juliet]) client.presence();
    await juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
    romeo.stopReading();
    const body = "x".repeat(100_000);
    for (let sent = 0; sent < 250; sent++) {
      juliet.send(`<message type='chat' to='romeo@a.test/x'><body>${body}</body></message>`);
    }
    await stuck(juliet);
    const report = await server.stop();
    const phase = report.phases.find(({ name }) => name === "stop-accepting");
    const participant = phase?.participants.find(({ name }) => name === "last-message");
    assert.equal(participant?.outcome, "timed-out");
    assert.ok((phase?.durationMs ?? 0) < 5_000);
    assert.equal(story(juliet)[0]?.length, 2_000);
  });
});
