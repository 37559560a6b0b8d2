import assert from "node:assert/strict";
import type { RosterItem } from "../../src/module.ts";
import { jidOf, ModuleHost, type RecordedSession } from "../../src/testing/module-host.ts";

const romeo = jidOf("romeo@a.test");

async function started(
  items: readonly (Partial<RosterItem> & { jid: string })[] = [],
  options = {},
): Promise<ModuleHost> {
  const host = await new ModuleHost().load(["roster", "presence"], { presence: options });
  host.accounts.add("romeo@a.test");
  await roster(host, "romeo@a.test", items);
  return host;
}

async function roster(host: ModuleHost, account: string, items: readonly (Partial<RosterItem> & { jid: string })[]) {
  const whole = items.map((item) => ({ groups: [], subscription: "none" as const, ...item }));
  await host.rosters.importItems(jidOf(account), whole);
}

/** What went to other domains since the last call, as `type to`, sorted. */
function sent(host: ModuleHost): string[] {
  return host.remote
    .splice(0)
    .map(({ type, to }) => `${type} ${to?.toString()}`)
    .sort();
}

/** What a session was given since the last call, as `type from`, sorted. */
function got(session: RecordedSession): string[] {
  return session.received
    .splice(0)
    .map(({ type, from }) => `${type} ${from.toString()}`)
    .sort();
}

const FOUR = [
  { jid: "none@b.test" },
  { jid: "to@b.test", subscription: "to" },
  { jid: "from@b.test", subscription: "from" },
  { jid: "both@b.test", subscription: "both" },
] as const;

describe("presence of a session", () => {
  it("goes to the contacts that may see it, with probes to those it may see, at its beginning", async () => {
    const host = await started(FOUR);
    const session = host.bind("romeo@a.test/x");
    await host.send(session, "<presence><show>away</show></presence>");
    assert.match(host.remote.map(({ text }) => text).join("\n"), /<show>away<\/show>/);
    assert.deepEqual(sent(host), [
      "available both@b.test",
      "available from@b.test",
      "probe both@b.test",
      "probe to@b.test",
    ]);
    assert.equal(session.presence?.element.getChildText("show"), "away");
  });

  it("is not probed for again at a change", async () => {
    const host = await started(FOUR);
    const session = await host.available("romeo@a.test/x");
    sent(host);
    await host.send(session, "<presence><show>dnd</show></presence>");
    assert.deepEqual(sent(host), ["available both@b.test", "available from@b.test"]);
  });

  it("goes to all available resources of the user, itself included, and theirs come back", async () => {
    const host = await started();
    const one = await host.available("romeo@a.test/1");
    const idle = host.bind("romeo@a.test/idle");
    const two = host.bind("romeo@a.test/2");
    await host.send(two, "<presence/>");
    assert.deepEqual(got(one), ["available romeo@a.test/2"]);
    assert.deepEqual(got(two), ["available romeo@a.test/1", "available romeo@a.test/2"]);
    assert.deepEqual(got(idle), []);
    await host.send(two, '<presence type="unavailable"/>');
    assert.deepEqual(got(one), ["unavailable romeo@a.test/2"]);
    assert.deepEqual(got(two), ["unavailable romeo@a.test/2"]);
  });

  it("is exchanged with local contacts by what both rosters say", async () => {
    const host = await started([
      { jid: "friend@a.test", subscription: "both" },
      { jid: "liar@a.test", subscription: "both" },
    ]);
    await roster(host, "friend@a.test", [{ jid: "romeo@a.test", subscription: "both" }]);
    const friend = await host.available("friend@a.test/f");
    const liar = await host.available("liar@a.test/l");
    const session = host.bind("romeo@a.test/x");
    await host.send(session, "<presence/>");
    assert.deepEqual(got(session), ["available friend@a.test/f", "available romeo@a.test/x"]);
    assert.deepEqual(got(friend), ["available romeo@a.test/x"]);
    assert.deepEqual(got(liar), ["available romeo@a.test/x"]);
  });

  for (const [priority, isGood] of [
    ["0", true],
    ["127", true],
    ["-128", true],
    [" +5 ", true],
    ["128", false],
    ["-129", false],
    ["1.5", false],
    ["x", false],
    ["", false],
  ] as const) {
    it(`${isGood ? "takes" : "refuses"} the priority "${priority}"`, async () => {
      const host = await started();
      const session = host.bind("romeo@a.test/x");
      await host.send(session, `<presence><priority>${priority}</priority></presence>`);
      assert.equal(session.presence !== undefined, isGood);
      assert.equal(/type="error".*<bad-request/.test(session.take().join()), !isGood);
    });
  }

  it("of a type nobody knows is refused", async () => {
    const host = await started();
    const session = host.bind("romeo@a.test/x");
    await host.send(session, '<presence type="hiding"/>');
    await host.send(session, '<presence type="hiding" to="a@b.test"/>');
    assert.equal(session.take().filter((text) => text.includes("<bad-request")).length, 2);
    assert.deepEqual(sent(host), []);
  });

  it("for one resource goes to that alone, and for one that is not there to nobody", async () => {
    const host = await started();
    const one = await host.available("romeo@a.test/1");
    const two = await host.available("romeo@a.test/2");
    got(one);
    await host.receive('<presence from="s@b.test/r" to="romeo@a.test/2"/>');
    await host.receive('<presence from="s@b.test/r" to="romeo@a.test/3"/>');
    await host.receive('<presence from="s@b.test/r" to="nobody@a.test"/>');
    assert.deepEqual([got(one), got(two)], [[], ["available s@b.test/r"]]);
    await host.receive('<presence from="s@b.test/r" to="romeo@a.test" type="unavailable"/>');
    assert.deepEqual([got(one), got(two)], [["unavailable s@b.test/r"], ["unavailable s@b.test/r"]]);
    assert.deepEqual(sent(host), []);
  });
});

