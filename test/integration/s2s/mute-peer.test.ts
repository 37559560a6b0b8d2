import assert from "node:assert/strict";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { startServer } from "../../../src/testing/start-server.ts";

describe("a server that goes down with a peer that accepts and never answers", function () {
  this.timeout(60_000);

  it("tells the other domains, ends within its budget, and names everything that the mute one did not get", async () => {
    await using mute = await ScriptedPeer.start({ domain: "mute.test", script: { header: "ignore" } });
    await using good = await ScriptedPeer.start({ domain: "good.test" });
    await using running = await startServer({ shutdown: { deadline: "8s" } }, { peers: [mute, good] });
    const client = await running.login("romeo", "r");
    client.presence("<presence to='x@mute.test'/>");
    client.presence("<presence to='x@good.test'/>");
    const report = await running.stop();
    assert.equal(report.exitCode, 3);
    assert.ok(report.durationMs <= 8_000, `${report.durationMs} ms`);
    const told = new Map(report.obligations.destinations.map((totals) => [totals.destination, totals]));
    assert.deepEqual(told.get("mute.test")?.lostNames.toSorted(), [
      "presence romeo@a.test/r -> x@mute.test",
      "presence romeo@a.test/r -> x@mute.test",
    ]);
    assert.equal(told.get("good.test")?.lost ?? 0, 0);
    assert.deepEqual(
      good.stanzas.map(({ attrs }) => attrs.type ?? "available"),
      ["available", "unavailable"],
    );
  });
});
