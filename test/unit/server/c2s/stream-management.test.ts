import assert from "node:assert/strict";
import type { Stanza } from "../../../../src/stanza/stanza.ts";
import { SmClient } from "../../../support/sm-client.ts";
import { chat, stanza } from "../../../support/stanzas.ts";
import { Bench } from "./bench.ts";

const SM = "urn:xmpp:sm:3";
const bodies = (stanzas: readonly Stanza[]): string[] =>
  stanzas.map(({ element }) => element.getChildText("body") ?? "");
const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

describe("a managed session", () => {
  let bench: Bench;

  const start = async (
    username: string,
    resource = "1",
    options: Parameters<typeof SmClient.start>[3] = {},
  ): Promise<SmClient> => {
    const client = await bench.pass(SmClient.start(bench, username, resource, options));
    client.raw.presence();
    await bench.clock.advance(5);
    return client;
  };
  const resume = (client: SmClient): Promise<SmClient> => bench.pass(SmClient.resume(bench, client.identity));
  const sendTo = (to: string, body: string): void | Promise<void> =>
    bench.router.route(chat("romeo@b.test/1", to, body));
  const open = async (config: Record<string, unknown> = {}): Promise<void> => {
    bench = await new Bench(config).open("juliet", "romeo", "nurse");
  };

  afterEach(() => bench.close());

  describe("whose client is silent", () => {
    it("waits for it after the time an answer may take, and tells modules", async () => {
      await open({ sm_ack_timeout: "10s" });
      const juliet = await start("juliet");
      juliet.answers = false;
      void sendTo("juliet@a.test/1", "one");
      await bench.clock.advance(11_000);
      assert.equal(bench.c2s.hibernating, 0);
      await bench.clock.advance(3_000);
      assert.equal(bench.c2s.hibernating, 1);
      assert.deepEqual(bench.told, ["bound juliet@a.test/1", "detached juliet@a.test/1"]);
      const back = await resume(juliet);
      back.resumed();
      assert.deepEqual(bench.told.slice(2), ["resumed juliet@a.test/1"]);
      assert.equal(bench.c2s.connections, 1);
    });

    it("is kept while something is heard from it, and while we do not listen ourselves", async () => {
      await open({ sm_ack_timeout: "10s" });
      const juliet = await start("juliet");
      juliet.answers = false;
      void sendTo("juliet@a.test/1", "one");
      for (let second = 0; second < 40; second += 5) {
        await bench.clock.advance(5_000);
        juliet.raw.send(" ");
      }
      assert.equal(bench.c2s.hibernating, 0);
      const done = bench.storesSlowly();
      juliet.message("romeo@a.test", "slow");
      juliet.acknowledge();
      await bench.clock.advance(60_000);
      assert.equal(bench.c2s.hibernating, 0);
      done();
      await bench.clock.advance(60_000);
      assert.equal(bench.session("juliet@a.test/1").sm?.pending, 0);
      assert.equal(bench.c2s.hibernating, 0);
    });

    it("ends without resumption, and what it was sent is kept", async () => {
      await open({ sm_ack_timeout: "10s" });
      const juliet = await start("juliet", "1", { enable: "" });
      juliet.answers = false;
      juliet.raw.stopReading();
      void sendTo("juliet@a.test/1", "one");
      await bench.clock.advance(30_000);
      assert.equal(bench.sessions.size, 0);
      assert.deepEqual(bodies(bench.stored), ["one"]);
    });
  });

  describe("whose client acknowledges too little", () => {
    it("makes producers wait from half of the queue on, until it acknowledges", async () => {
      await open({ sm_max_queue: 20 });
      const juliet = await start("juliet");
      juliet.answers = false;
      for (const body of numbers(10)) assert.equal(sendTo("juliet@a.test/1", body), undefined);
      const wait = sendTo("juliet@a.test/1", "10");
      assert.ok(wait instanceof Promise);
      let isOver = false;
      void wait.then(() => {
        isOver = true;
      });
      await bench.clock.advance(5_000);
      assert.equal(isOver, false);
      juliet.acknowledge();
      await bench.clock.advance(5);
      assert.equal(isOver, true);
      assert.deepEqual(juliet.bodies, numbers(11));
    });

    it("ends when it goes on like that, with everything unacknowledged kept in order", async () => {
      await open({ sm_max_queue: 20, stall_timeout: "30s" });
      const juliet = await start("juliet");
      juliet.answers = false;
      for (const body of numbers(11)) void sendTo("juliet@a.test/1", body);
      for (let second = 0; second < 40; second += 5) {
        await bench.clock.advance(5_000);
        juliet.raw.send(" ");
      }
      assert.equal((await bench.pass(juliet.raw.ended)).streamError, "connection-timeout");
      // It answered our closing tag: it has read them all.
      assert.deepEqual(bench.stored, []);
    });

    it("ends at the whole of it, also when nobody waits", async () => {
      await open({ sm_max_queue: 20, close_timeout: "1s" });
      const juliet = await start("juliet", "1", { answerClose: false });
      juliet.answers = false;
      juliet.raw.stopReading();
      for (const body of numbers(30)) void sendTo("juliet@a.test/1", body);
      await bench.clock.advance(3_000);
      assert.equal(bench.sessions.size, 0);
      assert.deepEqual(bodies(bench.stored).toSorted(), numbers(30).toSorted());
      // One more than it may hold was in its hands; those after that found nobody.
      assert.deepEqual(bodies(bench.stored.filter(({ element }) => element.getChild("delay") !== undefined)), [
        ...numbers(21),
      ]);
    });

    it("cannot fill memory by asking without reading the answers", async () => {
      await open({ stall_timeout: "10s" });
      const juliet = await start("juliet");
      juliet.raw.stopReading();
      for (let round = 0; round < 100; round++) {
        juliet.raw.send(`<r xmlns='${SM}'/>`.repeat(1_000));
        await bench.clock.advance(10);
      }
      // The server has stopped reading: what it has to say is bounded, what it was asked stays with the client.
      assert.ok(juliet.raw.unsent > 1_000_000, `${juliet.raw.unsent}`);
      await bench.clock.advance(30_000);
      assert.equal(bench.c2s.connections, 0);
    });
  });

  describe("that waits for its client", () => {
    it("ends when its queue is full, and nothing is lost or out of order", async () => {
      await open({ sm_max_queue: 10 });
      const juliet = await start("juliet");
      juliet.raw.reset();
      await bench.clock.advance(5);
      for (const body of numbers(15)) await sendTo("juliet@a.test", body);
      assert.equal(bench.sessions.size, 0);
      assert.deepEqual(bodies(bench.stored), numbers(15));
      assert.match((await resume(juliet)).answer, /^<failed .*h="1"/);
    });

    it("ends when its queue is too large", async () => {
      await open({ sm_max_queue_size: "4KiB" });
      const juliet = await start("juliet");
      juliet.raw.reset();
      await bench.clock.advance(5);
      for (let index = 0; index < 5; index++) await sendTo("juliet@a.test", "x".repeat(1_000));
      assert.equal(bench.sessions.size, 0);
      assert.equal(bench.stored.length, 5);
    });

    it("ends first of its account, and first of all, when there are too many", async () => {
      await open({ sm_max_hibernating_per_account: 2, sm_max_hibernating: 3 });
      const all: SmClient[] = [];
      for (const [name, resource] of ["juliet/1", "juliet/2", "juliet/3", "romeo/1", "romeo/2"].map((text) =>
        text.split("/"),
      )) {
        const client = await start(name ?? "", resource);
        client.raw.reset();
        await bench.clock.advance(5);
        all.push(client);
      }
      assert.deepEqual(
        bench.told.filter((line) => line.startsWith("ended")),
        ["ended juliet@a.test/1", "ended juliet@a.test/2"],
      );
      assert.equal(bench.c2s.hibernating, 3);
      for (const client of all.slice(2)) (await resume(client)).resumed();
    });

    it("ends first when all queues together are too large", async () => {
      await open({ sm_max_hibernating_size: "20KiB" });
      const [one, two] = [await start("juliet", "1"), await start("romeo", "1")];
      for (const client of [one, two]) {
        client.raw.reset();
        await bench.clock.advance(5);
      }
      for (let index = 0; index < 4; index++) {
        await sendTo("romeo@a.test/1", "x".repeat(1_000));
        await sendTo("juliet@a.test/1", "x".repeat(1_000));
      }
      assert.deepEqual(bench.told.slice(4), []);
      await sendTo("romeo@a.test/1", "x".repeat(4_000));
      assert.deepEqual(bench.told.slice(4), ["ended juliet@a.test/1"]);
      assert.equal(bench.stored.length, 4);
      (await resume(two)).resumed();
      // What has been handed over does not count any more.
      const three = await start("juliet", "3");
      three.raw.reset();
      await bench.clock.advance(5);
      for (let index = 0; index < 8; index++) await sendTo("juliet@a.test/3", "x".repeat(1_000));
      assert.equal(bench.c2s.hibernating, 1);
    });

    it("makes room for a client that is here", async () => {
      await open({ max_resources: 3 });
      const lost = await start("juliet", "1");
      lost.raw.reset();
      await bench.clock.advance(5);
      for (const resource of ["2", "3", "4"]) await start("juliet", resource);
      assert.equal(bench.sessions.size, 3);
      assert.ok(bench.told.includes("ended juliet@a.test/1"));
    });

    it("ends when its time is over, and not before", async () => {
      await open({ sm_max: "1m" });
      const juliet = await start("juliet");
      juliet.raw.reset();
      await bench.clock.advance(58_000);
      (await resume(juliet)).raw.reset();
      await bench.clock.advance(58_000);
      assert.equal(bench.c2s.hibernating, 1);
      await bench.clock.advance(3_000);
      assert.equal(bench.sessions.size, 0);
      assert.equal(bench.wheel.size, 0, "no timeout is left");
    });

    it("ends after all when the client had closed its stream before the connection broke", async () => {
      await open();
      const juliet = await start("juliet");
      const done = bench.storesSlowly();
      juliet.message("romeo@a.test", "bye");
      juliet.raw.send("</stream:stream>");
      await bench.clock.advance(5);
      juliet.raw.reset();
      await bench.clock.advance(5);
      assert.equal(bench.c2s.hibernating, 1);
      done();
      await bench.clock.advance(5);
      assert.equal(bench.sessions.size, 0);
      assert.match((await resume(juliet)).answer, /^<failed .*h="2"/);
    });

    it("answers requests with an error at its end, and drops what is of no use later", async () => {
      await open();
      const juliet = await start("juliet");
      const romeo = await start("romeo");
      juliet.raw.reset();
      await bench.clock.advance(5);
      romeo.raw.send("<iq type='get' id='ask' to='juliet@a.test/1'><q xmlns='urn:example'/></iq>");
      romeo.raw.send("<iq type='result' id='told' to='juliet@a.test/1'/>");
      romeo.raw.send("<message type='headline' to='juliet@a.test/1'><body>news</body></message>");
      romeo.raw.send("<message type='error' to='juliet@a.test/1'/>");
      await bench.clock.advance(5);
      assert.equal(bench.session("juliet@a.test/1").sm?.pending, 4);
      await bench.clock.advance(400_000);
      assert.deepEqual(bench.stored, []);
      const errors = romeo.raw.received.filter(({ xml }) => xml.includes("service-unavailable"));
      assert.equal(errors.length, 1);
      assert.match(errors[0]?.xml ?? "", /id="ask"/);
    });
  });

  describe("that is resumed", () => {
    it("says what has been carried only when the stanza at work is, and hears nothing else of the old connection", async () => {
      await open();
      const juliet = await start("juliet");
      const done = bench.storesSlowly();
      juliet.message("romeo@a.test", "one");
      juliet.message("romeo@a.test", "two");
      await bench.clock.advance(5);
      const back = SmClient.resume(bench, juliet.identity);
      await bench.clock.advance(1_000);
      assert.equal(bench.c2s.hibernating, 1);
      done();
      const resumed = await bench.pass(back);
      assert.equal(resumed.resumed(), 2);
      assert.deepEqual(bodies(bench.stored), ["one"]);
      assert.equal((await bench.pass(juliet.raw.ended)).streamError, "conflict");
      bench.keep = () => undefined;
      resumed.message("romeo@a.test", "two");
      assert.equal(await bench.pass(resumed.carried()), 3);
      assert.deepEqual(bodies(bench.stored), ["one", "two"]);
    });

    it("tells a client that comes too late what had been carried at last", async () => {
      await open();
      const juliet = await start("juliet");
      const done = bench.storesSlowly();
      juliet.message("romeo@a.test", "one");
      juliet.message("romeo@a.test", "two");
      await bench.clock.advance(5);
      void bench.session("juliet@a.test/1").end("");
      const late = SmClient.resume(bench, juliet.identity);
      await bench.clock.advance(1_000);
      done();
      const { answer } = await bench.pass(late);
      assert.match(answer, /^<failed .*h="2"/);
      assert.deepEqual(bodies(bench.stored), ["one"]);
      await bench.clock.advance(25 * 3_600_000);
      assert.doesNotMatch((await resume(juliet)).answer, /h="/);
    });

    it("gets more than the connection takes at once without being thrown out", async () => {
      await open({ max_unread: "1KiB" });
      const juliet = await start("juliet");
      juliet.raw.reset();
      await bench.clock.advance(5);
      for (const body of numbers(200)) await sendTo("juliet@a.test/1", body.padEnd(2_000, "."));
      const back = await resume(juliet);
      void sendTo("juliet@a.test/1", "last");
      await bench.clock.advance(1_000);
      assert.equal(back.bodies.length, 201);
      assert.equal(bench.c2s.connections, 1);
    });
  });

  describe("as data", () => {
    it("goes to another life of the server and on from there", async () => {
      await open({ sm_max: "1m" });
      const juliet = await start("juliet");
      juliet.answers = false;
      juliet.raw.presence("<presence><priority>7</priority><status>é &amp; more</status></presence>");
      void sendTo("juliet@a.test/1", "one");
      await bench.clock.advance(5);
      juliet.acknowledge();
      juliet.raw.reset();
      await bench.clock.advance(5);
      const unfinished = chat("romeo@b.test/1", "juliet@a.test", "two <&> \u{1f600}");
      void bench.router.route(unfinished);
      void bench.router.route(stanza("iq", { from: "a.test", to: "juliet@a.test/1", type: "get", id: "x" }));
      await bench.clock.advance(20_000);
      const snapshot = JSON.parse(JSON.stringify(bench.session("juliet@a.test/1").snapshot())) as unknown;
      const before = bench;

      bench = await new Bench({ sm_max: "1m" }, before.clock).open("juliet");
      const restored = bench.c2s.restore(snapshot);
      assert.deepEqual(restored.snapshot(), snapshot);
      assert.deepEqual([restored.priority, restored.presence?.text.includes("é")], [7, true]);
      assert.ok(restored.open && bench.c2s.hibernating === 1);
      void sendTo("juliet@a.test", "three");
      const back = await resume(juliet);
      assert.equal(back.resumed(), 2);
      assert.deepEqual(back.bodies, ["two &lt;&amp;&gt; \u{1f600}", "three"]);
      await bench.clock.advance(5_000);
      assert.equal(bench.session("juliet@a.test/1").sm?.pending, 0);
      back.raw.reset();
      await before.close();
    });

    it("ends elsewhere when its time is over, with the times at which its messages came", async () => {
      await open({ sm_max: "1m" });
      const juliet = await start("juliet");
      juliet.raw.reset();
      await bench.clock.advance(5);
      await sendTo("juliet@a.test", "kept");
      const at = new Date(bench.clock.wallTime()).toISOString();
      const snapshot = bench.session("juliet@a.test/1").snapshot();
      const before = bench;
      await bench.clock.advance(50_000);
      bench = await new Bench({ sm_max: "1m" }, before.clock).open("juliet");
      bench.c2s.restore(snapshot);
      await bench.clock.advance(5_000);
      assert.equal(bench.c2s.hibernating, 1);
      await bench.clock.advance(10_000);
      assert.equal(bench.sessions.size, 0);
      assert.deepEqual(bodies(bench.stored), ["kept"]);
      assert.equal(bench.stored[0]?.element.getChild("delay", "urn:xmpp:delay")?.attrs.stamp, at);
      await before.close();
    });

    it("exists only for one that can be resumed, connected or not", async () => {
      await open();
      await start("juliet");
      await start("romeo", "1", { enable: "" });
      assert.equal(bench.session("juliet@a.test/1").snapshot()?.hibernatedSince, undefined);
      assert.equal(bench.session("juliet@a.test/1").snapshot()?.handled, 1);
      assert.equal(bench.session("romeo@a.test/1").snapshot(), undefined);
    });

    it("is refused when it is damaged, by name, and nothing is left of it", async () => {
      await open();
      const good = {
        smId: "old-1",
        jid: "juliet@a.test/1",
        created: 1,
        maxMs: 60_000,
        handled: 5,
        sent: 3,
        unacked: [{ xml: "<message from='romeo@b.test/1' to='juliet@a.test'/>", at: 1 }],
        presence: "<presence from='juliet@a.test/1'/>",
        hibernatedSince: bench.clock.wallTime(),
      };
      const bad: [RegExp, unknown][] = [
        [/expected object/, null],
        [/expected object/, []],
        [/smId/, { ...good, smId: "" }],
        [/smId/, { ...good, smId: "x".repeat(5_000) }],
        [/jid/, { ...good, jid: "juliet@a.test" }],
        [/jid/, { ...good, jid: "a.test/1" }],
        [/jid/, { ...good, jid: "JULIET@a.test/1" }],
        [/jid: b.test is not served/, { ...good, jid: "juliet@b.test/1", presence: undefined, unacked: [] }],
        [/maxMs/, { ...good, maxMs: -1 }],
        [/maxMs/, { ...good, maxMs: Number.NaN }],
        [/handled/, { ...good, handled: 2 ** 32 }],
        [/handled/, { ...good, handled: 1.5 }],
        [/sent/, { ...good, sent: 0 }],
        [/unacked/, { ...good, unacked: {} }],
        [/unacked\.0\.xml/, { ...good, unacked: [{ xml: "<message", at: 1 }] }],
        [/unacked\.0\.xml/, { ...good, unacked: [{ xml: "<message/></stream:stream>", at: 1 }] }],
        [/unacked\.0\.xml/, { ...good, unacked: [{ xml: "<message from='x@y' to='romeo@a.test'/>", at: 1 }] }],
        [/unacked\.0\.at/, { ...good, unacked: [{ xml: "<message/>", at: 9e15 }] }],
        [/presence/, { ...good, presence: "<presence from='romeo@a.test/1'/>" }],
        [/presence/, { ...good, presence: "<presence type='unavailable' from='juliet@a.test/1'/>" }],
        [/hibernatedSince/, { ...good, hibernatedSince: "yesterday" }],
        [/more/, { ...good, more: true }],
      ];
      for (const [names, data] of bad) {
        assert.throws(() => bench.c2s.restore(data), names, JSON.stringify(data));
        assert.equal(bench.sessions.size, 0);
      }
      bench.c2s.restore(good);
      assert.throws(() => bench.c2s.restore({ ...good, smId: "old-2" }), /jid: there is such a session/);
      const { presence: _presence, ...rest } = good;
      assert.throws(() => bench.c2s.restore({ ...rest, unacked: [], jid: "juliet@a.test/2" }), /smId/);
      assert.equal(bench.sessions.size, 1);
    });
  });

  it("ends in order at a shutdown: what is read is proved, the rest kept, before the shutdown goes on", async () => {
    await open({ close_timeout: "5s" });
    const polite = await start("juliet", "1");
    const mute = await start("romeo", "1", { answerClose: false });
    const lost = await start("nurse");
    polite.answers = mute.answers = false;
    lost.raw.reset();
    await bench.clock.advance(5);
    void sendTo("juliet@a.test/1", "read");
    void sendTo("romeo@a.test/1", "unread");
    void sendTo("nurse@a.test/1", "missed");
    await bench.clock.advance(5);
    await bench.pass(bench.shutDown());
    assert.deepEqual(bodies(bench.stored).toSorted(), ["missed", "unread"]);
    assert.equal(bench.c2s.closed.hibernating, 1);
    assert.equal(bench.c2s.closed.answered, 1);
    const last = polite.raw.received.slice(-2).map(({ xml }) => xml);
    assert.match(last[0] ?? "", /^<a .*h='1'/);
    assert.match(last[1] ?? "", /system-shutdown/);
  });

  it("does not take the closing tag of a client for an answer to ours when it came first", async () => {
    await open();
    const juliet = await start("juliet");
    juliet.answers = false;
    void sendTo("juliet@a.test/1", "unread");
    await bench.clock.advance(5);
    let seenOff = (): void => undefined;
    bench.seeOff = () =>
      new Promise((resolve) => {
        seenOff = resolve;
      });
    const ended = bench.shutDown();
    await bench.clock.advance(5);
    juliet.raw.send("</stream:stream>");
    await bench.clock.advance(5);
    seenOff();
    await bench.pass(ended);
    assert.deepEqual(bodies(bench.stored), ["unread"]);
  });

  it("ends for a count that is no count", async () => {
    await open();
    for (const [attrs, condition] of [
      ["", "invalid-xml"],
      ["h=''", "invalid-xml"],
      ["h='-1'", "invalid-xml"],
      ["h='99999999999999999999'", "invalid-xml"],
      ["h='4294967295'", "undefined-condition"],
    ]) {
      const juliet = await start("juliet");
      juliet.raw.send(`<a xmlns='${SM}' ${attrs}/>`);
      assert.equal((await bench.pass(juliet.raw.ended)).streamError, condition);
      assert.equal(bench.sessions.size, 0);
    }
  });

  it("costs no timeout while nothing is owed to its client", async () => {
    await open();
    const before = bench.wheel.size;
    const juliet = await start("juliet");
    void sendTo("juliet@a.test/1", "one");
    await bench.clock.advance(5_000);
    assert.equal(bench.session("juliet@a.test/1").sm?.pending, 0);
    // The one that looks after idle connections is every session's.
    assert.equal(bench.wheel.size, before + 1);
    juliet.raw.reset();
  });
});
