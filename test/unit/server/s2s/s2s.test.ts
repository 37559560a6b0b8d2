import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { ManualClock } from "../../../../src/testing/manual-clock.ts";
import type { ScriptedPeer } from "../../../../src/testing/scripted-peer.ts";
import { NS } from "../../../../src/xml/ns.ts";
import {
  advanceUntil,
  answersPingsOf,
  Federation,
  type PeerSetup,
  phaseOf,
  type Side,
  type SideOptions,
  until,
} from "../../../support/federation.ts";
import { skip } from "../../../support/skip.ts";

describe("s2s", () => {
  let clock: ManualClock;
  let federation: Federation;

  beforeEach(() => {
    clock = new ManualClock();
    federation = new Federation(clock);
  });

  afterEach(() => federation.end());

  const side = (host: string, options?: Partial<SideOptions>): Promise<Side> => federation.side(host, options);
  const peer = (domain: string, setup?: PeerSetup): Promise<ScriptedPeer> => federation.peer(domain, setup);

  describe("between two of us, by dialback", () => {
    it("delivers both ways and proves it by pings", async () => {
      const a = await side("a.test");
      const b = await side("b.test");
      a.message("m1", "juliet@b.test");
      await until(() => b.delivered.length === 1, "the message arrived");
      b.message("m2", "romeo@a.test");
      await until(() => a.delivered.length === 1, "the answer arrived");
      assert.equal(b.delivered[0]?.text.includes('id="m1"'), true);
      await advanceUntil(clock, () => a.fates.length >= 1 && b.fates.length >= 1, "both proved");
      assert.equal(a.counts["proved/pong"], a.fates.length);
    });

    it("drains a cold link: the peer dials back while we go down", async () => {
      const a = await side("a.test");
      const b = await side("b.test");
      a.presence(100, "juliet@b.test", "unavailable");
      const phase = phaseOf(clock, 20_000);
      await a.s2s.drain(phase);
      phase.end();
      assert.equal(b.delivered.length, 100);
      assert.deepEqual(a.counts, { "proved/pong": 100 });
      assert.equal(clock.now(), 0);
    });

    it("drains a warm link of 6000 presences without the clock moving", async () => {
      const a = await side("a.test");
      const b = await side("b.test");
      a.message("warm", "juliet@b.test");
      await until(() => b.delivered.length === 1, "the link is warm");
      a.presence(6_000, "juliet@b.test", "unavailable");
      const phase = phaseOf(clock, 20_000);
      await a.s2s.drain(phase);
      phase.end();
      assert.equal(b.delivered.length, 6_001);
      assert.equal(a.counts["proved/pong"], a.fates.length);
      assert.deepEqual(a.s2s.status(), { outgoing: 0, incoming: 0, queued: 0 });
      assert.equal(clock.now(), 0);
    });

    it("hands over what the peer had already sent before it closes the inbound stream", async () => {
      const a = await side("a.test");
      const b = await side("b.test");
      b.message("warm", "romeo@a.test");
      await until(() => a.delivered.length === 1, "the link is warm");
      for (let n = 0; n < 500; n++) b.message(`m${n}`, "romeo@a.test");
      const phase = phaseOf(clock, 20_000);
      await a.s2s.drain(phase);
      phase.end();
      await advanceUntil(clock, () => b.fates.length >= 501, "every message has a fate");
      const proved = b.fates.filter(({ fate }) => fate === "proved").length;
      assert.ok(a.delivered.length >= proved, `${proved} proved, ${a.delivered.length} delivered`);
    });

    it("takes nothing more after the drain", async () => {
      const a = await side("a.test", { sendersPresent: false });
      await a.s2s.close({ timeoutMs: 1_000 });
      a.message("late", "juliet@b.test");
      assert.deepEqual(
        a.fates.map(({ fate, name }) => [fate, name]),
        [["lost", "message user@a.test/r -> juliet@b.test id=late"]],
      );
    });
  });

  describe("with a peer that acknowledges (XEP-0198)", () => {
    it("proves by acks and asks once for many stanzas", async () => {
      const b = await peer("b.test", { abilities: { sm: true } });
      const a = await side("a.test");
      a.presence(1_000, "juliet@b.test");
      await a.s2s.close({ timeoutMs: 20_000 });
      assert.equal(b.stanzas.length, 1_000);
      assert.deepEqual(a.counts, { "proved/sm-ack": 1_000 });
      const asked = b.seen.filter(({ element }) => element?.is("r", NS.sm)).length;
      assert.ok(asked > 0 && asked < 50, `asked ${asked} times`);
    });

    it("ends the stream when the peer acknowledges more than it was sent", async () => {
      const b = await peer("b.test", { abilities: { sm: true }, script: { ack: { h: 99 } } });
      const a = await side("a.test");
      a.message("m1", "juliet@b.test");
      await advanceUntil(clock, () => a.fates.length === 1, "the message has a fate");
      assert.deepEqual(a.returned, ["m1 remote-server-timeout"]);
      assert.equal(b.stanzas.length, 1);
    });

    it("takes the answer to its closing tag where no ack comes", async () => {
      await peer("b.test", { abilities: { sm: true }, script: { ack: "ignore" } });
      const a = await side("a.test");
      a.presence(10, "juliet@b.test");
      const phase = phaseOf(clock, 20_000);
      const drained = a.s2s.drain(phase);
      await advanceUntil(clock, () => a.fates.length === 10, "all proved", 20_000);
      await drained;
      phase.end();
      assert.deepEqual(a.counts, { "proved/closed": 10 });
    });

    it("goes on with pings when the peer refuses what it offered", async () => {
      const a = await side("a.test");
      await peer("b.test", { abilities: { sm: true }, script: { enable: "refuse", pong: answersPingsOf(() => a) } });
      a.presence(10, "juliet@b.test");
      await a.s2s.close({ timeoutMs: 20_000 });
      assert.deepEqual(a.counts, { "proved/pong": 10 });
    });
  });

  describe("with peers that fail", () => {
    it("returns what cannot be delivered, and refuses at once while it backs off", async () => {
      const a = await side("a.test");
      federation.nobodyAt("refuses.test");
      a.message("m1", "x@nowhere.test");
      a.message("m2", "x@refuses.test");
      await until(() => a.returned.length === 2, "both came back");
      assert.deepEqual(a.returned.toSorted(), ["m1 remote-server-not-found", "m2 remote-server-timeout"]);
      a.message("m3", "x@nowhere.test");
      assert.equal(a.returned.at(-1), "m3 remote-server-not-found");
      const b = await peer("refuses.test");
      a.message("m4", "x@refuses.test");
      assert.equal(a.returned.at(-1), "m4 remote-server-timeout");
      await clock.advance(130_000);
      a.message("m5", "x@refuses.test");
      await until(() => b.stanzas.length === 1, "after the back-off it is tried again");
    });

    it("gives up on a peer that never answers, without holding up the others", async () => {
      const mute = await peer("mute.test", { script: { header: "ignore" } });
      const a = await side("a.test", { sendersPresent: false });
      const b = await side("b.test");
      a.presence(5, "x@mute.test", "unavailable");
      a.presence(5, "x@b.test", "unavailable");
      const phase = phaseOf(clock, 20_000);
      const drained = a.s2s.drain(phase);
      await until(() => b.delivered.length === 5 && a.fates.length === 5, "the others are done");
      assert.equal(clock.now(), 0);
      await advanceUntil(clock, () => a.fates.length === 10, "the mute peer's have their fate", 20_001);
      await advanceUntil(clock, () => a.s2s.status().incoming === 0, "closed", 20_001);
      await drained;
      phase.end();
      assert.deepEqual(a.counts, { "proved/pong": 5, lost: 5 });
      assert.ok(phase.seen.some(({ blockers }) => blockers?.[0]?.startsWith("mute.test")));
      assert.equal(mute.stanzas.length, 0);
      assert.ok(clock.now() <= 20_000);
    });

    it("sends presence again when the stream breaks, and returns messages", async () => {
      const a = await side("a.test");
      let breaks = true;
      const b = await peer("b.test", {
        script: {
          pong: answersPingsOf(() => a),
          stanza: (_connection, element) => {
            if (!breaks || element?.attrs.id !== "p4") return "ordinary";
            breaks = false;
            return "reset";
          },
        },
      });
      a.message("m1", "x@b.test");
      a.presence(5, "x@b.test");
      const again = (): number => b.arrived.filter(({ connection }) => connection === b.connections[1]).length;
      await until(() => b.connections.length === 2 && again() === 5, "presence came again");
      await advanceUntil(clock, () => a.fates.length === 6, "all have their fate");
      assert.deepEqual(a.counts, { returned: 1, "proved/pong": 5 });
      assert.deepEqual(a.returned, ["m1 remote-server-timeout"]);
    });

    it("gets through to a peer that resets while we drain", async () => {
      const a = await side("a.test", { sendersPresent: false });
      let resets = 2;
      const b = await peer("b.test", {
        script: {
          pong: answersPingsOf(() => a),
          stanza: (_connection, element) => (element?.attrs.id !== "p9" || resets-- <= 0 ? "ordinary" : "reset"),
        },
      });
      a.presence(10, "x@b.test", "unavailable");
      a.message("m1", "x@b.test");
      const phase = phaseOf(clock, 20_000);
      const drained = a.s2s.drain(phase);
      await advanceUntil(clock, () => a.fates.length === 11, "all have their fate", 20_000);
      await drained;
      phase.end();
      assert.deepEqual(a.counts, { "proved/pong": 11 });
      assert.equal(b.connections.length, 3);
    });

    it("closes and dials anew for proof when answers to pings do not come", async () => {
      const b = await peer("b.test");
      const a = await side("a.test");
      a.message("m1", "x@b.test");
      await advanceUntil(clock, () => a.fates.length === 1, "proved by closing");
      assert.deepEqual(a.counts, { "proved/closed": 1 });
      a.message("m2", "x@b.test");
      await advanceUntil(clock, () => a.fates.length === 2, "proved again");
      assert.deepEqual(a.counts, { "proved/closed": 2 });
      assert.equal(b.connections.length, 2);
    });

    it("does not take a closing tag for proof when the peer closed first or reported an error", async () => {
      const fault = `<stream:error><reset xmlns='${NS.streamErrors}'/></stream:error></stream:stream>`;
      await peer("b.test", {
        script: {
          stanza: (_connection, element) => (element?.attrs.id === "m1" ? "close" : { say: fault }),
        },
      });
      const a = await side("a.test");
      a.message("m1", "x@b.test");
      await advanceUntil(clock, () => a.fates.length === 1, "the first came back", 60_000);
      a.message("m2", "x@b.test");
      await advanceUntil(clock, () => a.fates.length === 2, "the second came back", 60_000);
      assert.deepEqual(a.counts, { returned: 2 });
    });
  });

  describe("while it runs", () => {
    it("keeps the latest presence while it backs off, and tells the contact when the other server is back", async () => {
      const a = await side("a.test", { sendersPresent: false });
      federation.nobodyAt("b.test");
      a.presence(3, "x@b.test");
      await until(() => a.s2s.links()[0]?.state === "backing-off", "b.test cannot be reached");
      a.presence(3, "x@b.test", "unavailable");
      assert.equal(a.fates.length, 0);
      const b = await peer("b.test", { script: { pong: answersPingsOf(() => a) } });
      await advanceUntil(clock, () => a.fates.length === 6, "all have their fate");
      assert.deepEqual(
        b.stanzas.map(({ attrs }) => attrs.type),
        ["unavailable", "unavailable", "unavailable"],
      );
      assert.deepEqual(a.counts, { "proved/pong": 6 });
    });

    it("gives kept presence up in the end, each by name, and holds no timer then", async () => {
      const a = await side("a.test", { sendersPresent: false });
      federation.nobodyAt("b.test");
      a.presence(2, "x@b.test", "unavailable");
      await advanceUntil(clock, () => a.fates.length === 2, "given up", 3 * 3_600_000);
      assert.deepEqual(
        a.fates.map(({ fate, name }) => [fate, name]),
        [0, 1].map((n) => ["lost", `presence user${n}@a.test/r -> x@b.test id=p${n}`]),
      );
      await clock.advance(3_600_000);
      assert.deepEqual(a.s2s.links(), []);
    }).timeout(60_000);

    it("does not keep presence for a domain that does not exist", async () => {
      const a = await side("a.test", { sendersPresent: false });
      a.presence(1, "x@nowhere.test", "unavailable");
      await until(() => a.fates.length === 1, "lost at once");
      a.presence(1, "x@nowhere.test", "unavailable");
      assert.deepEqual(a.counts, { lost: 2 });
    });

    it("tries kept presence once more when it goes down", async () => {
      const a = await side("a.test", { sendersPresent: false });
      const b = await peer("b.test", { script: { pong: answersPingsOf(() => a), header: "reset" } });
      a.presence(2, "x@b.test", "unavailable");
      await until(() => a.s2s.links()[0]?.state === "backing-off", "b.test cannot be reached");
      b.when("header", "ordinary");
      await a.s2s.close({ timeoutMs: 20_000 });
      assert.deepEqual(a.counts, { "proved/pong": 2 });
    });

    it("backs off from a peer that breaks every stream, and returns each message once", async () => {
      const a = await side("a.test");
      const b = await peer("b.test", { script: { stanza: "reset" } });
      for (let n = 0; n < 10; n++) {
        a.message(`m${n}`, "x@b.test");
        await until(() => a.returned.length === n + 1, "it came back");
      }
      assert.deepEqual(
        a.returned,
        Array.from({ length: 10 }, (_, n) => `m${n} remote-server-timeout`),
      );
      assert.equal(b.connections.length, 3);
      assert.equal(a.fates.length, 10);
    });

    it("asks a name server nothing more once it is destroyed", async () => {
      let asked = 0;
      let closed = 0;
      const never = (): Promise<never> => {
        asked++;
        return new Promise(() => undefined);
      };
      const nameServer = { resolveSrv: never, resolve4: never, resolve6: never, close: () => void closed++ };
      const a = await side("a.test", { nameServer });
      a.message("m1", "x@b.test");
      await until(() => asked > 0, "a question is under way");
      a.s2s.destroy();
      assert.equal(closed, 1);
      await until(() => a.fates.length === 1, "the message has its fate");
    });

    for (const [family, host] of [
      ["IPv4", "127.0.0.1"],
      ["IPv6", "::1"],
    ] as const) {
      it(`federates over ${family} with a domain in another script`, async function () {
        if (!hasAddress(host)) skip(this, `this machine has no address ${host}`);
        const a = await side("a.test");
        const b = await side("bücher.test", { config: { listen: [host === "::1" ? "[::1]:0" : `${host}:0`] } });
        federation.routes.set("xn--bcher-kva.test", { host, port: Number(b.s2s.listening[0]?.split(":").at(-1)) });
        a.message("m1", "x@BÜCHER.test");
        await until(() => b.delivered.length === 1, "it arrived");
        assert.equal(b.delivered[0]?.to?.domain, "bücher.test");
        b.message("m2", "y@A.TEST");
        await until(() => a.delivered.length === 1, "the answer arrived");
      });
    }
  });

  describe("bounds", () => {
    it("returns what exceeds the queue of a link", async () => {
      await peer("mute.test", { script: { header: "ignore" } });
      const a = await side("a.test", { config: { max_queue: 3 } });
      for (let n = 0; n < 5; n++) a.message(`m${n}`, "x@mute.test");
      assert.deepEqual(a.returned, ["m3 resource-constraint", "m4 resource-constraint"]);
    });

    it("counts what is written and not proved as part of the queue", async () => {
      const b = await peer("b.test");
      const a = await side("a.test", { config: { max_queue: 3 } });
      for (let n = 0; n < 3; n++) a.message(`m${n}`, "x@b.test");
      await until(() => b.stanzas.length === 3, "all were written");
      a.message("m3", "x@b.test");
      assert.deepEqual(a.returned, ["m3 resource-constraint"]);
    });

    it("asks for proof about every hundred stanzas, and after some quiet", async () => {
      const a = await side("a.test");
      const b = await peer("b.test", { script: { pong: answersPingsOf(() => a) } });
      a.presence(150, "x@b.test");
      const pings = (): number => b.seen.filter(({ element }) => element?.getChild("ping", NS.ping)).length;
      await until(() => b.stanzas.length === 150 && pings() > 0, "all were written");
      assert.ok(pings() <= 2, `${pings()} pings`);
      await advanceUntil(clock, () => a.fates.length === 150, "the rest after some quiet", 10_000);
    });

    it("closes a stream that has been idle for long", async () => {
      const a = await side("a.test");
      const b = await peer("b.test", { script: { pong: answersPingsOf(() => a) } });
      a.message("m1", "x@b.test");
      await advanceUntil(clock, () => a.fates.length === 1, "proved");
      assert.equal(a.s2s.status().outgoing, 1);
      await clock.advance(20 * 60_000);
      await until(() => a.s2s.status().outgoing === 0, "closed");
      assert.equal(b.connections.length, 1);
    });
  });
});

function hasAddress(address: string): boolean {
  return Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === address));
}