describe("the end of a session", () => {
  it("is told to every contact that may see it, every other resource and every directed target, once each", async () => {
    const host = await started(FOUR);
    const session = await host.available("romeo@a.test/x");
    const other = await host.available("romeo@a.test/y");
    for (const to of ["room@c.test/nick", "none@b.test", "both@b.test", "both@b.test/r", "romeo@a.test/y"]) {
      await host.send(session, `<presence to="${to}"/>`);
    }
    sent(host);
    for (const each of [session, other]) got(each);
    await host.end(session, "maintenance & more");
    const text = host.remote.map((stanza) => stanza.text).join("\n");
    assert.ok(text.includes('<presence type="unavailable" from="romeo@a.test/x" to="room@c.test/nick">'), text);
    assert.ok(text.includes("<status>maintenance &amp; more</status>"), text);
    assert.deepEqual(sent(host), [
      "unavailable both@b.test",
      "unavailable from@b.test",
      "unavailable none@b.test",
      "unavailable room@c.test/nick",
    ]);
    assert.deepEqual(got(other), ["unavailable romeo@a.test/x"]);
    assert.deepEqual(session.received, []);
  });

  it("has no status without a reason", async () => {
    const host = await started(FOUR);
    const session = await host.available("romeo@a.test/x");
    host.takeRemote();
    await host.end(session);
    assert.ok(host.takeRemote().every((text) => text.endsWith("/>")));
  });

  it("is told to directed targets also of a session that never was available, and to nobody else", async () => {
    const host = await started(FOUR);
    const session = host.bind("romeo@a.test/x");
    await host.send(session, '<presence to="room@c.test/nick"/>');
    await host.send(session, '<presence to="both@b.test"/>');
    sent(host);
    await host.end(session);
    assert.deepEqual(sent(host), ["unavailable both@b.test", "unavailable room@c.test/nick"]);
  });

  it("is not told by a session that nobody saw, nor a second time after its own goodbye", async () => {
    const host = await started(FOUR);
    await host.end(host.bind("romeo@a.test/quiet"));
    assert.deepEqual(sent(host), []);
    const session = await host.available("romeo@a.test/x");
    await host.send(session, '<presence to="room@c.test/nick"/>');
    sent(host);
    await host.send(session, '<presence type="unavailable"><status>bye</status></presence>');
    assert.equal(host.remote.filter(({ text }) => text.includes("<status>bye</status>")).length, 3);
    assert.deepEqual(sent(host), [
      "unavailable both@b.test",
      "unavailable from@b.test",
      "unavailable room@c.test/nick",
    ]);
    await host.end(session);
    assert.deepEqual(sent(host), []);
  });

  it("is not told to a directed target that was told already", async () => {
    const host = await started();
    const session = await host.available("romeo@a.test/x");
    await host.send(session, '<presence to="room@c.test/nick"/>');
    await host.send(session, '<presence to="room@c.test/nick" type="unavailable"/>');
    sent(host);
    await host.end(session);
    assert.deepEqual(sent(host), []);
  });

  it("is told to a local contact's resource that is only connected when it got directed presence", async () => {
    const host = await started([{ jid: "friend@a.test", subscription: "both" }]);
    const friend = host.bind("friend@a.test/f");
    const session = await host.available("romeo@a.test/x");
    await host.send(session, '<presence to="friend@a.test/f"/>');
    got(friend);
    await host.end(session);
    assert.deepEqual(got(friend), ["unavailable romeo@a.test/x"]);
  });

  it("leaves no ghost when it comes while the first presence still waits for the roster", async () => {
    const host = await started(FOUR);
    const session = host.bind("romeo@a.test/x");
    const sending = host.send(session, "<presence/>");
    await Promise.all([sending, host.end(session)]);
    const order = host.remote.map(({ type, to }) => `${type} ${to?.toString()}`);
    for (const contact of ["from@b.test", "both@b.test"]) {
      assert.ok(order.lastIndexOf(`unavailable ${contact}`) > order.lastIndexOf(`available ${contact}`), contact);
      assert.equal(order.filter((line) => line === `unavailable ${contact}`).length, 1);
    }
    host.takeRemote();
    await host.send(session, "<presence/>");
    assert.deepEqual(sent(host), []);
  });

  it("reaches every other server though one takes nothing", async () => {
    const host = await started([
      { jid: "a@stuck.test", subscription: "both" },
      { jid: "a@fine.test", subscription: "both" },
    ]);
    const session = await host.available("romeo@a.test/x");
    sent(host);
    let letGo: () => void = () => undefined;
    host.slowRemote = ({ to }) =>
      to?.domain === "stuck.test" ? new Promise((resolve) => (letGo = resolve)) : undefined;
    const ending = host.end(session);
    await host.settle();
    assert.deepEqual(sent(host), ["unavailable a@fine.test", "unavailable a@stuck.test"]);
    letGo();
    await ending;
  });

  it("is not held up by a local contact that does not read", async () => {
    const host = await started([{ jid: "friend@a.test", subscription: "both" }]);
    const friend = await host.available("friend@a.test/f");
    const session = await host.available("romeo@a.test/x");
    friend.slow = () => new Promise(() => undefined);
    await host.end(session);
    assert.ok(got(friend).includes("unavailable romeo@a.test/x"));
  });

  it("is told to directed targets also when the roster cannot be read", async () => {
    const host = await started();
    const session = await host.available("romeo@a.test/x");
    await host.send(session, '<presence to="room@c.test/nick"/>');
    sent(host);
    host.rosters.load = () => Promise.reject(new Error("the disk is gone"));
    await host.end(session);
    assert.deepEqual(sent(host), ["unavailable room@c.test/nick"]);
    assert.equal(host.logged.at(-1)?.fields.module, "presence");
  });

  it("is told for a thousand sessions with two contacts each, once each", async () => {
    const host = await new ModuleHost().load(["presence"]);
    const sessions: RecordedSession[] = [];
    for (let index = 0; index < 1_000; index++) {
      const contacts = [1, 2].map((number) => ({ jid: `c${index}.${number}@b.test`, subscription: "both" as const }));
      await roster(host, `u${index}@a.test`, contacts);
      sessions.push(await host.available(`u${index}@a.test/x`));
    }
    sent(host);
    await Promise.all(sessions.map((session) => host.end(session, "down")));
    const told = sent(host);
    assert.equal(told.length, 2_000);
    assert.equal(new Set(told).size, 2_000);
  });
});

