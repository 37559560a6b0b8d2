// Announced and delayed stops on the wire: who reads what when, who can still come, and when it ends.

import assert from "node:assert/strict";
import { isReady } from "../../../src/server/readiness.ts";
import type { RawClient } from "../../../src/testing/raw-client.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";

const MODULES = ["roster", "presence", "ping", "announce"];
const MINUTE = 60_000;

/** The headlines that a client read, in order. */
function headlines(client: RawClient): string[] {
  return client.received.flatMap(({ xml }) => /type="headline"[\s\S]*<body>([^<]*)<\/body>/.exec(xml)?.[1] ?? []);
}

async function online(server: TestServer, name: string, resource: string): Promise<RawClient> {
  const client = await server.login(name, resource);
  client.presence();
  await client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
  return client;
}

describe("an announced stop on the wire", function () {
  this.timeout(60_000);

  it("is told to each resource and to whoever comes, and taken back when it is cancelled", async () => {
    await using server = await startServer({ modules: MODULES });
    const phone = await online(server, "romeo", "phone");
    const desk = await online(server, "romeo", "desk");
    assert.equal(isReady(server.server.lifecycle), true);
    const stopping = server.stop({ delayMs: 10 * MINUTE, announcement: "Moving house" });
    assert.equal(isReady(server.server.lifecycle), false);
    const text = "The server goes down in 10 minutes: Moving house";
    for (const client of [phone, desk]) await client.waitFor((xml) => xml.includes(text));
    const late = await online(server, "juliet", "late");
    await late.waitFor((xml) => xml.includes(text));
    // Everything is served as before.
    late.send('<message to="romeo@a.test/desk" type="chat"><body>still there</body></message>');
    await desk.waitFor((xml) => xml.includes("still there"));
    assert.equal(server.status.phase, "announce");
    assert.equal((server.status.remainingMs ?? 0) > 9 * MINUTE, true);
    const cancelled = await server.server.cancel({ reason: "not today", trigger: "test" });
    assert.deepEqual(cancelled, { cancelled: true, failed: [] });
    for (const client of [phone, desk, late]) await client.waitFor((xml) => xml.includes("The server stays up."));
    assert.equal((await stopping).outcome, "cancelled");
    assert.equal(isReady(server.server.lifecycle), true);
    for (const client of [phone, desk, late]) assert.deepEqual(headlines(client), [text, "The server stays up."]);
  });

  it("ends early when all have left, and the time is nobody else's", async () => {
    await using server = await startServer({ modules: MODULES });
    const romeo = await online(server, "romeo", "x");
    const stopping = server.stop({ delayMs: 10 * MINUTE, announcement: "Moving house" });
    await romeo.waitFor((xml) => xml.includes("Moving house"));
    await romeo.close();
    const report = await stopping;
    assert.equal(report.outcome, "clean");
    assert.equal(report.delay?.cut?.why, "nobody is left");
    assert.equal(report.durationMs < 5 * MINUTE, true);
    const given = report.phases.find(({ name }) => name === "stop-accepting")?.budgetMs ?? 0;
    assert.equal(given <= 25_000, true);
  });

  it("does not wait for a session that waits for its client", async () => {
    await using server = await startServer({ modules: MODULES });
    const romeo = await online(server, "romeo", "x");
    romeo.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    await romeo.waitFor((xml) => xml.startsWith("<enabled"));
    const stopping = server.stop({ delayMs: 10 * MINUTE, announcement: "Moving house" });
    await romeo.waitFor((xml) => xml.includes("Moving house"));
    romeo.destroy();
    const report = await stopping;
    assert.equal(report.delay?.cut?.why, "nobody is left");
  });

  it("is brought forward by another stop", async () => {
    await using server = await startServer({ modules: MODULES });
    const romeo = await online(server, "romeo", "x");
    const stopping = server.stop({ delayMs: 10 * MINUTE, announcement: "Moving house" });
    await romeo.waitFor((xml) => xml.includes("Moving house"));
    void server.stop({ trigger: "SIGTERM" });
    const report = await stopping;
    assert.equal(report.delay?.cut?.why, "asked to stop again by SIGTERM");
    await romeo.ended;
  });
});

describe("a lame duck", function () {
  this.timeout(60_000);

  it("serves everything for the configured time while it is not ready, and tells nobody", async () => {
    await using server = await startServer({ modules: MODULES, shutdown: { delay: "10m" } });
    const stopping = server.stop();
    assert.equal(isReady(server.server.lifecycle), false);
    const romeo = await online(server, "romeo", "x");
    const juliet = await online(server, "juliet", "x");
    juliet.send('<message to="romeo@a.test/x" type="chat"><body>welcome</body></message>');
    await romeo.waitFor((xml) => xml.includes("welcome"));
    await romeo.close();
    await juliet.close();
    // Nobody is there, and it goes on all the same.
    await server.login("romeo", "y");
    assert.equal(server.status.phase, "announce");
    assert.deepEqual(headlines(juliet), []);
    server.server.lifecycle.hurry("a second signal");
    const report = await stopping;
    assert.equal(report.delay?.askedMs, 10 * MINUTE);
    assert.equal(report.hurried, true);
  });
});
