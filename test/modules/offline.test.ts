import assert from "node:assert/strict";
import { treatmentOf } from "../../modules/offline/eligible.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { jidOf, ModuleHost, type RecordedSession, stanzaOf } from "../../src/testing/module-host.ts";

async function started(options = {}, store = new MemoryStore()): Promise<ModuleHost> {
  const host = await new ModuleHost({ store }).load(["presence", "offline"], { offline: options });
  host.accounts.add("romeo@a.test");
  return host;
}

async function message(host: ModuleHost, body: string, type = "chat"): Promise<void> {
  await host.receive(
    `<message type="${type}" id="${body}" from="j@b.test/r" to="romeo@a.test"><body>${body}</body></message>`,
  );
}

function bodies(session: RecordedSession): (string | null)[] {
  return session.received
    .splice(0)
    .filter(({ kind }) => kind === "message")
    .map(({ element }) => element.getChildText("body"));
}

async function login(host: ModuleHost, full = "romeo@a.test/x", presence = "<presence/>"): Promise<RecordedSession> {
  const session = host.bind(full);
  await host.send(session, presence);
  await host.settle();
  return session;
}

/** A session that was handed messages and has not acknowledged them. */
async function withUnacknowledged(count: number) {
  const host = await started();
  for (let index = 0; index < count; index++) await message(host, String(index));
  const session = host.bind("romeo@a.test/x");
  session.acknowledges = false;
  await host.send(session, "<presence/>");
  await host.settle();
  assert.equal(bodies(session).length, count);
  return { host, session };
}

async function countStored(host: ModuleHost): Promise<number> {
  return (await host.store.range("module:offline", [])).length;
}

