import assert from "node:assert/strict";
import type { RosterItem } from "../../src/module.ts";
import { jidOf, ModuleHost, type RecordedSession } from "../../src/testing/module-host.ts";

const romeo = jidOf("romeo@a.test");

function query(items = "", attrs = ""): string {
  return `<query xmlns="jabber:iq:roster"${attrs}>${items}</query>`;
}

async function get(host: ModuleHost, session: RecordedSession, attrs = ""): Promise<string[]> {
  await host.send(session, `<iq type="get" id="g">${query("", attrs)}</iq>`);
  return session.take();
}

async function set(host: ModuleHost, session: RecordedSession, items: string): Promise<string[]> {
  await host.send(session, `<iq type="set" id="s">${query(items)}</iq>`);
  return session.take();
}

async function started(items: readonly Partial<RosterItem>[] = [], options = {}) {
  const host = await new ModuleHost().load(["roster", "presence"], { roster: options });
  host.accounts.add("romeo@a.test");
  await host.rosters.importItems(
    romeo,
    items.map((item) => ({ jid: "j@b.test", groups: [], subscription: "none", ...item })),
  );
  return { host, session: host.bind("romeo@a.test/x") };
}

describe("roster", () => {
  it("is given with every visible item and its attributes", async () => {
    const { host, session } = await started([
      { jid: "j@b.test", name: "J & J", groups: ["a", "b"], subscription: "both" },
      { jid: "k@b.test", ask: true, approved: true },
      { jid: "l@b.test", hidden: true, pendingIn: "" },
    ]);
    const [answer, ...more] = await get(host, session);
    assert.deepEqual(more, []);
    assert.equal(
      answer,
      '<iq type="result" id="g" from="romeo@a.test" to="romeo@a.test/x"><query xmlns="jabber:iq:roster">' +
        '<item jid="j@b.test" name="J &amp; J" subscription="both"><group>a</group><group>b</group></item>' +
        '<item jid="k@b.test" subscription="none" ask="subscribe" approved="true"/></query></iq>',
    );
  });

  it("is nobody else's to read or to change", async () => {
    const { host } = await started([{}]);
    const other = host.bind("tybalt@a.test/x");
    await host.send(other, `<iq type="get" id="1" to="romeo@a.test">${query()}</iq>`);
    assert.match(other.take().join(), /service-unavailable/);
    await host.send(other, `<iq type="set" id="1" to="romeo@a.test">${query('<item jid="t@a.test"/>')}</iq>`);
    assert.match(other.take().join(), /type="auth"><forbidden/);
    await host.receive(
      `<iq type="set" id="1" from="t@b.test/x" to="romeo@a.test">${query('<item jid="t@b.test"/>')}</iq>`,
    );
    assert.match(host.takeRemote().join(), /<forbidden/);
    assert.equal((await host.rosters.load(romeo)).items.size, 1);
  });

  describe("set", () => {
    it("stores the item, answers and pushes to those who asked for the roster, and only to them", async () => {
      const { host, session } = await started();
      const other = host.bind("romeo@a.test/y");
      const idle = await host.available("romeo@a.test/z");
      await get(host, session);
      await get(host, other);
      const given = await set(
        host,
        session,
        '<item jid="J@B.test" name="J" subscription="both" ask="subscribe"><group>g</group></item>',
      );
      const { version } = await host.rosters.load(romeo);
      const item = '<item jid="j@b.test" name="J" subscription="none"><group>g</group></item>';
      const pushed = `<query xmlns="jabber:iq:roster" ver="${version}">${item}</query></iq>`;
      assert.equal(given.filter((text) => text.includes('type="result"')).length, 1);
      assert.equal(given.filter((text) => text.includes('type="set"') && text.endsWith(pushed)).length, 1);
      const [push = "", ...more] = other.take();
      assert.ok(push.endsWith(pushed), push);
      assert.match(push, /from="romeo@a.test" to="romeo@a.test\/y"/);
      assert.deepEqual(more, []);
      assert.deepEqual(idle.take(), []);
    });

    it("keeps the subscription and what is pending, and takes away a name that is not given", async () => {
      const { host, session } = await started([{ name: "old", subscription: "from", ask: true, approved: true }]);
      await set(host, session, '<item jid="j@b.test"><group>g</group></item>');
      const { items } = await host.rosters.load(romeo);
      assert.deepEqual(items.get("j@b.test"), {
        jid: "j@b.test",
        groups: ["g"],
        subscription: "from",
        ask: true,
        approved: true,
      });
    });

    it("makes a contact of one that only had asked, whose request waits on", async () => {
      const { host, session } = await started([{ hidden: true, pendingIn: "x" }]);
      await set(host, session, '<item jid="j@b.test"/>');
      const item = (await host.rosters.load(romeo)).items.get("j@b.test");
      assert.deepEqual([item?.hidden, item?.pendingIn], [undefined, "x"]);
    });

    for (const [items, condition] of [
      ["", "bad-request"],
      ['<item jid="a@b.test"/><item jid="c@b.test"/>', "bad-request"],
      ['<thing jid="a@b.test"/>', "bad-request"],
      ["<item/>", "bad-request"],
      ['<item jid="a@b.test/x"/>', "bad-request"],
      ['<item jid="a@b@c"/>', "jid-malformed"],
      ['<item jid="romeo@a.test"/>', "not-allowed"],
      ['<item jid="a@b.test"><group>g</group><group>g</group></item>', "bad-request"],
      ['<item jid="a@b.test"><group/></item>', "not-acceptable"],
      [`<item jid="a@b.test"><group>${"g".repeat(11)}</group></item>`, "not-acceptable"],
      [`<item jid="a@b.test" name="${"n".repeat(11)}"/>`, "not-acceptable"],
      ['<item jid="a@b.test"><group>1</group><group>2</group><group>3</group></item>', "not-acceptable"],
      ['<item jid="nobody@b.test" subscription="remove"/>', "item-not-found"],
    ] as const) {
      it(`refuses ${items.slice(0, 60) || "nothing"} with ${condition}`, async () => {
        const { host, session } = await started([], { max_name_length: 10, max_groups: 2 });
        const [answer = ""] = await set(host, session, items);
        assert.match(answer, new RegExp(`type="error".*<${condition}`));
        assert.equal((await host.rosters.load(romeo)).items.size, 0);
      });
    }

    it("refuses one contact too many, but not a change of one of them", async () => {
      const { host, session } = await started([{ jid: "a@b.test" }, { jid: "c@b.test" }], { max_items: 2 });
      assert.match((await set(host, session, '<item jid="d@b.test"/>')).join(), /resource-constraint/);
      assert.match((await set(host, session, '<item jid="a@b.test" name="A"/>')).join(), /type="result"/);
    });

    it("does not let the requests of strangers fill the roster", async () => {
      const strangers = [1, 2, 3].map((number) => ({ jid: `s${number}@b.test`, hidden: true, pendingIn: "" }));
      const { host, session } = await started(strangers, { max_items: 2 });
      assert.match((await set(host, session, '<item jid="a@b.test"/>')).join(), /type="result"/);
    });
  });

  describe("remove", () => {
    const remove = '<item jid="j@b.test" subscription="remove"/>';

    for (const [item, types] of [
      [{ subscription: "none" }, []],
      [{ subscription: "none", ask: true }, ["unsubscribe"]],
      [{ subscription: "none", pendingIn: "" }, ["unsubscribed"]],
      [{ subscription: "to" }, ["unsubscribe"]],
      [{ subscription: "from" }, ["unavailable", "unsubscribed"]],
      [{ subscription: "from", ask: true }, ["unavailable", "unsubscribe", "unsubscribed"]],
      [{ subscription: "both" }, ["unavailable", "unsubscribe", "unsubscribed"]],
    ] as const) {
      it(`of ${JSON.stringify(item)} sends ${types.join(", ") || "nothing"}`, async () => {
        const { host, session } = await started([item]);
        await host.send(session, "<presence/>");
        await get(host, session);
        host.takeRemote();
        const given = await set(host, session, remove);
        assert.match(given.join(), /<item jid="j@b.test" subscription="remove"\/>/);
        assert.deepEqual(
          host.remote.map(({ type }) => type),
          types,
        );
        assert.equal((await host.rosters.load(romeo)).items.size, 0);
      });
    }

    it("ends the directed presence to the contact too: it is told once that the user is gone", async () => {
      const { host, session } = await started([{ subscription: "both" }]);
      await host.send(session, "<presence/>");
      await host.send(session, '<presence to="j@b.test/r"/>');
      host.takeRemote();
      await set(host, session, remove);
      await host.end(session);
      assert.equal(host.remote.filter(({ type }) => type === "unavailable").length, 1);
    });

    it("of a contact that saw the user by directed presence alone leaves the goodbye to the end", async () => {
      const { host, session } = await started([{ subscription: "to" }]);
      await host.send(session, "<presence/>");
      await host.send(session, '<presence to="j@b.test/r"/>');
      host.takeRemote();
      await set(host, session, remove);
      await host.end(session);
      assert.deepEqual(
        host.remote.map(({ type }) => type),
        ["unsubscribe", "unavailable"],
      );
    });

    it("changes a local contact's roster as well", async () => {
      const { host, session } = await started([{ jid: "juliet@a.test", subscription: "both" }]);
      const juliet = host.bind("juliet@a.test/y");
      await host.rosters.put(juliet.account, { jid: "romeo@a.test", groups: [], subscription: "both" });
      await set(host, session, '<item jid="juliet@a.test" subscription="remove"/>');
      const { items } = await host.rosters.load(juliet.account);
      assert.equal(items.get("romeo@a.test")?.subscription, "none");
    });

    it("of what is only a stranger's request finds nothing", async () => {
      const { host, session } = await started([{ hidden: true, pendingIn: "" }]);
      assert.match((await set(host, session, remove)).join(), /item-not-found/);
    });
  });

  describe("versioning", () => {
    it("gives the version with the roster to clients that know of it", async () => {
      const { host, session } = await started([{}]);
      const { version } = await host.rosters.load(romeo);
      assert.match((await get(host, session, ' ver=""')).join(), new RegExp(`ver="${version}"><item`));
    });

    it("answers with nothing when nothing changed", async () => {
      const { host, session } = await started([{}]);
      const { version } = await host.rosters.load(romeo);
      assert.deepEqual(await get(host, session, ` ver="${version}"`), [
        '<iq type="result" id="g" from="romeo@a.test" to="romeo@a.test/x"/>',
      ]);
    });

    it("pushes only what changed, each with its version", async () => {
      const { host, session } = await started([{ jid: "a@b.test" }, { jid: "c@b.test" }, { jid: "d@b.test" }]);
      const { version } = await host.rosters.load(romeo);
      await host.rosters.put(romeo, { jid: "c@b.test", name: "C", groups: [], subscription: "none" });
      await host.rosters.remove(romeo, "d@b.test");
      const [result = "", first = "", second = "", ...more] = await get(host, session, ` ver="${version}"`);
      assert.match(result, /type="result" id="g"[^>]*\/>$/);
      assert.match(first, /<item jid="c@b.test" name="C"/);
      const { version: last } = await host.rosters.load(romeo);
      assert.match(second, new RegExp(`ver="${last}"><item jid="d@b.test" subscription="remove"`));
      assert.ok(!first.includes(`"${last}"`));
      assert.deepEqual(more, []);
    });

    it("gives the whole roster for a version it does not know", async () => {
      const { host, session } = await started([{}]);
      assert.match((await get(host, session, ' ver="unheard-of"')).join(), /<item jid="j@b.test"/);
    });
  });

  it("is not pushed to a session that ended", async () => {
    const { host, session } = await started();
    await get(host, session);
    await host.end(session);
    await host.rosters.put(romeo, { jid: "j@b.test", groups: [], subscription: "none" });
    assert.deepEqual(session.take(), []);
  });

  it("answers an error when the store fails, and pushes nothing", async () => {
    const { host, session } = await started();
    await get(host, session);
    host.store.hooks.beforeWrite = () => {
      throw new Error("the disk is full");
    };
    const given = await set(host, session, '<item jid="j@b.test"/>');
    assert.equal(given.length, 1);
    assert.match(given.join(), /type="error"/);
    assert.equal(host.logged.at(-1)?.fields.module, "roster");
  });
});
