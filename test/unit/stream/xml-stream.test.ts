import assert from "node:assert/strict";
import { createSecureContext } from "node:tls";
import { StreamError } from "../../../src/stanza/stream-error.ts";
import { gate, LIMITS, StreamPair } from "../../support/stream-pair.ts";
import { HEADER } from "../xml/cases.ts";

const CLOSE = "</stream:stream>";
const OURS = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
const certificates = { contextFor: () => createSecureContext() };
const TLS_SERVER = { role: "server", certificates, requestCertificate: false } as const;
const TLS_CLIENT = { role: "client", certificates, serverName: "a.test", localName: undefined } as const;

async function opened(...args: ConstructorParameters<typeof StreamPair>): Promise<StreamPair> {
  const pair = new StreamPair(...args);
  pair.stream.sendHeader({ from: "a.test", id: "1" });
  await pair.say(HEADER);
  pair.far.take();
  pair.seen.length = 0;
  return pair;
}

describe("XmlStream", () => {
  describe("opens", () => {
    it("with a declaration and escaped attributes, on client and server streams", async () => {
      const pair = new StreamPair();
      pair.stream.sendHeader({ from: "a.test", to: "x'y<z", id: "7", lang: "en" });
      await pair.settle();
      assert.equal(
        pair.far.take(),
        `<?xml version='1.0'?>${OURS} from='a.test' to='x&apos;y&lt;z' id='7' xml:lang='en' version='1.0'>`,
      );
    });

    it("reports the peer's header, then its elements in order", async () => {
      const pair = new StreamPair();
      await pair.say(`${HEADER}<message/><presence/>`);
      await pair.say("<iq/>");
      assert.deepEqual(pair.seen, ["header a.test", "message", "presence", "iq"]);
    });

    it("anew after a restart, also with a header that came early", async () => {
      const pair = await opened();
      pair.handle = (element) => {
        if (element.name === "auth") pair.stream.restart();
      };
      await pair.say(`<auth xmlns='u'/>${HEADER}<iq/>`);
      assert.deepEqual(pair.seen, ["auth", "header a.test", "iq"]);
    });
  });

  describe("hands over one thing at a time:", () => {
    it("the next element waits for the promise of the one before", async () => {
      const pair = await opened();
      const first = gate();
      pair.handle = (element) => (element.name === "message" ? first.opened : undefined);
      await pair.say("<message/><presence/>");
      await pair.say("<iq/>");
      assert.deepEqual(pair.seen, ["message"]);
      first.open();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "presence", "iq"]);
    });

    it("elements wait for the header's promise", async () => {
      const pair = new StreamPair();
      const header = gate();
      pair.onHeader = () => header.opened;
      await pair.say(`${HEADER}<iq/>`);
      assert.deepEqual(pair.seen, ["header a.test"]);
      header.open();
      await pair.settle();
      assert.deepEqual(pair.seen, ["header a.test", "iq"]);
    });

    it("nothing while it is held, and everything in order when it is let go", async () => {
      const pair = await opened();
      await pair.stream.hold();
      await pair.say("<message/><presence/>");
      assert.deepEqual(pair.seen, []);
      pair.stream.send("<r/>");
      await pair.settle();
      assert.equal(pair.far.take(), "<r/>");
      pair.stream.release();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "presence"]);
      await pair.say("<iq/>");
      assert.deepEqual(pair.seen, ["message", "presence", "iq"]);
    });

    it("a hold waits for what is under way, and keeps the rest of the same piece", async () => {
      const pair = await opened();
      const first = gate();
      pair.handle = (element) => (element.name === "message" ? first.opened : undefined);
      await pair.say("<message/><presence/>");
      let still = false;
      const held = pair.stream.hold().then(() => {
        still = true;
      });
      await pair.settle();
      assert.equal(still, false);
      first.open();
      await held;
      await pair.settle();
      assert.deepEqual(pair.seen, ["message"]);
      pair.stream.release();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "presence"]);
    });

    it("a peer that closes while its stream is held is heard to its end after the hold", async () => {
      const pair = await opened();
      await pair.stream.hold();
      await pair.say(`<message/>${CLOSE}`);
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(pair.seen, []);
      pair.stream.release();
      await pair.settle();
      assert.equal(pair.seen[0], "message");
      assert.equal(pair.end?.peerClosed, true);
    });

    it("that the connection broke while its stream was held is told at the release, however late that is", async () => {
      const pair = await opened();
      await pair.stream.hold("one");
      await pair.stream.hold("other");
      pair.near.cut();
      await pair.settle();
      await pair.clock.advance(3_600_000);
      const ends = [pair.end];
      pair.stream.release("one");
      await pair.settle();
      ends.push(pair.end);
      pair.stream.release("other");
      await pair.settle();
      ends.push(pair.end);
      assert.deepEqual(
        ends.map((end) => end?.orderly),
        [undefined, undefined, false],
      );
    });

    it("a stream whose connection broke while it was held ends at once when it is hung up", async () => {
      const pair = await opened();
      await pair.stream.hold();
      pair.near.cut();
      await pair.settle();
      const end = await pair.stream.hangUp();
      assert.equal(end.orderly, false);
      assert.equal(pair.clock.pendingTimers, 0);
    });

    it("a slow handler slows its peer", async () => {
      const pair = await opened(LIMITS, { highWaterMark: 1000, chunkBytes: 100 });
      const first = gate();
      pair.handle = () => first.opened;
      let sent = 0;
      while (pair.far.transport.write("<message/>")) sent++;
      await pair.settle();
      assert.equal(pair.far.drains, 0);
      assert.ok(pair.near.buffered === 0 && pair.far.transport.buffered > 500);
      first.open();
      pair.handle = () => undefined;
      await pair.settle();
      assert.equal(pair.seen.length, sent + 1);
      assert.equal(pair.far.drains, 1);
    });

    it("order is kept up to the end when the peer closes while elements wait", async () => {
      const pair = await opened();
      const first = gate();
      pair.handle = (element) => (element.name === "message" ? first.opened : undefined);
      await pair.say(`<message/><presence/>${CLOSE}`);
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message"]);
      first.open();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "presence", "peer closing", "closed"]);
      assert.deepEqual(pair.end, { peerClosed: true, orderly: true });
    });

    it("what was complete is handled even when the connection breaks meanwhile", async () => {
      const pair = await opened();
      const first = gate();
      pair.handle = (element) => (element.name === "message" ? first.opened : undefined);
      await pair.say("<message/><presence/><iq");
      pair.near.cut();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message"]);
      first.open();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "presence", "closed"]);
      assert.equal(pair.end?.orderly, false);
      assert.match(pair.end?.error?.message ?? "", /ECONNRESET/);
      assert.equal(pair.clock.pendingTimers, 0);
    });

    it("nothing more is handled after destroy, and the handler is not waited for", async () => {
      const pair = await opened();
      const first = gate();
      pair.handle = () => first.opened;
      await pair.say("<message/><presence/>");
      pair.stream.destroy(new Error("enough"));
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "closed"]);
      assert.equal(pair.end?.error?.message, "enough");
      first.open();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "closed"]);
      assert.equal(pair.clock.pendingTimers, 0);
    });

    it("a handler that never ends cannot keep a broken stream for ever", async () => {
      const pair = await opened();
      pair.handle = () => gate().opened;
      await pair.say("<message/>");
      pair.near.cut();
      await pair.clock.advance(60_000);
      assert.deepEqual(pair.seen, ["message", "closed"]);
    });

    for (const how of ["throws", "rejects"] as const) {
      it(`a handler that ${how} ends the stream with internal-server-error`, async () => {
        const pair = await opened();
        pair.handle = () => {
          if (how === "rejects") return Promise.reject(new Error("a bug"));
          throw new Error("a bug");
        };
        await pair.say("<message/><presence/>");
        assert.match(pair.far.take(), /<internal-server-error .*<\/stream:error><\/stream:stream>$/);
        pair.far.transport.end();
        await pair.settle();
        assert.deepEqual(pair.seen, ["message", "closed"]);
        assert.equal(pair.end?.error?.message, "a bug");
        assert.deepEqual(pair.errors, [{ err: new Error("a bug"), address: pair.near.remoteAddress }]);
      });
    }

    it("a handler that fails when the stream is over is told in the log all the same", async () => {
      const pair = await opened();
      const { opened: failing, open: fail } = gate();
      pair.handle = () => failing.then(() => Promise.reject(new Error("a late bug")));
      await pair.say("<message/>");
      pair.stream.destroy();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "closed"]);
      fail();
      await pair.settle();
      assert.equal(pair.errors.length, 1);
    });
  });

  describe("reads no faster than allowed:", () => {
    it("a burst passes at once, what exceeds it waits its time", async () => {
      const pair = await opened({ ...LIMITS, rate: 100, burst: 1000 }, { chunkBytes: 100 });
      const count = 500;
      for (let sent = 0; sent < count; sent++) pair.far.transport.write("<message/>");
      await pair.settle();
      const atOnce = pair.seen.length;
      assert.ok(atOnce >= 80 && atOnce <= 110, `${atOnce} at once`);
      await pair.clock.advance(10_000);
      assert.ok(Math.abs(pair.seen.length - atOnce - 100) <= 20, `${pair.seen.length - atOnce} in ten seconds`);
      await pair.clock.advance(60_000);
      assert.equal(pair.seen.length, count);
    });

    it("under the rate there is no timer", async () => {
      const pair = await opened({ ...LIMITS, rate: 1000, burst: 1000 });
      await pair.say("<message/>");
      assert.equal(pair.clock.pendingTimers, 0);
    });
  });

  it("tells when bytes last came, white space included", async () => {
    const pair = await opened();
    await pair.clock.advance(1000);
    await pair.say(" ");
    assert.equal(pair.stream.lastInputAt, 1000);
    assert.deepEqual(pair.seen, []);
  });

  it("passes the transport's back-pressure on to the sender", async () => {
    const pair = await opened(LIMITS, { highWaterMark: 100 });
    pair.far.transport.pause();
    pair.drains = 0;
    assert.equal(pair.stream.send("x".repeat(50)), true);
    assert.equal(pair.stream.send("x".repeat(100)), false);
    await pair.settle();
    assert.equal(pair.drains, 0);
    pair.far.transport.resume();
    await pair.settle();
    assert.equal(pair.drains, 1);
  });

  describe("closes in order", () => {
    it("when we begin: handles what still comes until the peer closes too", async () => {
      const pair = await opened();
      const error = new StreamError("system-shutdown", "good night");
      const ended = pair.stream.close({ error, timeoutMs: 1000 });
      pair.stream.send("<presence/>");
      await pair.settle();
      assert.equal(pair.stream.closing, true);
      assert.match(pair.far.take(), /^<stream:error><system-shutdown .*good night.*<\/stream:error><\/stream:stream>$/);
      assert.equal(pair.far.finReceived, false);
      await pair.say(`<message/>${CLOSE}`);
      assert.equal(pair.far.finReceived, true);
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "peer closing", "closed"]);
      assert.deepEqual(await ended, { peerClosed: true, orderly: true, fault: error });
      assert.equal(pair.far.received, "");
      assert.equal(pair.clock.pendingTimers, 0);
    });

    it("when the peer begins: answers and closes the connection", async () => {
      const pair = await opened();
      await pair.say(`<message/>${CLOSE}`);
      assert.equal(pair.far.take(), CLOSE);
      assert.equal(pair.far.finReceived, true);
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(pair.end, { peerClosed: true, orderly: true });
      assert.deepEqual(pair.far.end, { orderly: true });
    });

    it("when both begin at once", async () => {
      const pair = await opened(LIMITS, { latencyMs: 50 });
      await pair.clock.advance(200);
      const ended = pair.stream.close({ timeoutMs: 1000 });
      pair.far.transport.write(CLOSE);
      pair.far.transport.end();
      await pair.clock.advance(200);
      assert.deepEqual(await ended, { peerClosed: true, orderly: true });
      assert.ok(pair.far.received.endsWith(CLOSE));
      assert.equal(pair.far.received.split(CLOSE).length, 2);
    });

    it("when the peer only closes the connection", async () => {
      const pair = await opened();
      pair.far.transport.end();
      await pair.settle();
      assert.equal(pair.far.take(), CLOSE);
      assert.deepEqual(pair.end, { peerClosed: false, orderly: true });
      assert.deepEqual(pair.seen, ["closed"]);
    });

    it("when we began and the peer only closes the connection", async () => {
      const pair = await opened();
      const ended = pair.stream.close({ timeoutMs: 1000 });
      await pair.settle();
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(await ended, { peerClosed: false, orderly: true });
    });

    it("and does not wait longer than told for a peer that does not", async () => {
      const pair = await opened();
      const ended = pair.stream.close({ timeoutMs: 1000 });
      await pair.clock.advance(999);
      assert.equal(pair.end, undefined);
      await pair.clock.advance(1);
      assert.deepEqual(await ended, { peerClosed: false, orderly: false });
    });

    it("called again it can shorten the time, not lengthen it, and ends in the same way", async () => {
      const pair = await opened();
      const first = pair.stream.close({ timeoutMs: 1000 });
      const second = pair.stream.close({ timeoutMs: 5000 });
      const third = pair.stream.close({ timeoutMs: 100, error: new StreamError("reset") });
      assert.equal(first, second);
      assert.equal(first, third);
      await pair.clock.advance(100);
      assert.deepEqual(await first, { peerClosed: false, orderly: false });
      assert.equal(pair.far.take(), CLOSE);
      assert.deepEqual(await pair.stream.close({ timeoutMs: 1 }), await first);
    });

    it("with an opening tag first when none was sent", async () => {
      const pair = new StreamPair();
      void pair.stream.close({ error: new StreamError("system-shutdown"), timeoutMs: 1000 });
      await pair.settle();
      assert.match(
        pair.far.take(),
        /^<\?xml version='1.0'\?><stream:stream .*from='fallback.test'.*><stream:error>.*<\/stream:error><\/stream:stream>$/,
      );
      await pair.clock.advance(1000);
    });

    it("after a restart with another opening tag", async () => {
      const pair = await opened();
      pair.stream.restart();
      void pair.stream.close({ timeoutMs: 1000 });
      await pair.settle();
      assert.match(pair.far.take(), /^<\?xml .*<stream:stream .*><\/stream:stream>$/);
      await pair.clock.advance(1000);
    });

    it("without a word to somebody who connected and left", async () => {
      const pair = new StreamPair();
      pair.far.transport.end();
      await pair.settle();
      assert.equal(pair.far.received, "");
      assert.deepEqual(pair.end, { peerClosed: false, orderly: true });
      assert.equal(pair.clock.pendingTimers, 0);
    });

    it("waits for the element in hand, and handles those that follow it", async () => {
      const pair = await opened();
      const first = gate();
      pair.handle = (element) => (element.name === "message" ? first.opened : undefined);
      await pair.say("<message/><presence/>");
      void pair.stream.close({ timeoutMs: 1000 });
      await pair.say(CLOSE);
      assert.deepEqual(pair.seen, ["message"]);
      first.open();
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "presence", "peer closing", "closed"]);
    });
  });

  describe("answers faults in the input", () => {
    it("with the error and a closing tag, and reads on without listening", async () => {
      const pair = await opened();
      await pair.say("<message/></oops><presence/>");
      assert.match(pair.far.take(), /^<stream:error><not-well-formed .*<\/stream:error><\/stream:stream>$/);
      assert.equal(pair.far.finReceived, true);
      await pair.say("<message/>".repeat(100));
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "closed"]);
      assert.equal(pair.end?.fault?.condition, "not-well-formed");
      assert.equal(pair.end?.orderly, true);
      assert.deepEqual(pair.far.end, { orderly: true });
    });

    it("before any header with an opening tag of its own", async () => {
      const pair = new StreamPair();
      await pair.say("GET / HTTP/1.1\r\n\r\n");
      assert.match(pair.far.take(), /^<\?xml .*<stream:stream .*<not-well-formed .*<\/stream:stream>$/);
      await pair.clock.advance(5000);
      assert.equal(pair.end?.orderly, false);
    });

    it("and gives up on a peer that floods instead of closing", async () => {
      const pair = await opened();
      await pair.say("<<");
      for (let sent = 0; sent < 20 && pair.end === undefined; sent++) await pair.say("x".repeat(100_000));
      assert.equal(pair.end?.orderly, false);
    });

    it("and does not send a second error after its closing tag", async () => {
      const pair = await opened();
      void pair.stream.close({ timeoutMs: 1000 });
      await pair.say("<<");
      assert.equal(pair.far.take(), CLOSE);
      pair.far.transport.end();
      await pair.settle();
      assert.equal(pair.end?.fault?.condition, "not-well-formed");
    });
  });

  describe("that a handler fails", () => {
    it("ends with the error, the closing tag and a half-closed connection; what follows is not heard", async () => {
      const pair = await opened();
      pair.handle = () => pair.stream.fail(new StreamError("invalid-from"));
      await pair.say("<message/><presence/></oops>");
      assert.match(pair.far.take(), /^<stream:error><invalid-from .*<\/stream:error><\/stream:stream>$/);
      assert.equal(pair.far.finReceived, true);
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(pair.seen, ["message", "closed"]);
      assert.equal(pair.end?.fault?.condition, "invalid-from");
      assert.deepEqual(pair.far.end, { orderly: true });
      assert.equal(pair.clock.pendingTimers, 0);
    });

    it("does not wait for ever for the peer", async () => {
      const pair = await opened();
      pair.stream.fail();
      await pair.clock.advance(4999);
      assert.ok(!pair.seen.includes("closed"));
      await pair.clock.advance(1);
      assert.equal(pair.end?.orderly, false);
      assert.equal(pair.far.take(), CLOSE);
    });
  });

  describe("tells once, and before the end, that nothing can be sent any more:", () => {
    const WAYS: readonly (readonly [how: string, act: (pair: StreamPair) => void])[] = [
      ["when we close", (pair) => void pair.stream.close({ timeoutMs: 1000 })],
      ["when the peer closes", (pair) => pair.far.transport.write(CLOSE)],
      ["when the peer only closes the connection", (pair) => pair.far.transport.end()],
      ["when the peer sends an error", (pair) => pair.far.transport.write("<stream:error/>")],
      ["when the peer breaks the rules", (pair) => pair.far.transport.write("<<")],
      ["when the handler fails it", (pair) => pair.stream.fail()],
      ["when it is destroyed", (pair) => pair.stream.destroy()],
      ["when it hangs up", (pair) => void pair.stream.hangUp()],
      ["when the connection breaks", (pair) => pair.near.cut()],
    ];
    for (const [how, act] of WAYS) {
      it(how, async () => {
        const pair = await opened();
        let told = 0;
        pair.onOutputClosed = () => {
          told++;
          assert.equal(pair.stream.closing, true);
          assert.equal(pair.end, undefined);
        };
        act(pair);
        await pair.settle();
        assert.equal(told, 1);
        await pair.clock.advance(10_000);
        assert.equal(told, 1);
        assert.notEqual(pair.end, undefined);
      });
    }

    it("as closed with our closing tag, as broken without it", async () => {
      const told: Record<string, string> = {};
      for (const [how, act] of WAYS) {
        const pair = await opened();
        pair.onOutputClosed = (end) => {
          told[how] = end;
        };
        act(pair);
        await pair.settle();
      }
      const broken = Object.keys(told).filter((how) => told[how] === "broken");
      assert.deepEqual(broken, ["when it is destroyed", "when it hangs up", "when the connection breaks"]);
      assert.equal(Object.keys(told).length, WAYS.length);
    });

    it("while a handler still works on what came before the connection broke", async () => {
      const pair = await opened();
      const { opened: done, open } = gate();
      pair.handle = () => done;
      let told = 0;
      pair.onOutputClosed = () => {
        told++;
      };
      await pair.say("<message/>");
      pair.near.cut();
      await pair.settle();
      assert.deepEqual([told, pair.end], [1, undefined]);
      open();
      await pair.settle();
      assert.notEqual(pair.end, undefined);
    });
  });

  describe("hangs up", () => {
    it("in order, but without a closing tag, and throws away what still comes", async () => {
      const pair = await opened();
      pair.stream.send("<message/>");
      void pair.stream.hangUp();
      await pair.say("<presence/>");
      assert.equal(pair.far.take(), "<message/>");
      assert.equal(pair.far.finReceived, true);
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(pair.seen, ["closed"]);
      assert.equal(pair.end?.orderly, true);
      assert.equal(pair.clock.pendingTimers, 0);
    });

    it("while it is held, without handling what waits", async () => {
      const pair = await opened();
      await pair.stream.hold();
      await pair.say("<presence/>");
      const hungUp = pair.stream.hangUp();
      await pair.say("<iq/>");
      pair.far.transport.end();
      await pair.settle();
      assert.deepEqual(pair.seen, ["closed"]);
      assert.equal(pair.end?.orderly, true);
      pair.stream.release();
      await pair.settle();
      assert.deepEqual(pair.seen, ["closed"]);
      assert.deepEqual(await hungUp, pair.end);
    });

    it("on a peer that never closes, after a while", async () => {
      const pair = await opened();
      void pair.stream.hangUp();
      await pair.settle();
      assert.deepEqual(pair.seen, []);
      await pair.clock.advance(5000);
      assert.equal(pair.end?.orderly, false);
    });
  });

  it("lets the handler break off when the peer closes the connection without a closing tag", async () => {
    const pair = await opened();
    let lost = 0;
    let how: string | undefined;
    pair.onOutputClosed = (end) => {
      how = end;
    };
    pair.onInputLost = () => {
      lost++;
      pair.stream.destroy();
    };
    pair.far.transport.end();
    await pair.settle();
    assert.deepEqual([lost, how, pair.far.take()], [1, "broken", ""]);
    assert.notEqual(pair.end, undefined);
  });

  it("does not speak of lost input after a closing tag", async () => {
    const pair = await opened();
    let lost = 0;
    pair.onInputLost = () => {
      lost++;
    };
    await pair.say(CLOSE);
    pair.far.transport.end();
    await pair.settle();
    assert.equal(lost, 0);
  });

  it("takes a peer's stream error as the reason of the end and closes its own half", async () => {
    const pair = await opened();
    await pair.say(
      "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>b.test:9</see-other-host></stream:error>",
    );
    assert.equal(pair.far.take(), CLOSE);
    await pair.say(CLOSE);
    pair.far.transport.end();
    await pair.settle();
    assert.deepEqual(pair.seen, ["peer closing", "closed"]);
    assert.equal(pair.end?.fault?.condition, "see-other-host");
    assert.equal(pair.end?.fault?.host, "b.test:9");
  });

  describe("starts TLS", () => {
    async function starting(): Promise<{ pair: StreamPair; done: Promise<unknown> }> {
      const pair = await opened();
      let done: Promise<unknown> = Promise.resolve();
      pair.handle = (element) => {
        if (element.name !== "starttls") return undefined;
        pair.stream.send("<proceed/>");
        const tls = pair.stream.startTls(TLS_SERVER);
        done = tls.catch((error: unknown) => error);
        return tls.then(
          () => undefined,
          () => undefined,
        );
      };
      // The presence is an injection: plain text that must not be read as part of the secured stream.
      await pair.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><presence/>");
      assert.equal(pair.far.take(), "<proceed/>");
      return { pair, done };
    }

    it("and forgets what came before it", async () => {
      const { pair } = await starting();
      const info = pair.far.transport.startTls(TLS_CLIENT);
      await pair.settle();
      assert.equal((await info).serverName, "a.test");
      assert.equal(pair.near.tls?.serverName, "a.test");
      await pair.say(`${HEADER}<iq/>`);
      assert.deepEqual(pair.seen, ["starttls", "header a.test", "iq"]);
    });

    it("and is over when the handshake fails", async () => {
      const { pair, done } = await starting();
      await pair.say("not TLS");
      assert.ok((await done) instanceof Error);
      assert.deepEqual(pair.seen, ["starttls", "closed"]);
      assert.match(pair.end?.error?.message ?? "", /did not speak TLS/);
    });

    it("and when closed meanwhile, tells the peer after the handshake", async () => {
      const { pair } = await starting();
      const ended = pair.stream.close({ error: new StreamError("system-shutdown"), timeoutMs: 1000 });
      await pair.settle();
      assert.equal(pair.far.take(), "");
      void pair.far.transport.startTls(TLS_CLIENT);
      await pair.settle();
      assert.match(pair.far.take(), /^<\?xml .*<stream:stream .*<system-shutdown .*<\/stream:stream>$/);
      await pair.say(`${HEADER}${CLOSE}`);
      pair.far.transport.end();
      await pair.settle();
      assert.equal((await ended).orderly, true);
    });

    it("and when closed meanwhile, does not wait for ever for the handshake", async () => {
      const { pair } = await starting();
      const ended = pair.stream.close({ timeoutMs: 1000 });
      await pair.clock.advance(1000);
      assert.equal((await ended).orderly, false);
    });
  });
});