describe("a session that may go on after the next start", () => {
  const both = (jid: string) => [{ jid, subscription: "both" as const }];

  it("hears of those who go after its own goodbye, so that its client sees no ghost when it is back", async () => {
    const host = await started(both("juliet@a.test"));
    host.accounts.add("juliet@a.test");
    await roster(host, "juliet@a.test", both("romeo@a.test"));
    const balcony = await host.available("romeo@a.test/x");
    const street = await host.available("romeo@a.test/y");
    const juliet = await host.available("juliet@a.test/z");
    for (const session of [balcony, street, juliet]) got(session);
    await host.ask("session/parting", { session: balcony, reason: "" });
    assert.deepEqual(got(juliet), ["unavailable romeo@a.test/x"]);
    await host.send(juliet, "<presence><show>away</show></presence>");
    assert.deepEqual(got(balcony), [], "nothing but goodbyes");
    await host.end(juliet);
    await host.end(street);
    assert.deepEqual(got(balcony), ["unavailable juliet@a.test/z", "unavailable romeo@a.test/y"]);
  });
});

describe("directed presence", () => {
  it("is bounded for each session", async () => {
    const host = await started([], { max_directed: 2 });
    const session = host.bind("romeo@a.test/x");
    for (const name of ["a", "b", "c", "a"]) await host.send(session, `<presence to="${name}@c.test"/>`);
    assert.deepEqual(sent(host), ["available a@c.test", "available a@c.test", "available b@c.test"]);
    assert.match(session.take().join(), /resource-constraint/);
  });
});

