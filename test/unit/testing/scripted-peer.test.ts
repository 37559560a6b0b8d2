import assert from "node:assert/strict";
import { openingTag } from "../../../src/stream/opening-tag.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { MemoryNetwork } from "../../../src/testing/memory-network.ts";
import { ScriptedPeer, type ScriptedPeerOptions } from "../../../src/testing/scripted-peer.ts";
import { NS } from "../../../src/xml/ns.ts";
import { TestAuthority } from "../../support/certificates.ts";
import { advanceUntil, certificatesOf, phaseOf, Side, type SideOptions } from "../../support/federation.ts";

describe("the script of a peer", () => {
  it("is refused when it would not be understood", async () => {
    const clock = new ManualClock();
    const network = new MemoryNetwork({ clock });
    const peer = await ScriptedPeer.start({ domain: "c.test", clock, network });
    const bad: readonly (readonly [string, unknown, RegExp])[] = [
      ["acknowledge", "ignore", /no step "acknowledge"/],
      ["ack", "never", /"ack".*"never"/],
      ["ack", null, /"ack"/],
      ["ack", { act: "never" }, /"ack".*"never"/],
      ["ack", { delay: 5 }, /"ack".*"delay"/],
      ["closing", { say: "<<<", delayMs: 5 }, /"closing".*"delayMs"/],
    ];
    for (const [step, rule, words] of bad) {
      assert.throws(() => peer.when(step as "ack", rule as "ignore"), words);
      await assert.rejects(ScriptedPeer.start({ domain: "d.test", clock, network, script: { [step]: rule } }), words);
    }
    await peer.stop();
  });
});

