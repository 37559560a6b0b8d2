// Evacuating with real clients: where they are sent, who stays, who may come, and the way back.

import assert from "node:assert/strict";
import type { RawClient } from "../../../src/testing/raw-client.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";

const OPERATOR = "romeo@a.test";
const CONFIG = { modules: ["roster", "presence", "ping"], admin: { accounts: [OPERATOR] } };
const WISH = { reason: "moving", trigger: "test", pace: 100, timeoutMs: 30_000, onTimeout: "stay" } as const;

async function users(server: TestServer, count: number): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (let index = 0; index < count; index++) clients.push(await server.login("juliet", `r${index}`));
  return clients;
}

describe("an evacuation", function () {
  this.timeout(60_000);

  it("sends all but operators elsewhere, and lets them in again when it is over", async () => {
    await using server = await startServer(CONFIG);
    const operator = await server.login("romeo", "desk");
    const clients = await users(server, 5);
    const report = await server.server.evacuate({ ...WISH, to: "xmpp2.a.test:5322" });
    assert.equal(report.outcome, "suspended");
    assert.equal(report.cause, "evacuate");
    assert.deepEqual(report.left, { count: 0, names: [] });
    assert.equal(server.status.state, "suspended");
    for (const client of clients) {
      await client.ended;
      const error = client.received.find(({ xml }) => xml.includes("<stream:error"))?.xml ?? "";
      assert.match(error, /<see-other-host xmlns="[^"]*">xmpp2\.a\.test:5322<\/see-other-host>/);
    }
    assert.match(await operator.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test"), /type="result"/);
    await assert.rejects(server.login("juliet", "again"));
    const resumed = await server.server.resume({ reason: "back", trigger: "test" });
    assert.deepEqual(resumed, { resumed: true, failed: [] });
    assert.equal(server.status.state, "running");
    await server.login("juliet", "again");
  });

  it("goes at its pace, names who is left, and is called off by a resume", async () => {
    await using server = await startServer(CONFIG);
    const clients = await users(server, 4);
    const progress: { done: number; total: number; blockers: readonly string[] }[] = [];
    server.on("progress", (step) => void progress.push(step));
    const evacuating = server.server.evacuate({ ...WISH, pace: 0.01 });
    await Promise.race(clients.map((client) => client.ended));
    assert.equal(server.status.state, "suspending");
    const resumed = await server.server.resume({ reason: "stay", trigger: "test" });
    assert.equal(resumed.resumed, true);
    const report = await evacuating;
    assert.equal(report.outcome, "called-off");
    assert.equal(report.left.count, 3);
    assert.equal(server.status.sessions, 3);
    await server.login("juliet", "again");
    for (const { total, blockers } of progress) {
      assert.equal(total, 4);
      assert.match(blockers.join(), /juliet@a\.test\/r\d/);
    }
  });

  it("ends sessions that wait for their clients, with unavailable presence for contacts", async () => {
    await using server = await startServer(CONFIG);
    const operator = await server.login("romeo", "desk");
    operator.presence();
    const juliet = await server.login("juliet", "phone");
    juliet.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    await juliet.waitFor((xml) => xml.startsWith("<enabled"));
    juliet.presence('<presence to="romeo@a.test"/>');
    await operator.waitFor((xml) => xml.includes("juliet@a.test/phone"));
    juliet.destroy();
    const report = await server.server.evacuate({ ...WISH });
    assert.equal(report.suspended, true);
    await operator.waitFor((xml) => xml.includes('type="unavailable"') && xml.includes("juliet@a.test/phone"));
    assert.equal(server.status.sessions, 1);
  });

  it("says who is left when time is over, and goes back if it is to", async () => {
    await using server = await startServer(CONFIG);
    await users(server, 3);
    const stayed = await server.server.evacuate({ ...WISH, pace: 0.001, timeoutMs: 3_000 });
    assert.equal(stayed.outcome, "late");
    assert.deepEqual(stayed.late, ["evacuation"]);
    assert.equal(stayed.left.count, 2);
    await server.server.resume({ reason: "again", trigger: "test" });
    const back = await server.server.evacuate({ ...WISH, pace: 0.001, timeoutMs: 1_000, onTimeout: "back" });
    assert.equal(back.outcome, "timed-out");
    assert.equal(server.status.state, "running");
    await server.login("juliet", "again");
  });
});