describe("a probe", () => {
  const probe = (from: string) => `<presence type="probe" from="${from}" to="romeo@a.test"/>`;

  it("of a contact that may see the user is answered with each resource's presence", async () => {
    const host = await started(FOUR);
    await host.available("romeo@a.test/1", "<presence><show>away</show></presence>");
    await host.available("romeo@a.test/2");
    host.bind("romeo@a.test/idle");
    sent(host);
    await host.receive(probe("from@b.test/r"));
    const texts = host.takeRemote().sort();
    assert.equal(texts.length, 2);
    assert.match(texts.join(), /from="romeo@a.test\/1" to="from@b.test\/r"><show>away/);
  });

  it("is answered with unavailable when nobody is there", async () => {
    const host = await started(FOUR);
    await host.receive(probe("both@b.test"));
    assert.deepEqual(host.takeRemote(), ['<presence type="unavailable" from="romeo@a.test" to="both@b.test"/>']);
  });

  it("of anybody else is refused", async () => {
    const host = await started(FOUR);
    await host.available("romeo@a.test/1");
    sent(host);
    for (const from of ["none@b.test/r", "to@b.test", "stranger@b.test"]) await host.receive(probe(from));
    assert.deepEqual(sent(host), [
      "unsubscribed none@b.test",
      "unsubscribed stranger@b.test",
      "unsubscribed to@b.test",
    ]);
  });

  it("does not refuse a request that waits for the user", async () => {
    const host = await started([{ jid: "j@b.test", hidden: true, pendingIn: "" }]);
    await host.receive(probe("j@b.test/r"));
    assert.deepEqual(sent(host), []);
  });

  it("for an account that does not exist gets no answer", async () => {
    const host = await started();
    await host.receive('<presence type="probe" from="s@b.test" to="nobody@a.test"/>');
    assert.deepEqual(sent(host), []);
  });
});