describe("a scripted peer", () => {
  const authority = TestAuthority.create();
  let clock: ManualClock;
  let network: MemoryNetwork;
  let a: Side;
  let b: ScriptedPeer;

  beforeEach(() => {
    clock = new ManualClock();
    network = new MemoryNetwork({ clock, trusted: new Set(["a.test", "b.test"]) });
  });

  afterEach(async () => {
    a.s2s.destroy();
    await b.stop();
    await clock.advance(0);
    assert.equal(clock.pendingTimers, 0);
  });

  async function meet(
    peer: Partial<ScriptedPeerOptions> = {},
    side: Partial<SideOptions> = {},
  ): Promise<[Side, ScriptedPeer]> {
    b = await ScriptedPeer.start({ domain: "b.test", clock, network, ...peer });
    const routes = new Map([["b.test", { host: "127.0.0.1", port: Number(b.address.split(":")[1]) }]]);
    a = await new Side({ host: "a.test", clock, routes, network, ...side }).start();
    b.routes.set("a.test", `127.0.0.1:${routes.get("a.test")?.port}`);
    return [a, b];
  }

  function kinds(): string[] {
    return b.seen.map(({ kind, element }) => (element === undefined ? kind : element.name));
  }

  async function come(holds: () => boolean): Promise<void> {
    await advanceUntil(clock, holds, "see below").catch((thrown: unknown) => {
      throw new Error(b.history(), { cause: thrown });
    });
  }

  it("takes stanzas after dialback over a back connection, and acknowledges them", async () => {
    await meet();
    a.message("m1", "x@b.test");
    await come(() => a.fates.length === 1);
    assert.deepEqual(a.counts, { "proved/sm-ack": 1 });
    assert.deepEqual(
      b.stanzas.map(({ attrs }) => attrs.id),
      ["m1"],
    );
    assert.equal(b.seen.filter(({ side, kind }) => side === "out" && kind === "connected").length, 1, "asked back");
  });

  it("refuses a key that its owner does not know", async () => {
    await meet();
    const other = new Side({ host: "a.test", clock, routes: new Map(), network });
    await other.start();
    b.routes.set("a.test", other.s2s.listening[0] ?? "");
    a.message("m1", "x@b.test");
    await come(() => a.returned.length === 1);
    other.s2s.destroy();
    assert.equal(b.stanzas.length, 0);
  });

  it("answers pings on a stream of its own", async () => {
    await meet({ abilities: { sm: false } });
    a.message("m1", "x@b.test");
    await come(() => a.fates.length === 1);
    assert.deepEqual(a.counts, { "proved/pong": 1 });
  });

  it("uses TLS and EXTERNAL when it has a certificate", async () => {
    const certificates = certificatesOf("b.test", authority);
    await meet({ certificates }, { certificates: certificatesOf("a.test", authority), config: { require_tls: true } });
    a.message("m1", "x@b.test");
    b.send("<message from='x@b.test' to='y@a.test' id='m2'><body>hi</body></message>");
    await come(() => a.fates.length === 1 && b.sent.every(({ acknowledged }) => acknowledged));
    assert.equal(a.delivered.length, 1);
    assert.ok(!kinds().some((kind) => kind.startsWith("db:")), b.history());
    assert.ok(kinds().includes("auth"));
  });

  it("sends by dialback, having shown a key that it can vouch for", async () => {
    await meet();
    const sent = b.send("<message from='x@b.test' to='y@a.test' id='m1'><body>hi</body></message>");
    await come(() => a.delivered.length === 1);
    assert.equal(sent.written, true);
  });

  it("does each step as late as it is told", async () => {
    await meet({
      script: {
        accept: { delayMs: 100 },
        header: { delayMs: 200 },
        features: { delayMs: 300 },
        dialback: { delayMs: 400, on: "in" },
        enable: { delayMs: 500 },
        ack: { delayMs: 5_000 },
      },
    });
    a.message("m1", "x@b.test");
    await come(() => a.fates.length === 1);
    const at = (pattern: RegExp): number =>
      b.seen.find(({ text, kind }) => kind === "sent" && pattern.test(text))?.at ?? -1;
    assert.equal(at(/<stream:stream/), 300);
    assert.equal(at(/<stream:features/), 600);
    assert.ok(at(/db:result/) >= 1_000);
    assert.ok(at(/<enabled/) >= at(/db:result/) + 500);
    assert.ok(at(/<a /) >= 5_000 + at(/<enabled/));
    assert.deepEqual(a.counts, { "proved/sm-ack": 1 });
  });

  it("can stop acknowledging at any time, and begin again", async () => {
    await meet();
    a.message("m1", "x@b.test");
    await come(() => a.fates.length === 1);
    b.when("ack", "ignore");
    a.message("m2", "x@b.test");
    await come(() => b.stanzas.length === 2);
    assert.equal(a.fates.length, 1);
    b.when("ack", "ordinary");
    a.message("m3", "x@b.test");
    await come(() => a.fates.length >= 3);
  });

  it("can acknowledge what it never got", async () => {
    await meet({ script: { ack: { h: (handled) => handled + 7 } } });
    a.message("m1", "x@b.test");
    await come(() => a.fates.length === 1);
    assert.deepEqual(a.counts, { returned: 1 });
  });

  for (const [step, rule] of [
    ["header", "refuse"],
    ["dialback", "refuse"],
    ["features", { say: "<<< this is not XML" }],
    ["header", "reset"],
    ["features", "half-close"],
  ] as const) {
    it(`can ${typeof rule === "string" ? rule : "send garbage"} at the step "${step}"`, async () => {
      await meet({ script: { [step]: rule } });
      a.message("m1", "x@b.test");
      await come(() => a.returned.length === 1);
      assert.equal(b.stanzas.length, 0);
    });
  }

  it("can refuse to enable acknowledgements, and is asked by pings then", async () => {
    await meet({ script: { enable: { act: "refuse", on: "in" } } });
    a.message("m1", "x@b.test");
    await come(() => a.fates.length === 1);
    assert.deepEqual(a.counts, { "proved/pong": 1 });
  });

  it("does something only so many times, after so many times of the ordinary", async () => {
    await meet({ script: { stanza: { act: "reset", skip: 2, times: 1, on: "in" } } });
    a.presence(4, "x@b.test");
    await come(() => b.stanzas.length >= 4);
    assert.equal(b.seen.filter(({ kind, text }) => kind === "over" && text === "reset").length, 1);
  });

  it("can refuse connections, and take them again on the same port", async () => {
    await meet();
    await b.refuse();
    a.message("m1", "x@b.test");
    await come(() => a.returned.length === 1);
    await b.listen();
    await clock.advance(600_000);
    a.message("m2", "x@b.test");
    await come(() => b.stanzas.length === 1);
  });

  it("can crash and come back", async () => {
    await meet();
    a.presence(1, "x@b.test");
    await come(() => b.stanzas.length === 1);
    b.when("ack", "ignore");
    a.presence(1, "x@b.test");
    await come(() => b.stanzas.length === 2);
    await b.crash();
    b.when("ack", "ordinary");
    await b.listen();
    await come(() => b.stanzas.length === 3);
  });

  it("can leave a closing tag without an answer", async () => {
    await meet({ script: { closing: "ignore", ack: "ignore" } });
    a.message("m1", "x@b.test");
    await come(() => b.stanzas.length === 1);
    const phase = phaseOf(clock, 20_000);
    let over = false;
    const drained = a.s2s.drain(phase).then(() => {
      over = true;
    });
    await come(() => over);
    await drained;
    phase.end();
    assert.deepEqual(a.counts, { returned: 1 });
    assert.ok(kinds().includes("closing-tag"));
  });

  it("can stop reading in the middle and go on", async () => {
    await meet({ script: { stanza: { act: "stop-reading", skip: 1, times: 1, on: "in" } } });
    a.presence(5, "x@b.test");
    await come(() => b.seen.some(({ element }) => element?.attrs.id === "p1"));
    await clock.advance(500);
    assert.equal(b.stanzas.length, 1, b.history());
    for (const connection of b.connections) connection.goOn();
    await come(() => a.fates.length === 5);
  });

  it("never closes when it is told so, not even after the end of the connection", async () => {
    await meet({ script: { closing: "ignore", end: "ignore", ack: "ignore" } });
    a.message("m1", "x@b.test");
    await come(() => b.stanzas.length === 1);
    const phase = phaseOf(clock, 20_000);
    const drained = a.s2s.drain(phase);
    await clock.advance(20_000);
    await drained;
    phase.end();
    assert.ok(!b.seen.some(({ side, kind }) => side === "in" && kind === "ended"), b.history());
  });

  it("closes first when it is told so, which proves nothing", async () => {
    await meet({ script: { ack: "ignore" } });
    a.message("m1", "x@b.test");
    await come(() => b.stanzas.length === 1);
    b.close();
    await come(() => a.returned.length === 1);
    assert.deepEqual(a.counts, { returned: 1 });
  });

  it("returns a stanza that it refuses, on a stream of its own", async () => {
    await meet({ script: { stanza: { act: "refuse", times: 1, on: "in" } } });
    a.message("m1", "x@b.test");
    await come(() => a.delivered.length === 1);
    assert.equal(a.delivered[0]?.type, "error");
    assert.equal(b.stanzas.length, 0);
  });

  it("does what a test's own function does, and then what that says", async () => {
    await meet({
      script: {
        stanza: (connection, element) => {
          if (element?.attrs.id !== "m2") return "ordinary";
          connection.send("<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
          return "close";
        },
      },
    });
    a.message("m1", "x@b.test");
    a.message("m2", "x@b.test");
    await come(() => a.fates.length === 2);
    assert.equal(a.returned.at(-1), "m2 remote-server-timeout");
  });

  it("does the same thing every time", async () => {
    const histories: string[] = [];
    for (let run = 0; run < 2; run++) {
      clock = new ManualClock();
      network = new MemoryNetwork({ clock, latencyMs: 7 });
      await meet({ script: { ack: { delayMs: 300, skip: 1 }, features: { delayMs: 40 } } });
      a.presence(20, "x@b.test");
      await clock.advance(10_000);
      histories.push(b.history().replaceAll(/[\w-]{24,}/g, "SECRET"));
      a.s2s.destroy();
      await b.stop();
    }
    assert.equal(histories[0], histories[1]);
    assert.ok(histories[0]?.includes("p19"));
  });

  it("takes connections that begin with TLS when it is told so", async () => {
    const certificates = certificatesOf("b.test", authority);
    await meet({ certificates, directTls: true });
    const dialling = network.dial({ host: "127.0.0.1", port: Number(b.address.split(":")[1]) });
    await clock.advance(0);
    const transport = await dialling;
    let text = "";
    transport.setReader({
      onData: (chunk) => {
        text += chunk.toString();
      },
      onEnd: () => transport.end(),
      onDrain: () => undefined,
      onClose: () => undefined,
    });
    const secured = transport.startTls({ role: "client", certificates, serverName: "b.test", localName: undefined });
    await clock.advance(10);
    await secured;
    transport.write(openingTag(NS.server, { from: "a.test", to: "b.test" }));
    await come(() => text.includes("</stream:features>"));
    assert.doesNotMatch(text, /starttls/);
  });

  it("rejects a wait in vain with everything that it saw", async () => {
    await meet();
    a.message("m1", "x@b.test");
    await come(() => b.stanzas.length === 1);
    const waiting = assert.rejects(
      b.until((peer) => peer.stanzas.length === 2, "a second stanza", 1_000),
      /b\.test: a second stanza\n.*<message/s,
    );
    await clock.advance(1_000);
    await waiting;
  });
});
