import assert from "node:assert/strict";
import type { JournalStatus } from "../../../src/server/s2s/journal.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { startServer } from "../../../src/testing/start-server.ts";

describe("a server that goes down with a peer that accepts and never answers", function () {
  this.timeout(60_000);

  for (const [journal, exitCode] of [
    ["absence", 0],
    ["off", 3],
  ] as const) {
    const rest =
      journal === "off" ? "names everything that the mute one did not get" : "keeps what the mute one is owed";
    it(`tells the other domains, ends within its budget, and ${rest}`, async () => {
      await using mute = await ScriptedPeer.start({ domain: "mute.test", script: { header: "ignore" } });
      await using good = await ScriptedPeer.start({ domain: "good.test" });
      const config = { shutdown: { deadline: "8s" }, s2s: { journal } };
      await using running = await startServer(config, { peers: [mute, good] });
      const client = await running.login("romeo", "r");
      client.presence("<presence to='x@mute.test'/>");
      client.presence("<presence to='x@good.test'/>");
      await good.until(() => good.stanzas.length === 1, "the presence");
      const report = await running.stop();
      assert.equal(report.exitCode, exitCode);
      assert.ok(report.durationMs <= 8_000, `${report.durationMs} ms`);
      const told = new Map(report.obligations.destinations.map((totals) => [totals.destination, totals]));
      const of = told.get("mute.test");
      if (journal === "off") {
        assert.deepEqual(of?.lostNames.toSorted(), [
          "presence romeo@a.test/r -> x@mute.test",
          "presence romeo@a.test/r -> x@mute.test",
        ]);
      } else {
        assert.deepEqual([of?.lost, of?.stored], [0, 2]);
        const { mode, waiting, domains } = report.sections.journal as JournalStatus;
        assert.deepEqual({ mode, waiting, domains }, { mode: "absence", waiting: 1, domains: { "mute.test": 1 } });
      }
      assert.equal(told.get("good.test")?.lost ?? 0, 0);
      assert.deepEqual(
        good.stanzas.map(({ attrs }) => attrs.type ?? "available"),
        ["available", "unavailable"],
      );
    });
  }
});
