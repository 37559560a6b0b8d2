// ping, version and time: the modules that answer one question.
import assert from "node:assert/strict";
import { ModuleHost } from "../../src/testing/module-host.ts";

describe("ping", () => {
  it("is answered by the host", async () => {
    const host = await new ModuleHost().load(["ping"]);
    const romeo = host.bind("romeo@a.test/x");
    await host.send(romeo, '<iq type="get" id="1" to="a.test"><ping xmlns="urn:xmpp:ping"/></iq>');
    assert.deepEqual(romeo.take(), ['<iq type="result" id="1" from="a.test" to="romeo@a.test/x"/>']);
  });

  it("is answered by one's own account", async () => {
    const host = await new ModuleHost().load(["ping"]);
    const romeo = host.bind("romeo@a.test/x");
    await host.send(romeo, '<iq type="get" id="1"><ping xmlns="urn:xmpp:ping"/></iq>');
    assert.match(romeo.take().join(), /type="result"/);
  });

  it("tells strangers nothing about an account", async () => {
    const host = await new ModuleHost().load(["ping"]);
    host.bind("romeo@a.test/x");
    await host.receive('<iq type="get" id="1" from="b@b.test/x" to="romeo@a.test"><ping xmlns="urn:xmpp:ping"/></iq>');
    assert.match(host.takeRemote().join(), /service-unavailable/);
  });
});

describe("version", () => {
  const query = '<iq type="get" id="1" to="a.test"><query xmlns="jabber:iq:version"/></iq>';

  it("tells name and version", async () => {
    const host = await new ModuleHost().load(["version"]);
    const romeo = host.bind("romeo@a.test/x");
    await host.send(romeo, query);
    assert.match(romeo.take().join(), /<name>Morendo<\/name><version>1\.2\.3<\/version>/);
  });

  it("can be hidden, and then is not announced either", async () => {
    const host = await new ModuleHost().load(["version"], { version: { hide: true } });
    const romeo = host.bind("romeo@a.test/x");
    await host.send(romeo, query);
    assert.match(romeo.take().join(), /service-unavailable/);
    assert.deepEqual(host.loader.announced("host").features, []);
  });
});

describe("time", () => {
  it("tells the time of the wall clock in UTC", async () => {
    const host = await new ModuleHost().load(["time"]);
    const romeo = host.bind("romeo@a.test/x");
    await host.clock.advance(61_000);
    await host.send(romeo, '<iq type="get" id="1" to="a.test"><time xmlns="urn:xmpp:time"/></iq>');
    assert.match(romeo.take().join(), /<tzo>\+00:00<\/tzo><utc>2026-01-01T00:01:01.000Z<\/utc>/);
  });
});
