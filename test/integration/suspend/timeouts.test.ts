// No time of ours runs out while a server is suspended in mode hold, and all of it begins anew afterwards: on a clock moved by
// hand, over hours.

import assert from "node:assert/strict";
import { defineModule } from "../../../src/module.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { MemoryNetwork } from "../../../src/testing/memory-network.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { startServer } from "../../../src/testing/start-server.ts";
import { advanceUntil } from "../../support/federation.ts";
import { SmClient } from "../../support/sm-client.ts";

const HOLD = { reason: "a backup", trigger: "test", mode: "hold" } as const;
const BACK = { reason: "done", trigger: "test" };
const HOUR = 3_600_000;

describe("while a server is suspended in mode hold", function () {
  this.timeout(60_000);

  it("nobody is too late: not to log in, to be back, to answer, to acknowledge; and modules' timers wait", async () => {
    const clock = new ManualClock();
    const network = new MemoryNetwork({ clock, latencyMs: 5 });
    /** Waits for something on a clock that has to be moved for it. */
    const moving = async <Value>(work: Promise<Value>): Promise<Value> => {
      let isOver = false;
      const over = (): void => {
        isOver = true;
      };
      work.then(over, over);
      await advanceUntil(clock, () => isOver, "it is over");
      return await work;
    };
    const fired: string[] = [];
    const timers = defineModule({
      name: "timers",
      load: (api) => {
        api.timer(60_000, () => fired.push("timer"));
        void api.clock.sleep(60_000).then(() => fired.push("sleep"));
        api.suspend({ prepare: () => void fired.push("prepare"), suspend: () => void fired.push("suspend") });
      },
    });
    await using peer = await ScriptedPeer.start({ domain: "b.test", clock, network });
    await using running = await startServer(
      { c2s: { sm_max: "5m", sm_ack_timeout: "1m", idle_timeout: "15m" } },
      { clock, network, peers: [peer], modules: [timers] },
    );
    const { server } = running;
    const plain = await running.login("romeo", "orchard");
    const gone = await moving(SmClient.start(running, "juliet", "balcony"));
    gone.raw.reset();
    await advanceUntil(clock, () => running.status.hibernating === 1, "its session waits");
    const stranger = running.client({ username: "romeo" });
    await moving(stranger.connect());
    plain.send("<message to='x@b.test' id='m1'><body>hi</body></message>");
    await advanceUntil(clock, () => peer.arrived.length === 1, "the message arrived");
    peer.send("<message from='x@b.test' to='romeo@a.test/orchard'><body>hello</body></message>");
    await moving(plain.waitFor((xml) => xml.includes("hello")));
    const counts = () => {
      const { connections, sessions, hibernating, s2s } = running.status;
      return { connections, sessions, hibernating, incoming: s2s.incoming, outgoing: s2s.outgoing };
    };
    const before = counts();

    assert.equal((await moving(server.suspend(HOLD))).outcome, "suspended");
    const spaces = peer.connections.length;
    for (let hours = 0; hours < 3; hours++) {
      // In steps, because timers that set themselves anew are many.
      for (let step = 0; step < 60; step++) await clock.advance(HOUR / 60);
    }
    assert.deepEqual(fired, ["prepare", "suspend"]);
    assert.deepEqual(counts(), before);
    assert.equal(peer.connections.length, spaces, "streams were closed or opened");
    assert.equal((await moving(server.resume(BACK))).resumed, true);
    await advanceUntil(clock, () => fired.length === 4, "the timers fired");
    assert.deepEqual(fired.slice(2).toSorted(), ["sleep", "timer"]);

    // What had begun to run before has its whole time again.
    await clock.advance(20_000);
    assert.equal(running.status.connections, before.connections);
    const answered = plain.iq("get", "<nothing xmlns='urn:example'/>");
    assert.match(await moving(answered), /service-unavailable/);
    await clock.advance(20_000);
    assert.equal((await moving(stranger.ended)).streamError, "connection-timeout");
    const back = await moving(SmClient.resume(running, gone.identity));
    assert.match(back.answer, /^<resumed/);
  });
});
