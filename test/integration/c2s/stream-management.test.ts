// Stream management (XEP-0198) on real sockets: acknowledgements, sessions that outlive their connections, and what becomes
// of stanzas that nobody acknowledged.

import assert from "node:assert/strict";
import { attributeOf, type RawClient } from "../../../src/testing/raw-client.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { SmClient } from "../../support/sm-client.ts";
import { waitUntil } from "../../support/wire.ts";

const SM = "urn:xmpp:sm:3";

describe("stream management", () => {
  let running: TestServer;

  const hibernating = async (count = 1): Promise<void> => {
    await waitUntil(() => running.status.hibernating === count, `${count} hibernating`);
  };
  /** Messages that juliet finds when she logs in. */
  const offlineFor = async (username: string): Promise<string[]> => {
    const client = await running.login(username, "reader", { security: "direct" });
    client.presence();
    await client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
    const messages = client.received.filter(({ xml }) => xml.startsWith("<message")).map(({ xml }) => xml);
    await client.close();
    return messages;
  };
  /** Another resource of the account, which sees the presence of the others and takes no messages. */
  const watch = async (username: string): Promise<RawClient> => {
    const client = await running.login(username, "watcher", { security: "direct" });
    client.presence("<presence><priority>-1</priority></presence>");
    await client.waitFor((xml) => xml.startsWith("<presence") && xml.includes("watcher"));
    return client;
  };
  const unavailable = (watcher: RawClient): number =>
    watcher.received.filter(({ xml }) => xml.startsWith("<presence") && /type=["']unavailable/.test(xml)).length;
  const bodyOf = (xml: string): string => /<body>([^<]*)<\/body>/.exec(xml)?.[1] ?? "";

  beforeEach(async () => {
    running = await startServer({}, { accounts: ["romeo", "juliet", "nurse"] });
  });

  afterEach(() => running.dispose());

  describe("enabling", () => {
    it("is offered after the login only", async () => {
      const client = running.client({ username: "romeo", security: "direct" });
      await client.connect();
      await client.authenticate();
      const features = client.received.filter(({ xml }) => xml.startsWith("<stream:features"));
      assert.deepEqual(
        features.map(({ xml }) => xml.includes(SM)),
        [false, true],
      );
    });

    it("gives an id, and the shorter of both times", async () => {
      const long = await SmClient.start(running, "romeo", "1", { enable: "resume='1' max='86400'" });
      assert.equal(attributeOf(long.answer, "max"), "300");
      assert.equal(attributeOf(long.answer, "resume"), "true");
      const short = await SmClient.start(running, "romeo", "2", { enable: "resume='true' max='20'" });
      assert.equal(attributeOf(short.answer, "max"), "20");
      assert.notEqual(short.id, long.id);
      const plain = await SmClient.start(running, "romeo", "3", { enable: "" });
      assert.equal(attributeOf(plain.answer, "id"), undefined);
      assert.match(plain.answer, /^<enabled/);
    });

    it("fails twice, before binding, and when there is nothing to acknowledge, until it is too often", async () => {
      const client = await SmClient.start(running, "romeo", "1");
      client.raw.send(`<enable xmlns='${SM}'/>`);
      await client.raw.waitFor((xml) => xml.startsWith("<failed") && xml.includes("unexpected-request"));
      const plain = await running.login("romeo", "2");
      for (let index = 0; index < 20; index++) plain.send(`<r xmlns='${SM}'/><a xmlns='${SM}' h='0'/>`);
      assert.equal((await plain.ended).streamError, "policy-violation");
      const early = running.client({ username: "romeo", security: "direct" });
      await early.connect();
      await early.open();
      early.send(`<enable xmlns='${SM}'/><resume xmlns='${SM}' previd='x' h='0'/>`);
      await waitUntil(() => early.received.filter(({ xml }) => xml.startsWith("<failed")).length === 2, "two refusals");
      const unbound = running.client({ username: "romeo", security: "direct" });
      await unbound.connect();
      await unbound.authenticate();
      unbound.send(`<enable xmlns='${SM}'/>`);
      await unbound.waitFor((xml) => xml.startsWith("<failed"));
      await unbound.bind();
    });
  });

  describe("acknowledgements", () => {
    it("count each stanza of the client once it is carried", async () => {
      const romeo = await SmClient.start(running, "romeo", "1");
      assert.equal(await romeo.carried(), 0);
      for (let index = 1; index <= 5; index++) romeo.message("juliet@a.test", `m${index}`);
      romeo.raw.presence();
      romeo.raw.send("<iq type='get' id='x'/>");
      assert.equal(await romeo.carried(), 7);
      assert.equal((await offlineFor("juliet")).length, 5);
    });

    it("are asked for, and end a client that acknowledges what was never sent", async () => {
      const juliet = await (await SmClient.start(running, "juliet", "1")).available();
      const romeo = await SmClient.start(running, "romeo", "1");
      romeo.message("juliet@a.test", "one");
      await juliet.got("one");
      await juliet.raw.waitFor((xml) => xml.startsWith("<r "));
      juliet.acknowledge(juliet.handled + 1);
      const { streamError } = await juliet.raw.ended;
      assert.equal(streamError, "undefined-condition");
      const error = juliet.raw.received.find(({ xml }) => xml.startsWith("<stream:error"))?.xml ?? "";
      assert.match(error, /<handled-count-too-high xmlns="urn:xmpp:sm:3" h="\d+" send-count="\d+"\/>/);
    });
  });

  for (const how of ["reset", "fin", "silence"] as const) {
    describe(`a connection that ends by ${how}`, () => {
      const lose = async (client: RawClient): Promise<void> => {
        if (how === "reset") client.reset();
        else if (how === "fin") client.halfClose();
      };

      it("leaves its session to be resumed, with everything in order and once", async () => {
        const juliet = await (await SmClient.start(running, "juliet", "1")).available();
        const romeo = await (await SmClient.start(running, "romeo", "1")).available();
        const watcher = await watch("juliet");
        juliet.answers = false;
        romeo.message("juliet@a.test/1", "seen");
        await juliet.got("seen");
        juliet.acknowledge();
        romeo.message("juliet@a.test/1", "unacknowledged");
        await juliet.got("unacknowledged");
        const h = juliet.handled - 1;
        juliet.message("romeo@a.test", "before");
        await romeo.got("before");
        await lose(juliet.raw);
        if (how !== "silence") await hibernating();
        for (const body of ["meanwhile 1", "meanwhile 2"]) romeo.message("juliet@a.test", body);
        assert.equal(await romeo.carried(), 5);
        const back = await SmClient.resume(running, { ...juliet.identity, h });
        assert.equal(back.resumed(), 2);
        await back.got("meanwhile 2");
        romeo.message("juliet@a.test", "after");
        await back.got("after");
        assert.deepEqual(back.bodies, ["unacknowledged", "meanwhile 1", "meanwhile 2", "after"]);
        back.message("romeo@a.test", "reply");
        assert.equal(await back.carried(), 3);
        await romeo.got("reply");
        assert.deepEqual(romeo.bodies, ["before", "reply"]);
        // Nobody saw juliet go or come.
        await watcher.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
        assert.equal(unavailable(watcher), 0);
        if (how === "silence") assert.equal((await juliet.raw.ended).streamError, "conflict");
        assert.equal(running.status.hibernating, 0);
      });
    });
  }

  it("hands what waits for a session to offline storage when the client does not come back, with its time", async () => {
    const juliet = await (
      await SmClient.start(running, "juliet", "1", { enable: "resume='true' max='4'" })
    ).available();
    juliet.answers = false;
    const romeo = await SmClient.start(running, "romeo", "1");
    const watcher = await watch("juliet");
    romeo.message("juliet@a.test/1", "one");
    await juliet.got("one");
    juliet.raw.reset();
    await hibernating();
    romeo.message("juliet@a.test", "two");
    await romeo.carried();
    const before = Date.now();
    assert.equal(unavailable(watcher), 0);
    await waitUntil(() => running.status.sessions === 2, "the session to end");
    await watcher.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
    assert.equal(unavailable(watcher), 1);
    await watcher.close();
    const messages = await offlineFor("juliet");
    assert.deepEqual(messages.map(bodyOf), ["one", "two"]);
    for (const xml of messages) {
      assert.equal(xml.match(/<delay/g)?.length, 1);
      assert.match(xml, /<delay xmlns="urn:xmpp:delay" from="a.test" stamp="/);
      assert.ok(Date.parse(/stamp="([^"]+)"/.exec(xml)?.[1] ?? "") <= before);
    }
    const late = await SmClient.resume(running, juliet.identity);
    assert.match(late.answer, /^<failed .*<item-not-found/);
    assert.equal(attributeOf(late.answer, "h"), "1");
    assert.match(await late.raw.bind(), /^juliet@a.test\//);
  });

  it("gives what a session had not acknowledged to another resource, and iq requests back", async () => {
    const first = await (await SmClient.start(running, "juliet", "1", { enable: "" })).available(
      "<presence><priority>5</priority></presence>",
    );
    const second = await (await SmClient.start(running, "juliet", "2")).available();
    const romeo = await SmClient.start(running, "romeo", "1");
    first.answers = false;
    romeo.message("juliet@a.test", "hello");
    romeo.raw.send("<iq type='get' id='ask' to='juliet@a.test/1'><query xmlns='urn:example'/></iq>");
    await first.raw.waitFor((xml) => xml.includes("urn:example"));
    first.raw.reset();
    assert.match(await second.got("hello"), /<delay/);
    const { xml } = await romeo.raw.waitFor((text) => text.startsWith("<iq") && text.includes("ask"));
    assert.match(xml, /type="error".*service-unavailable/);
    assert.deepEqual(await offlineFor("juliet"), []);
  });

  it("does not double a message that went to several resources of an account", async () => {
    const one = await (await SmClient.start(running, "juliet", "1", { enable: "" })).available();
    const two = await (await SmClient.start(running, "juliet", "2", { enable: "" })).available();
    const romeo = await SmClient.start(running, "romeo", "1");
    one.answers = two.answers = false;
    romeo.message("juliet@a.test", "both");
    await Promise.all([one.got("both"), two.got("both")]);
    one.raw.reset();
    await waitUntil(() => running.status.sessions === 2, "the first to end");
    two.raw.reset();
    await waitUntil(() => running.status.sessions === 1, "the second to end");
    assert.deepEqual(two.bodies, ["both"]);
    assert.deepEqual((await offlineFor("juliet")).map(bodyOf), ["both"]);
  });

  it("keeps what a client that logs out had not acknowledged", async () => {
    const juliet = await (await SmClient.start(running, "juliet", "1")).available();
    const romeo = await SmClient.start(running, "romeo", "1");
    juliet.answers = false;
    romeo.message("juliet@a.test", "seen");
    await juliet.got("seen");
    juliet.acknowledge();
    romeo.message("juliet@a.test", "unseen");
    await juliet.got("unseen");
    await juliet.raw.close();
    assert.deepEqual((await offlineFor("juliet")).map(bodyOf), ["unseen"]);
    const late = await SmClient.resume(running, juliet.identity);
    assert.match(late.answer, /^<failed/);
  });

  it("ends a session that waits when its resource is bound anew", async () => {
    const juliet = await (await SmClient.start(running, "juliet", "1")).available();
    const romeo = await SmClient.start(running, "romeo", "1");
    juliet.raw.reset();
    await hibernating();
    romeo.message("juliet@a.test/1", "kept");
    await romeo.carried();
    const anew = await SmClient.start(running, "juliet", "1");
    await hibernating(0);
    anew.raw.presence();
    await anew.got("kept");
    assert.deepEqual(anew.bodies, ["kept"]);
  });

  describe("resuming", () => {
    it("fails for an id that is wrong or another's, and the session stays", async () => {
      const juliet = await (await SmClient.start(running, "juliet", "1")).available();
      juliet.raw.reset();
      await hibernating();
      const thief = await SmClient.resume(running, { ...juliet.identity, username: "romeo" });
      assert.match(thief.answer, /^<failed .*item-not-found/);
      assert.equal(attributeOf(thief.answer, "h"), undefined);
      for (let index = 0; index < 8; index++) thief.raw.send(`<resume xmlns='${SM}' previd='${index}' h='0'/>`);
      thief.raw.send(`<resume xmlns='${SM}' previd='again' h='0'/>`);
      assert.equal((await thief.raw.ended).streamError, "policy-violation");
      (await SmClient.resume(running, juliet.identity)).resumed();
    });

    it("refuses a count that cannot be, without harm to the session", async () => {
      const juliet = await (await SmClient.start(running, "juliet", "1")).available();
      juliet.acknowledge();
      await juliet.carried();
      juliet.raw.reset();
      await hibernating();
      const high = await SmClient.resume(running, { ...juliet.identity, h: juliet.handled + 1 });
      assert.match(high.answer, /<handled-count-too-high/);
      const low = await SmClient.resume(running, { ...juliet.identity, h: juliet.handled - 1 });
      assert.match(low.answer, /^<failed .*unexpected-request/);
      (await SmClient.resume(running, juliet.identity)).resumed();
    });

    it("gives the session to one of those that ask at once", async () => {
      const juliet = await (await SmClient.start(running, "juliet", "1")).available();
      const all = await Promise.all(Array.from({ length: 5 }, () => SmClient.resume(running, juliet.identity)));
      await waitUntil(() => running.status.connections === 1, "one to be left");
      assert.equal(running.status.sessions, 1);
      for (const { answer } of all) assert.match(answer, /^<(resumed|stream:error)/);
      const romeo = await SmClient.start(running, "romeo", "1");
      romeo.message("juliet@a.test", "still there");
      await romeo.carried();
      const got = all.filter(({ bodies }) => bodies.includes("still there"));
      assert.equal(got.length, 1);
    });

    it("waits for what is still at work, and hears nothing more on the old connection", async () => {
      const juliet = await (await SmClient.start(running, "juliet", "1")).available();
      // A hundred are stored; the rest comes back, and all of it takes a while.
      for (let index = 0; index < 50; index++) juliet.message("nurse@a.test", `n${index}`);
      const back = await SmClient.resume(running, juliet.identity);
      const h = back.resumed();
      for (let index = h - 1; index < 50; index++) back.message("nurse@a.test", `n${index}`);
      assert.equal(await back.carried(), 51);
      const bodies = (await offlineFor("nurse")).map(bodyOf);
      assert.deepEqual(
        bodies,
        Array.from({ length: 50 }, (_, index) => `n${index}`),
      );
    });
  });

  describe("at a shutdown", () => {
    it("has sessions that wait say goodbye, and their messages stored, unless it is a plain stop", async () => {
      const juliet = await (await SmClient.start(running, "juliet", "1")).available();
      const romeo = await (await SmClient.start(running, "romeo", "1")).available();
      juliet.raw.reset();
      await hibernating();
      romeo.message("juliet@a.test", "kept");
      await romeo.carried();
      const report = await running.stop({ cause: "evacuate" });
      assert.equal(report.exitCode, 0);
      assert.equal(report.obligations.run.stored, 1);
      assert.equal((report.sections.sessions as { hibernating: number }).hibernating, 1);
    });

    it("counts acknowledgements and the client's closing tag, and tells what was carried", async () => {
      // None of them can be resumed: those that can are kept.
      const juliet = await (await SmClient.start(running, "juliet", "1", { enable: "" })).available();
      const nurse = await (await SmClient.start(running, "nurse", "1", { enable: "", answerClose: false })).available();
      const romeo = await (await SmClient.start(running, "romeo", "1", { enable: "" })).available();
      juliet.answers = nurse.answers = false;
      romeo.message("juliet@a.test", "read");
      romeo.message("nurse@a.test", "unread");
      await Promise.all([juliet.got("read"), nurse.got("unread")]);
      const report = await running.stop();
      assert.equal(report.obligations.run.stored, 1);
      const last = romeo.raw.received.map(({ xml }) => xml).slice(-2);
      assert.match(last[0] ?? "", /^<a .*h=['"]3/);
      assert.match(last[1] ?? "", /system-shutdown/);
    });
  });
});
