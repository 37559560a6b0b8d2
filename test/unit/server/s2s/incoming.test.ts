import assert from "node:assert/strict";
import { TcpNetwork } from "../../../../src/net/tcp.ts";
import { ManualClock } from "../../../../src/testing/manual-clock.ts";
import type { ScriptedPeer } from "../../../../src/testing/scripted-peer.ts";
import { silentLog } from "../../../../src/util/log.ts";
import { NS } from "../../../../src/xml/ns.ts";
import {
  advanceUntil,
  phaseOf,
  type Routes,
  Side,
  type SideOptions,
  startPeer,
  until,
} from "../../../support/federation.ts";

const HEADER = `<?xml version='1.0'?><stream:stream xmlns='${NS.server}' xmlns:stream='${NS.streams}' xmlns:db='${NS.dialback}'`;
const OPEN = `${HEADER} from='b.test' to='a.test' version='1.0'>`;
const KEY = "<db:result from='b.test' to='a.test'>some key</db:result>";

describe("a stream from another server", () => {
  let clock: ManualClock;
  let network: TcpNetwork;
  let routes: Routes;
  let peer: ScriptedPeer;
  let a: Side;
  /** Whether whoever is connected closes when we do. */
  let closesToo: boolean;

  beforeEach(async () => {
    clock = new ManualClock();
    network = new TcpNetwork({ clock, log: silentLog });
    routes = new Map();
    closesToo = true;
    peer = await startPeer("b.test", { clock, routes });
  });

  afterEach(async () => {
    a.s2s.destroy();
    await peer.stop();
  });

  /** Connects to a.test as somebody who writes what he likes; what comes back is in `text`. */
  async function connect(
    options: Partial<SideOptions> = {},
  ): Promise<{ text: () => string; send: (xml: string) => void }> {
    a = await new Side({ host: "a.test", clock, routes, ...options }).start();
    return await dial();
  }

  async function dial(): Promise<{ text: () => string; send: (xml: string) => void }> {
    const transport = await network.dial({ host: "127.0.0.1", port: routes.get("a.test")?.port ?? 0 });
    let text = "";
    transport.setReader({
      onData: (chunk) => {
        text += chunk.toString();
        if (closesToo && text.includes("</stream:stream>")) transport.end();
      },
      onEnd: () => transport.end(),
      onDrain: () => undefined,
      onClose: () => {
        text += "[closed]";
      },
    });
    return { text: () => text, send: (xml) => transport.write(xml) };
  }

  async function authenticated(options: Partial<SideOptions> = {}): ReturnType<typeof connect> {
    const stream = await connect(options);
    stream.send(OPEN + KEY);
    await until(() => stream.text().includes('type="valid"'), "the key was accepted");
    return stream;
  }

  const message = (from: string, to: string) => `<message from='${from}' to='${to}'><body>hi</body></message>`;

  const refused: [string, string, string][] = [
    ["a stanza before authentication", OPEN + message("x@b.test", "y@a.test"), "not-authorized"],
    ["a host we do not serve", `${HEADER} from='b.test' to='c.test' version='1.0'>`, "host-unknown"],
    ["a peer that claims to be us", `${HEADER} from='a.test' to='a.test' version='1.0'>`, "invalid-from"],
    ["a client's stream", OPEN.replace(NS.server, NS.client), "invalid-namespace"],
    ["an element it does not know", `${OPEN}<x xmlns='urn:x'/>`, "unsupported-stanza-type"],
    ["a key for a host we do not serve", `${OPEN}<db:result from='b.test' to='c.test'>k</db:result>`, "host-unknown"],
    ["a key from ourselves", `${OPEN}<db:result from='a.test' to='a.test'>k</db:result>`, "invalid-from"],
    ["SASL without a certificate", `${OPEN}<response xmlns='${NS.sasl}'/>`, "not-authorized"],
    ["a stanza too large before authentication", `${OPEN}<message>${"x".repeat(20_000)}</message>`, "policy-violation"],
  ];
  for (const [what, sent, condition] of refused) {
    it(`ends with ${condition} for ${what}`, async () => {
      const stream = await connect();
      stream.send(sent);
      await until(() => stream.text().includes("[closed]"), "closed");
      assert.match(
        stream.text(),
        new RegExp(`<stream:error><${condition} [^>]*/>.*</stream:stream>\\[closed\\]$`, "s"),
      );
      assert.equal(a.delivered.length, 0);
    });
  }

  it("wants TLS first where it is required", async () => {
    const stream = await connect({ config: { require_tls: true } });
    stream.send(OPEN + KEY);
    await until(() => stream.text().includes("[closed]"), "closed");
    assert.match(stream.text(), /<required\/>/);
    assert.match(stream.text(), /policy-violation/);
    assert.doesNotMatch(stream.text(), /features:dialback/);
  });

  it("ends when nobody authenticates in time", async () => {
    const stream = await connect();
    stream.send(OPEN);
    await advanceUntil(clock, () => stream.text().includes("connection-timeout"), "timed out", 40_000);
  });

  const wrong: [string, string, string, string][] = [
    ["another domain", "x@c.test", "y@a.test", "invalid-from"],
    ["a host we do not serve", "x@b.test", "y@c.test", "host-unknown"],
    ["nobody", "x@b.test", "", "improper-addressing"],
    ["no address", "x@b test", "y@a.test", "improper-addressing"],
  ];
  for (const [what, from, to, condition] of wrong) {
    it(`ends with ${condition} for a stanza from or to ${what}, on a stream for another pair`, async () => {
      const stream = await authenticated();
      stream.send(message(from, to));
      await until(() => stream.text().includes("[closed]"), "closed");
      assert.ok(stream.text().includes(`<${condition} `));
      assert.equal(a.delivered.length, 0);
    });
  }

  it("carries another pair of domains once that is authenticated too, and refuses one without ending", async () => {
    const other = await startPeer("c.test", { clock, routes });
    const stream = await authenticated();
    stream.send("<db:result from='c.test' to='a.test'>k</db:result>");
    await until(() => stream.text().includes('to="c.test" type="valid"'), "the second pair");
    stream.send("<db:result from='nowhere.test' to='a.test'>k</db:result>");
    await until(() => stream.text().includes("remote-server-not-found"), "the third pair was refused");
    stream.send(message("x@b.test", "y@a.test") + message("x@c.test", "y@a.test"));
    await until(() => a.delivered.length === 2, "both were delivered");
    assert.ok(!stream.text().includes("stream:error"));
    await other.stop();
  });

  it("does not believe a key that the authoritative server denies", async () => {
    peer.when("verify", "refuse");
    const stream = await connect();
    stream.send(OPEN + KEY);
    await until(() => stream.text().includes("[closed]"), "closed");
    assert.match(stream.text(), /type="invalid"/);
  });

  it("answers other servers' questions about keys, also while it drains", async () => {
    const stream = await connect();
    a.message("m1", "x@b.test");
    await until(() => peer.stanzas.length === 1, "our stream to b.test is open");
    const drained = a.s2s.drain(phaseOf(clock, 20_000));
    stream.send(`${OPEN}<db:verify from='b.test' to='a.test' id='b.test-1'>wrong</db:verify>`);
    await until(() => stream.text().includes('type="invalid"'), "answered");
    await advanceUntil(clock, () => stream.text().includes("[closed]"), "closed", 20_000);
    await advanceUntil(clock, () => a.s2s.status().incoming === 0, "drained", 20_000);
    await drained;
  });

  it("speaks to a peer without a version by dialback alone", async () => {
    const stream = await connect();
    stream.send(`${HEADER}>${KEY}`);
    await until(() => stream.text().includes('type="valid"'), "accepted");
    assert.doesNotMatch(stream.text(), /features/);
    stream.send(message("x@b.test", "y@a.test"));
    await until(() => a.delivered.length === 1, "delivered");
  });

  it("acknowledges only what has been taken over, and says so last at the end", async () => {
    closesToo = false;
    const waiting: (() => void)[] = [];
    const stream = await authenticated({
      deliver: () => new Promise<void>((resolve) => waiting.push(resolve)),
    });
    stream.send(`<enable xmlns='${NS.sm}'/>${message("x@b.test", "y@a.test").repeat(2)}<r xmlns='${NS.sm}'/>`);
    await until(() => waiting.length === 1, "the first is being handled");
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(waiting.length, 1);
    assert.doesNotMatch(stream.text(), /<a /);
    waiting[0]?.();
    await until(() => waiting.length === 2, "the second");
    const drained = a.s2s.close({ timeoutMs: 20_000 });
    waiting[1]?.();
    await until(() => /h='2'.*system-shutdown.*<\/stream:stream>/s.test(stream.text()), "the last ack, then the end");
    // Not acknowledged, so the peer returns it to its sender: here it must not be delivered as well.
    stream.send(`${message("x@b.test", "y@a.test")}</stream:stream>`);
    await drained;
    assert.equal(a.delivered.length, 2);
  });

  it("says last how much it took when a stanza is still being handled as time grows short, and begins no other", async () => {
    closesToo = false;
    const waiting: (() => void)[] = [];
    const stream = await authenticated({
      deliver: () => new Promise<void>((resolve) => waiting.push(resolve)),
    });
    stream.send(`<enable xmlns='${NS.sm}'/>${message("x@b.test", "y@a.test").repeat(3)}`);
    await until(() => waiting.length === 1, "the first is being handled");
    const drained = a.s2s.close({ timeoutMs: 20_000 });
    for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve));
    // More than a quarter of the time for closing, and less than half of it.
    await clock.advance(1_500);
    assert.doesNotMatch(stream.text(), /<a /);
    waiting[0]?.();
    await until(() => stream.text().includes("</stream:stream>"), "the end");
    assert.match(stream.text(), /<a [^>]*h='1'\/><stream:error>/);
    stream.send("</stream:stream>");
    await drained;
    assert.equal(a.delivered.length, 1);
  });

  for (const [how, deliver] of [
    ["at once", () => undefined],
    ["by and by", () => new Promise<void>((resolve) => setImmediate(resolve))],
  ] as const) {
    it(`acknowledges exactly what it took ${how} from a peer that goes on sending while we go down`, async () => {
      const stream = await authenticated({ deliver });
      stream.send(`<enable xmlns='${NS.sm}'/>`);
      await until(() => stream.text().includes("<enabled"), "acknowledgements");
      let sent = 0;
      let beforeStop = 0;
      const drained = (async () => {
        await until(() => sent >= 120, "it is sending");
        beforeStop = sent;
        await a.s2s.close({ timeoutMs: 20_000 });
      })();
      while (!stream.text().includes("</stream:stream>")) {
        stream.send(`<message id='m${sent++}' from='x@b.test' to='y@a.test'/>`);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await drained;
      const told = [...stream.text().matchAll(/<a [^>]*h='(\d+)'/g)].map(([, h]) => Number(h));
      const ids = a.delivered.map(({ id }) => id);
      assert.equal(told.at(-1), ids.length);
      assert.deepEqual(
        ids,
        Array.from(ids, (_, n) => `m${n}`),
      );
      assert.ok(ids.length >= beforeStop, `${ids.length} handled, ${beforeStop} sent before the stop`);
      // Told without being asked, also while it was running.
      assert.ok(told.length > 2 && (told[0] ?? 0) <= 120, `told ${told.join(" ")}`);
      assert.match(stream.text(), /h='\d+'\/><stream:error><system-shutdown /);
    });
  }

  it("reads on to the end of a peer that sends more than can be stored in the time for a close", async () => {
    closesToo = false;
    const stream = await authenticated({ deliver: () => clock.sleep(2_000) });
    const drained = a.s2s.drain(phaseOf(clock, 60_000));
    await advanceUntil(clock, () => stream.text().includes("</stream:stream>"), "our closing tag", 60_000);
    const sentAt = clock.now();
    stream.send(`${message("x@b.test", "y@a.test").repeat(8)}</stream:stream>`);
    await advanceUntil(clock, () => a.s2s.status().incoming === 0, "drained", 60_000);
    assert.equal(a.delivered.length, 8);
    assert.ok(clock.now() - sentAt > 10_000);
    await advanceUntil(clock, () => a.s2s.status().outgoing === 0, "all over", 60_000);
    await drained;
  });

  it("handles what comes with a request for acknowledgements that crossed our closing tag: nothing was agreed on", async () => {
    closesToo = false;
    const stream = await authenticated();
    const drained = a.s2s.drain(phaseOf(clock, 60_000));
    await advanceUntil(clock, () => stream.text().includes("</stream:stream>"), "our closing tag", 60_000);
    stream.send(`<enable xmlns='${NS.sm}'/>${message("x@b.test", "y@a.test")}<r xmlns='${NS.sm}'/></stream:stream>`);
    await advanceUntil(clock, () => a.s2s.status().incoming === 0, "drained", 60_000);
    await drained;
    assert.equal(a.delivered.length, 1);
    assert.doesNotMatch(stream.text(), /<enabled|<a /);
  });

  it("gives up a peer of which nothing more comes", async () => {
    closesToo = false;
    const stream = await authenticated();
    const drained = a.s2s.drain(phaseOf(clock, 60_000));
    await advanceUntil(clock, () => stream.text().includes("</stream:stream>"), "our closing tag", 60_000);
    const closedAt = clock.now();
    await advanceUntil(clock, () => a.s2s.status().incoming === 0, "given up", 60_000);
    assert.ok(clock.now() - closedAt < 15_000);
    await drained;
  });

  it("does not count a stanza that could not be handled, and ends", async () => {
    const stream = await authenticated({ deliver: () => Promise.reject(new Error("the disk is full")) });
    stream.send(`<enable xmlns='${NS.sm}'/>${message("x@b.test", "y@a.test")}<r xmlns='${NS.sm}'/>`);
    await until(() => stream.text().includes("internal-server-error"), "ended");
    assert.deepEqual(stream.text().match(/<a [^>]*>/g), [`<a xmlns='${NS.sm}' h='0'/>`]);
  });

  it("turns away connections beyond the limit when those that are there have authenticated", async () => {
    await authenticated({ config: { max_connections: 1 } });
    const second = await dial();
    await until(() => second.text().includes("[closed]"), "the second is out");
    assert.equal(a.s2s.status().incoming, 1);
  });

  it("lets a new connection have the place of the oldest stranger", async () => {
    const first = await connect({ config: { max_connections: 1 } });
    await until(() => a.s2s.status().incoming === 1, "the first is in");
    const second = await dial();
    await until(() => first.text().includes("[closed]"), "the first is out");
    second.send(OPEN + KEY);
    await until(() => second.text().includes('type="valid"'), "the second was heard");
    assert.equal(a.s2s.status().incoming, 1);
  });
});