describe("subscriptions", () => {
  const item = async (host: ModuleHost, account: string, contact: string) =>
    (await host.rosters.load(jidOf(account))).items.get(contact);

  async function twoUsers() {
    const host = await started();
    const one = host.bind("romeo@a.test/x");
    const two = host.bind("juliet@a.test/y");
    for (const session of [one, two]) {
      await host.send(session, '<iq type="get" id="r"><query xmlns="jabber:iq:roster"/></iq>');
      await host.send(session, "<presence/>");
      session.take();
    }
    return { host, romeo: one, juliet: two };
  }

  it("come about between two users of this server, step by step", async () => {
    const { host, romeo: one, juliet } = await twoUsers();
    await host.send(one, '<presence type="subscribe" to="juliet@a.test/y"><status>please</status></presence>');
    const pushed = one.take();
    assert.equal(pushed.length, 1);
    assert.match(pushed.join(), /<item jid="juliet@a.test" subscription="none" ask="subscribe"\/>/);
    assert.deepEqual(juliet.take(), [
      '<presence type="subscribe" to="juliet@a.test" from="romeo@a.test"><status>please</status></presence>',
    ]);
    assert.equal((await item(host, "juliet@a.test", "romeo@a.test"))?.hidden, true);

    await host.send(juliet, '<presence type="subscribed" to="romeo@a.test"/>');
    const [stanza = "", push = "", presence = "", ...more] = one.take();
    assert.match(stanza, /<presence type="subscribed" to="romeo@a.test" from="juliet@a.test"\/>/);
    assert.match(push, /<item jid="juliet@a.test" subscription="to"\/>/);
    assert.match(presence, /<presence from="juliet@a.test\/y" to="romeo@a.test"\/>/);
    assert.deepEqual(more, []);
    assert.match(juliet.take().join(), /<item jid="romeo@a.test" subscription="from"\/>/);

    await host.send(juliet, '<presence type="subscribe" to="romeo@a.test"/>');
    await host.send(one, '<presence type="subscribed" to="juliet@a.test"/>');
    assert.equal((await item(host, "romeo@a.test", "juliet@a.test"))?.subscription, "both");
    assert.equal((await item(host, "juliet@a.test", "romeo@a.test"))?.subscription, "both");
    for (const session of [one, juliet]) session.take();

    await host.send(one, '<presence type="unsubscribed" to="juliet@a.test"/>');
    assert.deepEqual(
      juliet.received.map(({ kind, type }) => `${kind} ${type}`),
      ["presence unavailable", "presence unsubscribed", "iq set"],
    );
    assert.equal((await item(host, "romeo@a.test", "juliet@a.test"))?.subscription, "to");
    assert.equal((await item(host, "juliet@a.test", "romeo@a.test"))?.subscription, "from");

    for (const session of [one, juliet]) session.take();
    await host.send(one, '<presence type="unsubscribe" to="juliet@a.test"/>');
    assert.equal((await item(host, "juliet@a.test", "romeo@a.test"))?.subscription, "none");
    assert.ok(got(one).includes("unavailable juliet@a.test/y"));
  });

  it("are on disk before the stanza goes out", async () => {
    const host = await started();
    const session = host.bind("romeo@a.test/x");
    let flushed = false;
    host.store.hooks.beforeFlush = () => {
      flushed = true;
      assert.deepEqual(host.remote, []);
    };
    await host.send(session, '<presence type="subscribe" to="j@b.test"/>');
    assert.ok(flushed);
    assert.deepEqual(sent(host), ["subscribe j@b.test"]);
  });

  it("keep a request for when the user comes, again and again until it is answered", async () => {
    const host = await started();
    await host.receive(
      '<presence type="subscribe" from="j@b.test/r" to="romeo@a.test" id="7"><nick xmlns="n">J</nick></presence>',
    );
    for (const resource of ["1", "2"]) {
      const session = host.bind(`romeo@a.test/${resource}`);
      await host.send(session, "<presence/>");
      const request = session.take().find((text) => text.includes("subscribe")) ?? "";
      assert.match(request, /from="j@b.test"/);
      assert.match(request, /to="romeo@a.test".*<nick xmlns="n">J<\/nick>/);
      await host.end(session);
    }
    const session = host.bind("romeo@a.test/3");
    await host.send(session, '<presence type="unsubscribed" to="j@b.test"/>');
    assert.ok(sent(host).includes("unsubscribed j@b.test"));
    assert.equal(await item(host, "romeo@a.test", "j@b.test"), undefined);
    await host.send(session, "<presence/>");
    assert.ok(!session.take().join().includes("subscribe"));
  });

  it("keep of a very long request only that there is one", async () => {
    const host = await started();
    const status = "x".repeat(10_000);
    await host.receive(
      `<presence type="subscribe" from="j@b.test" to="romeo@a.test"><status>${status}</status></presence>`,
    );
    assert.equal((await item(host, "romeo@a.test", "j@b.test"))?.pendingIn, "");
    const session = host.bind("romeo@a.test/1");
    await host.send(session, "<presence/>");
    assert.ok(session.take().includes('<presence type="subscribe" from="j@b.test" to="romeo@a.test"/>'));
  });

  it("keep only so many requests of strangers", async () => {
    const host = await started([], { max_requests: 2 });
    for (const name of ["a", "b", "c"]) {
      await host.receive(`<presence type="subscribe" from="${name}@b.test" to="romeo@a.test"/>`);
    }
    assert.deepEqual(sent(host), ["error c@b.test"]);
    assert.equal((await host.rosters.load(romeo)).items.size, 2);
  });

  it("put only so many contacts on a roster", async () => {
    const host = await started([{ jid: "a@b.test" }], { max_contacts: 1 });
    const session = host.bind("romeo@a.test/x");
    await host.send(session, '<presence type="subscribe" to="c@b.test"/>');
    assert.match(session.take().join(), /resource-constraint/);
    assert.deepEqual(sent(host), []);
  });

  it("that exist already are confirmed for the user", async () => {
    const host = await started([{ jid: "j@b.test", subscription: "from" }]);
    const session = await host.available("romeo@a.test/x");
    sent(host);
    await host.receive('<presence type="subscribe" from="j@b.test" to="romeo@a.test"/>');
    assert.deepEqual(sent(host), ["available j@b.test", "subscribed j@b.test"]);
    assert.deepEqual(session.take(), []);
  });

  it("can be approved before they are asked for, and that can be taken back", async () => {
    const host = await started();
    const session = host.bind("romeo@a.test/x");
    await host.send(session, '<presence type="subscribed" to="j@b.test"/>');
    assert.deepEqual(sent(host), []);
    assert.equal((await item(host, "romeo@a.test", "j@b.test"))?.approved, true);
    await host.receive('<presence type="subscribe" from="j@b.test" to="romeo@a.test"/>');
    assert.deepEqual(sent(host), ["subscribed j@b.test"]);
    assert.equal((await item(host, "romeo@a.test", "j@b.test"))?.subscription, "from");
    assert.equal((await item(host, "romeo@a.test", "j@b.test"))?.approved, undefined, "used up");
    assert.deepEqual(session.take(), []);

    await host.send(session, '<presence type="subscribed" to="k@b.test"/>');
    await host.send(session, '<presence type="unsubscribed" to="k@b.test"/>');
    assert.equal((await item(host, "romeo@a.test", "k@b.test"))?.approved, undefined);
    await host.receive('<presence type="subscribe" from="k@b.test" to="romeo@a.test"/>');
    assert.deepEqual(sent(host), []);
  });

  it("of a user with himself do nothing", async () => {
    const host = await started();
    const session = host.bind("romeo@a.test/x");
    for (const type of ["subscribe", "subscribed", "unsubscribe", "unsubscribed"]) {
      await host.send(session, `<presence type="${type}" to="romeo@a.test"/>`);
    }
    assert.equal((await host.rosters.load(romeo)).items.size, 0);
  });

  it("that nobody asked for are not believed", async () => {
    const host = await started();
    const session = await host.available("romeo@a.test/x");
    await host.receive('<presence type="subscribed" from="j@b.test" to="romeo@a.test"/>');
    assert.equal((await host.rosters.load(romeo)).items.size, 0);
    assert.deepEqual(session.take(), []);
  });

  it("end the directed presence to the contact too: it is told once", async () => {
    const host = await started([{ jid: "j@b.test", subscription: "from" }]);
    const session = await host.available("romeo@a.test/x");
    await host.send(session, '<presence to="j@b.test"/>');
    sent(host);
    await host.send(session, '<presence type="unsubscribed" to="j@b.test"/>');
    await host.end(session);
    assert.deepEqual(sent(host), ["unavailable j@b.test", "unsubscribed j@b.test"]);
  });
});
