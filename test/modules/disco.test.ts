import assert from "node:assert/strict";
import { jidOf, ModuleHost } from "../../src/testing/module-host.ts";

const INFO = '<query xmlns="http://jabber.org/protocol/disco#info"/>';
const ITEMS = '<query xmlns="http://jabber.org/protocol/disco#items"/>';

describe("disco", () => {
  it("lists what all modules announce for the host", async () => {
    const host = await new ModuleHost().load(["disco", "ping", "presence", "offline"]);
    const romeo = host.bind("romeo@a.test/x");
    await host.send(romeo, `<iq type="get" id="1" to="a.test">${INFO}</iq>`);
    const [answer = ""] = romeo.take();
    assert.match(answer, /<identity category="server" type="im" name="Morendo"\/>/);
    for (const feature of ["urn:xmpp:ping", "msgoffline", "http://jabber.org/protocol/disco#info"]) {
      assert.ok(answer.includes(`<feature var="${feature}"/>`), feature);
    }
  });

  it("no longer lists what an unloaded module announced", async () => {
    const host = await new ModuleHost().load(["disco", "ping"]);
    await host.loader.unload("ping");
    assert.ok(!host.loader.announced("host").features.includes("urn:xmpp:ping"));
  });

  it("knows no nodes", async () => {
    const host = await new ModuleHost().load(["disco"]);
    const romeo = host.bind("romeo@a.test/x");
    const query = INFO.replace("/>", ' node="x"/>');
    await host.send(romeo, `<iq type="get" id="1" to="a.test">${query}</iq>`);
    assert.match(romeo.take().join(), /item-not-found/);
  });

  it("answers for an account to itself", async () => {
    const host = await new ModuleHost().load(["disco", "presence"]);
    const romeo = await host.available("romeo@a.test/x");
    await host.send(romeo, `<iq type="get" id="1">${INFO}</iq>`);
    assert.match(romeo.take().join(), /category="account" type="registered"/);
    await host.send(romeo, `<iq type="get" id="2" to="romeo@a.test">${ITEMS}</iq>`);
    assert.match(romeo.take().join(), /<item jid="romeo@a.test\/x"\/>/);
  });

  for (const [subscription, allowed] of [
    ["none", false],
    ["to", false],
    ["from", true],
    ["both", true],
  ] as const) {
    it(`${allowed ? "answers" : "refuses"} for an account to a contact with subscription ${subscription}`, async () => {
      const host = await new ModuleHost().load(["disco"]);
      host.accounts.add("romeo@a.test");
      await host.rosters.put(jidOf("romeo@a.test"), { jid: "j@b.test", groups: [], subscription });
      await host.receive(`<iq type="get" id="1" from="j@b.test/y" to="romeo@a.test">${INFO}</iq>`);
      assert.match(host.takeRemote().join(), allowed ? /type="result"/ : /service-unavailable/);
    });
  }

  it("answers strangers as if there were no account", async () => {
    const host = await new ModuleHost().load(["disco"]);
    host.accounts.add("romeo@a.test");
    const ask = (to: string) => host.receive(`<iq type="get" id="1" from="s@b.test/y" to="${to}">${ITEMS}</iq>`);
    await ask("romeo@a.test");
    await ask("nobody@a.test");
    const [known, unknown] = host.takeRemote();
    assert.equal(known?.replace("romeo", "nobody"), unknown);
  });
});
