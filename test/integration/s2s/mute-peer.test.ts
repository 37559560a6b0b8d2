import assert from "node:assert/strict";
import { TcpNetwork } from "../../../src/net/tcp.ts";
import { startServer } from "../../../src/testing/start-server.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { silentLog } from "../../../src/util/log.ts";
import { OFFERS_SM, type Routes, ScriptedPeer } from "../../unit/server/s2s/harness.ts";

describe("a server that goes down with a peer that accepts and never answers", function () {
  this.timeout(60_000);

  it("tells the other domains, ends within its budget, and names everything that the mute one did not get", async () => {
    const network = new TcpNetwork({ clock: systemClock, log: silentLog });
    const routes: Routes = new Map();
    const mute = await new ScriptedPeer("mute.test", { onHeader: () => false }).start(network, routes);
    const good = await new ScriptedPeer("good.test", { features: OFFERS_SM }).start(network, routes);
    const at = (domain: string): string => `127.0.0.1:${routes.get(domain)?.port}`;
    const running = await startServer({
      s2s: { require_tls: false, routes: { "mute.test": at("mute.test"), "good.test": at("good.test") } },
      shutdown: { deadline: "8s" },
    });
    const client = await running.login("romeo", "r");
    client.presence("<presence to='x@mute.test'/>");
    client.presence("<presence to='x@good.test'/>");
    const report = await running.stop();
    try {
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
    } finally {
      await running.dispose();
      await mute.stop();
      await good.stop();
    }
  });
});