describe("offline messages", () => {
  it("are handed over in order, stamped with the time they came, and then are gone", async () => {
    const host = await started();
    await message(host, "one");
    await host.clock.advance(60_000);
    await message(host, "two", "normal");
    assert.deepEqual(host.takeRemote(), []);
    await host.clock.advance(60_000);
    const session = await login(host);
    const texts = session.received.filter(({ kind }) => kind === "message").map(({ text }) => text);
    assert.equal(
      texts[0],
      '<message type="chat" id="one" from="j@b.test/r" to="romeo@a.test"><body>one</body>' +
        '<delay xmlns="urn:xmpp:delay" from="a.test" stamp="2026-01-01T00:00:00.000Z"/></message>',
    );
    assert.match(texts[1] ?? "", /id="two".*stamp="2026-01-01T00:01:00.000Z"/);
    assert.deepEqual(bodies(session), ["one", "two"]);
    assert.deepEqual(bodies(await login(host, "romeo@a.test/later")), []);
    assert.deepEqual(await host.store.range("module:offline", []), []);
  });

  it("are on disk before they count as stored", async () => {
    const host = await started();
    const stanza = stanzaOf('<message from="j@b.test/r" to="romeo@a.test"><body>x</body></message>');
    let release: () => void = () => undefined;
    host.store.hooks.beforeFlush = () => new Promise((resolve) => (release = resolve));
    let answer: unknown;
    const asked = host.ask("message/offline", { stanza, account: jidOf("romeo@a.test") }).then((given) => {
      answer = given;
    });
    await host.settle();
    assert.equal(answer, undefined);
    release();
    await asked;
    assert.equal(answer, "stored");
    assert.equal((await host.store.afterCrash().range("module:offline", [])).length, 1);
  });

  it("go back to their sender when the store fails", async () => {
    const host = await started();
    host.store.hooks.beforeWrite = () => {
      throw new Error("the disk is full");
    };
    await message(host, "one");
    assert.match(host.takeRemote().join(), /service-unavailable/);
  });

  it("go back to their sender beyond the limit, which counts each account alone", async () => {
    const host = await started({ max_messages: 3 });
    host.accounts.add("juliet@a.test");
    await Promise.all(["1", "2", "3", "4", "5"].map((body) => message(host, body)));
    const returned = host.takeRemote();
    assert.equal(returned.length, 2);
    assert.match(returned.join(), /id="4".*service-unavailable.*id="5"/);
    await host.receive('<message from="j@b.test" to="juliet@a.test"><body>x</body></message>');
    assert.deepEqual(host.takeRemote(), []);
    assert.deepEqual(bodies(await login(host)), ["1", "2", "3"]);
  });

  it("count anew once they were handed over, also after a restart", async () => {
    const host = await started({ max_messages: 1 });
    await message(host, "1");
    const session = await login(host);
    await host.end(session);
    await message(host, "2");
    assert.deepEqual(host.takeRemote(), []);
    await host.loader.unload("offline");
    await host.load(["offline"], { offline: { max_messages: 1 } });
    await message(host, "3");
    assert.match(host.takeRemote().join(), /service-unavailable/);
  });

  it("are not for a session with a negative priority, until it has another", async () => {
    const host = await started();
    await message(host, "one");
    const session = await login(host, "romeo@a.test/x", "<presence><priority>-1</priority></presence>");
    assert.deepEqual(bodies(session), []);
    await host.send(session, "<presence><priority>1</priority></presence>");
    assert.deepEqual(bodies(session), ["one"]);
  });

  it("are not handed over at directed presence", async () => {
    const host = await started();
    await message(host, "one");
    assert.deepEqual(bodies(await login(host, "romeo@a.test/x", '<presence to="room@c.test/n"/>')), []);
  });

  it("come once when two resources come at once", async () => {
    const host = await started();
    for (let index = 0; index < 5; index++) await message(host, String(index));
    const sessions = ["x", "y", "z"].map((resource) => host.bind(`romeo@a.test/${resource}`));
    await Promise.all(sessions.map((session) => host.send(session, "<presence/>")));
    await host.settle();
    assert.deepEqual(
      sessions
        .flatMap(bodies)
        .map(Number)
        .sort((a, b) => a - b),
      [0, 1, 2, 3, 4],
    );
  });

  it("that come meanwhile keep their place behind those that wait", async () => {
    const host = await started();
    await message(host, "1");
    await message(host, "2");
    const session = host.bind("romeo@a.test/x");
    let isFirst = true;
    session.slow = async () => {
      if (!isFirst) return;
      isFirst = false;
      await message(host, "3");
      await message(host, "4");
    };
    await host.send(session, "<presence/>");
    await message(host, "5");
    await host.settle();
    assert.deepEqual(bodies(session), ["1", "2", "3", "4", "5"]);
  });

  it("that are on their way to the disk when the user comes are not left behind", async () => {
    const host = await started();
    let release: () => void = () => undefined;
    host.store.hooks.beforeWrite = () => new Promise((resolve) => (release = resolve));
    const storing = message(host, "1");
    await host.settle();
    const session = await login(host);
    assert.deepEqual(bodies(session), []);
    host.store.hooks.beforeWrite = undefined;
    release();
    await storing;
    await host.settle();
    assert.deepEqual(bodies(session), ["1"]);
  });

  it("wait on when the session ends in the middle, and go to the next one", async () => {
    const host = await started();
    for (let index = 0; index < 4; index++) await message(host, String(index));
    const dying = host.bind("romeo@a.test/x");
    dying.slow = async () => {
      dying.slow = undefined;
      await host.end(dying);
    };
    await host.send(dying, "<presence/>");
    assert.deepEqual(bodies(dying), ["0"]);
    assert.deepEqual(bodies(await login(host, "romeo@a.test/y")), ["1", "2", "3"]);
  });

  it("go to a resource that came while another was being served and ended", async () => {
    const host = await started();
    for (let index = 0; index < 3; index++) await message(host, String(index));
    const dying = host.bind("romeo@a.test/x");
    const next = host.bind("romeo@a.test/y");
    dying.slow = async () => {
      dying.slow = undefined;
      await host.send(next, "<presence/>");
      await host.end(dying);
    };
    await host.send(dying, "<presence/>");
    await host.settle();
    assert.deepEqual([bodies(dying), bodies(next)], [["0"], ["1", "2"]]);
  });

  it("come in more than one helping when there are many", async () => {
    const host = await started({ max_messages: 1_000 });
    const all = Array.from({ length: 230 }, (_, index) => String(index));
    await Promise.all(all.map((body) => message(host, body)));
    assert.deepEqual(bodies(await login(host)), all);
  });

  it("go with the account", async () => {
    const host = await started();
    await message(host, "one");
    host.notifications.notify("account/removed", jidOf("romeo@a.test"));
    await host.settle();
    assert.deepEqual(await host.store.range("module:offline", []), []);
  });

  it("keep a stamp that this server gave already", async () => {
    const host = await started();
    const stamp = '<delay xmlns="urn:xmpp:delay" from="a.test" stamp="2020-01-01T00:00:00Z"/>';
    await host.receive(`<message from="j@b.test" to="romeo@a.test"><body>x</body>${stamp}</message>`);
    const session = await login(host);
    const text = session.received.find(({ kind }) => kind === "message")?.text ?? "";
    assert.equal(text.split("<delay").length, 2);
    assert.match(text, /stamp="2020-01-01T00:00:00Z"/);
  });

  it("are dropped without a word where they say only what is true at this moment", async () => {
    const host = await started();
    const state = '<composing xmlns="http://jabber.org/protocol/chatstates"/>';
    await host.receive(`<message type="chat" from="j@b.test/r" to="romeo@a.test">${state}</message>`);
    assert.deepEqual(host.takeRemote(), []);
    assert.deepEqual(await host.store.range("module:offline", []), []);
  });

  it("that a session could not take keep waiting, and those before them do not come again", async () => {
    const host = await started();
    for (let index = 0; index < 4; index++) await message(host, String(index));
    const breaking = host.bind("romeo@a.test/x");
    breaking.slow = () => {
      if (breaking.received.length > 2) throw new Error("the session broke");
      return Promise.resolve();
    };
    await host.send(breaking, "<presence/>");
    await host.end(breaking);
    assert.equal((await host.store.range("module:offline", [])).length, 2);
    assert.deepEqual(bodies(await login(host, "romeo@a.test/y")), ["2", "3"]);
  });

  it("are deleted only when the client has acknowledged them, so that a crash before that keeps them", async () => {
    const { host, session } = await withUnacknowledged(2);
    assert.equal(await countStored(host), 2);
    session.acknowledge();
    await host.settle();
    assert.equal(await countStored(host), 0);
    await host.end(session);
    assert.deepEqual(bodies(await login(host, "romeo@a.test/y")), []);
  });

  it("that wait for an acknowledgement go to nobody else, until that session has ended", async () => {
    const { host, session } = await withUnacknowledged(3);
    const other = await login(host, "romeo@a.test/y");
    await message(host, "3");
    assert.deepEqual(bodies(other), ["3"]);
    await host.end(session);
    await host.settle();
    assert.deepEqual(bodies(other), ["0", "1", "2"]);
    await host.settle();
    assert.equal(await countStored(host), 0);
  });

  it("that a session left behind wait for the next one, in their old order", async () => {
    const { host, session } = await withUnacknowledged(3);
    await host.end(session);
    await message(host, "3");
    assert.deepEqual(bodies(await login(host, "romeo@a.test/y")), ["0", "1", "2", "3"]);
  });

  it("that a session has which goes on in the next life are deleted there at its acknowledgement, and come once", async () => {
    const { host: first, session } = await withUnacknowledged(3);
    const states = await first.handOver([session]);
    const host = await started({}, first.store);
    const kept = host.bind("romeo@a.test/x");
    kept.acknowledges = false;
    await host.takeOver(states);
    host.notifications.notify("server-alone", undefined);
    await host.send(kept, "<presence/>");
    const other = await login(host, "romeo@a.test/y");
    assert.deepEqual([...bodies(kept), ...bodies(other)], []);
    for (const [key] of await host.store.range("module:offline", [])) {
      host.notifications.notify("stanza/taken", { session: kept, ref: `offline:${key[1]}` });
    }
    await host.settle();
    assert.equal(await countStored(host), 0);
  });

  it("that a predecessor's session has are nobody's before it has given them away or gone", async () => {
    const { host: first } = await withUnacknowledged(2);
    const states = await first.handOver([]);
    const host = await started({}, first.store);
    await host.takeOver(states);
    const session = await login(host, "romeo@a.test/y");
    assert.deepEqual(bodies(session), []);
    host.notifications.notify("server-alone", undefined);
    await host.settle();
    assert.deepEqual(bodies(session), ["0", "1"]);
  });

  it("that are left behind in a predecessor go to its successor, and are not in the store twice", async () => {
    const { host, session } = await withUnacknowledged(2);
    const passed: (string | null)[] = [];
    host.router.passOn(({ kind, element }) => {
      if (kind === "message") passed.push(element.getChildText("body"));
    });
    await host.end(session);
    await host.settle();
    assert.deepEqual(passed, ["0", "1"]);
    assert.equal(await countStored(host), 0);
  });

  it("that cannot be deleted do not come again in this life, and are deleted with the next", async () => {
    const { host, session } = await withUnacknowledged(1);
    host.store.hooks.beforeWrite = () => {
      throw new Error("the disk is full");
    };
    session.acknowledge();
    await host.settle();
    host.store.hooks.beforeWrite = undefined;
    await host.end(session);
    const other = await login(host, "romeo@a.test/y");
    assert.deepEqual(bodies(other), []);
    await host.loader.unload("offline");
    assert.equal(await countStored(host), 0);
  });

  for (const [what, type, content, treatment] of [
    ["a chat message with a body", "chat", "<body>x</body>", "kept"],
    ["a normal message with a body", "normal", "<body>x</body>", "kept"],
    ["a message that says not to", "chat", '<body>x</body><no-store xmlns="urn:xmpp:hints"/>', "refused"],
    ["a chat message that says so", "chat", '<r xmlns="urn:r"/><store xmlns="urn:xmpp:hints"/>', "kept"],
    ["a chat state", "chat", '<composing xmlns="http://jabber.org/protocol/chatstates"/>', "dropped"],
    [
      "a chat state in a normal message",
      "normal",
      '<active xmlns="http://jabber.org/protocol/chatstates"/>',
      "dropped",
    ],
    [
      "a chat state with hints and an identifier",
      "chat",
      '<gone xmlns="http://jabber.org/protocol/chatstates"/><no-store xmlns="urn:xmpp:hints"/><origin-id xmlns="urn:xmpp:sid:0" id="1"/>',
      "dropped",
    ],
    ["an invitation", "normal", '<x xmlns="jabber:x:conference" jid="room@c.test"/>', "kept"],
    ["a receipt", "chat", '<received xmlns="urn:xmpp:receipts" id="1"/>', "kept"],
    ["an empty message", "normal", "", "dropped"],
    ["a headline", "headline", "<body>x</body>", "refused"],
    ["a group chat message", "groupchat", "<body>x</body>", "refused"],
    ["an error of which somebody is to learn", "error", "<body>x</body>", "kept"],
  ] as const) {
    it(`that are ${what}: ${treatment}`, () => {
      const stanza = stanzaOf(`<message type="${type}" from="j@b.test" to="romeo@a.test">${content}</message>`);
      assert.equal(treatmentOf(stanza), treatment);
    });
  }
});
