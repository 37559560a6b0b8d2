// Taking another configuration into a running server, seen from its clients and peers: what is new is in force for those
// who come, and those who are there notice nothing. How it is asked for: test/integration/cli/reload.test.ts.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { ConfigError } from "../../../src/config/load.ts";
import { Jid } from "../../../src/jid/jid.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { startServer, type TestConfig, type TestServer } from "../../../src/testing/start-server.ts";
import { type CertificateFiles, TestAuthority } from "../../support/certificates.ts";
import { type TemporaryFolder, temporaryFolder } from "../../support/temporary-folder.ts";
import { HEADER, Wire, waitUntil } from "../../support/wire.ts";

const PING = "<ping xmlns='urn:xmpp:ping'/>";

/** The fingerprint of the certificate that clients are shown. */
function shownBy({ ports }: TestServer): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: ports.c2sTls, servername: "a.test", rejectUnauthorized: false };
    const socket = connectTls(options, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

/** Everything that is wrong with `config`, as a reload says it. */
async function problemsOf(running: TestServer, config: TestConfig): Promise<string[]> {
  try {
    await running.reload(config);
  } catch (thrown) {
    assert.equal((thrown as ConfigError).code, "MORENDO_CONFIG_INVALID", String(thrown));
    return (thrown as ConfigError).problems.map(({ message }) => message);
  }
  throw new Error("it was taken in");
}

describe("reload", () => {
  const authority = TestAuthority.create();
  let folder: TemporaryFolder;
  let running: TestServer;
  let peer: ScriptedPeer | undefined;

  beforeEach(async () => {
    folder = await temporaryFolder();
  });

  afterEach(async () => {
    peer?.close();
    await running.dispose();
    await peer?.stop();
    peer = undefined;
    await folder.remove();
  });

  const issue = (name: string, notAfter?: Date): Promise<CertificateFiles> =>
    authority.issueFiles(join(folder.path, name), ["a.test"], notAfter === undefined ? {} : { notAfter });
  const withCertificate = ({ chain, key }: CertificateFiles): TestConfig => ({
    hosts: [{ name: "a.test", certificate: chain, key }],
  });

  it("with nothing new says so and changes nothing", async () => {
    running = await startServer();
    const nothing = { unloaded: [], reloaded: [], loaded: [] };
    assert.deepEqual(await running.reload({}), { applied: [], restart: [], certificates: [], modules: nothing });
  });

  describe("of certificates", () => {
    it("shows the new one to those who come, and leaves the connections that are there", async () => {
      const [old, next] = [await issue("old"), await issue("next")];
      running = await startServer(withCertificate(old));
      const member = await running.login("romeo", "member");
      const before = await shownBy(running);
      const result = await running.reload(withCertificate(next));
      assert.deepEqual(result.applied, ["hosts[0].certificate", "hosts[0].key"]);
      assert.deepEqual(result.certificates, ["a.test"]);
      assert.notEqual(await shownBy(running), before);
      await member.iq("get", PING, "a.test");
      await waitUntil(() => running.status.connections === 1, "the member alone");
    });

    it("reads files of the same name again", async () => {
      const files = await issue("same");
      running = await startServer(withCertificate(files));
      const before = await shownBy(running);
      await issue("same");
      assert.equal(await shownBy(running), before);
      const result = await running.reload(withCertificate(files));
      assert.deepEqual([result.applied, result.certificates], [[], ["a.test"]]);
      assert.notEqual(await shownBy(running), before);
    });

    it("refuses a key of another one, one that has expired, and one that is not there, and shows the old one on", async () => {
      const [old, next, late] = [
        await issue("old"),
        await issue("next"),
        await issue("late", new Date(Date.now() - 60_000)),
      ];
      running = await startServer(withCertificate(old));
      const before = await shownBy(running);
      const mixed = { hosts: [{ name: "a.test", certificate: next.chain, key: old.key }] };
      assert.match((await problemsOf(running, mixed)).join(), /does not belong to the certificate/);
      assert.match(
        (await problemsOf(running, withCertificate(late))).join(),
        /the certificate of a\.test in .* has expired/,
      );
      const missing = { hosts: [{ name: "a.test", certificate: join(folder.path, "none.crt"), key: old.key }] };
      assert.match((await problemsOf(running, missing)).join(), /cannot be read: ENOENT/);
      assert.equal(await shownBy(running), before);
    });

    it("that have expired while they were in use refuses nothing: they are no worse than before", async () => {
      const late = await issue("late", new Date(Date.now() - 60_000));
      running = await startServer(withCertificate(late));
      const result = await running.reload({ ...withCertificate(late), auth: { iterations: 5_000 } });
      assert.deepEqual(result.applied, ["auth.iterations"]);
    });
  });

  it("with several faults names them all and takes nothing in", async () => {
    running = await startServer({ c2s: { max_connections: 50 } });
    const problems = await problemsOf(running, {
      hosts: [{ name: "a.test", certificate: "/nowhere.crt", key: "/nowhere.key" }],
      c2s: { max_connections: 60 },
      s2s: { trusted_roots: ["/no-root.pem"] },
      module: { offline: { max_messages: "many" }, roster: { max_itmes: 3 } },
    });
    assert.equal(problems.length, 4, problems.join("\n"));
    for (const part of [
      /no-root\.pem/,
      /nowhere\.crt/,
      /offline\.max_messages/,
      /roster\.max_itmes: there is no such/,
    ]) {
      assert.ok(
        problems.some((problem) => part.test(problem)),
        `${part} in ${problems.join("\n")}`,
      );
    }
    assert.equal(running.server.config.c2s.max_connections, 50);
  });

  describe("of bounds on clients", () => {
    it("holds for connections that come, and closes none that is there", async () => {
      running = await startServer();
      const members = [await running.login("romeo", "one"), await running.login("juliet", "two")];
      const result = await running.reload({ c2s: { max_connections: 2, max_stanza_size: "20KiB" } });
      assert.deepEqual(result.applied, ["c2s.max_stanza_size", "c2s.max_connections"]);
      const wire = await Wire.plain(running.ports.c2s);
      wire.send(HEADER);
      await wire.until(/<\/stream:stream>/);
      assert.equal(wire.condition, "resource-constraint");
      wire.destroy();
      // A larger stanza than now allowed, on a connection that was promised more.
      const large = `<message to='${members[1]?.jid}' type='chat'><body>${"x".repeat(40_000)}</body></message>`;
      members[0]?.send(large);
      await members[1]?.waitFor((xml) => xml.includes("x".repeat(40_000)));
      await running.reload({ c2s: { max_connections: 20, max_stanza_size: "20KiB" } });
      const third = await running.login("romeo", "three");
      third.send(large);
      assert.equal((await third.ended).streamError, "policy-violation");
      await members[0]?.iq("get", PING, "a.test");
    });

    it("holds for the number of sessions of an account, for login mechanisms and for wrong passwords", async () => {
      running = await startServer();
      const first = await running.login("romeo", "first");
      await running.reload({ c2s: { max_resources: 1, sasl: ["SCRAM-SHA-256"], max_failed_logins: 1 } });
      await assert.rejects(running.login("romeo", "second", { mechanism: "SCRAM-SHA-256" }), /resource-constraint/);
      await assert.rejects(running.login("juliet", "x"), /SCRAM-SHA-1|invalid-mechanism/);
      const wrong = running.client({ username: "romeo", password: "wrong", mechanism: "SCRAM-SHA-256" });
      await assert.rejects(wrong.login());
      await first.iq("get", PING, "a.test");
    });

    it("holds for how long a session may wait for its client", async () => {
      running = await startServer({ c2s: { sm_max: "5m" } });
      const enable = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
      const [one, two] = [await running.login("romeo", "one"), await running.login("romeo", "two")];
      one.send(enable);
      assert.match((await one.waitFor((xml) => xml.startsWith("<enabled"))).xml, /max=.300\D/);
      await running.reload({ c2s: { sm_max: "1m" } });
      two.send(enable);
      assert.match((await two.waitFor((xml) => xml.startsWith("<enabled"))).xml, /max=.60\D/);
    });
  });

  describe("of s2s", () => {
    it("finds another domain by a route that has come", async () => {
      const there = await ScriptedPeer.start({ domain: "b.test", certificates: "self-signed", trusting: true });
      running = await startServer({
        dns: { servers: ["127.0.0.1:9"], timeout: "100ms" },
        s2s: { journal: "off", retry_delay: "50ms" },
      });
      peer = there;
      there.routes.set("a.test", `127.0.0.1:${running.ports.s2s}`);
      const romeo = await running.login("romeo", "r");
      romeo.send("<message to='x@b.test' type='chat'><body>one</body></message>");
      await romeo.waitFor((xml) => /type=["']error/.test(xml));
      const routes = { "b.test": there.address };
      const result = await running.reload({
        dns: { servers: ["127.0.0.1:9"], timeout: "100ms" },
        s2s: { journal: "off", retry_delay: "50ms", routes },
      });
      assert.deepEqual(result.applied, ['s2s.routes."b.test"']);
      await waitUntil(() => {
        romeo.send("<message to='x@b.test' type='chat'><body>two</body></message>");
        return there.arrived.length > 0;
      }, "a message at b.test");
    });
  });

  describe("of rights", () => {
    it("holds for the next request", async () => {
      running = await startServer({ admin: { accounts: [] } });
      const romeo = Jid.parse("romeo@a.test");
      const operations = running.server.modules;
      assert.ok(operations.names.includes("admin"));
      const member = await running.login("romeo", "r");
      const list = () =>
        member.iq(
          "get",
          "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>",
          "a.test",
        );
      assert.doesNotMatch(await list(), /http:\/\/jabber\.org\/protocol\/admin#/);
      await running.reload({ admin: { accounts: [String(romeo)] } });
      assert.match(await list(), /http:\/\/jabber\.org\/protocol\/admin#/);
    });
  });

  describe("of modules", () => {
    const OWN = ["roster", "presence", "offline", "disco", "ping"];

    it("loads those that have come, unloads those that have gone and gives new options to the others", async () => {
      running = await startServer({ modules: [...OWN, "time"] });
      const romeo = await running.login("romeo", "r");
      const result = await running.reload({ modules: [...OWN, "version"], module: { offline: { max_messages: 1 } } });
      assert.deepEqual(result.modules, { unloaded: ["time"], reloaded: ["offline"], loaded: ["version"] });
      assert.deepEqual(running.server.modules.names.toSorted(), [...OWN, "version"].toSorted());
      assert.match(await romeo.iq("get", "<query xmlns='jabber:iq:version'/>", "a.test"), /Morendo/);
      assert.match(await romeo.iq("get", "<time xmlns='urn:xmpp:time'/>", "a.test"), /service-unavailable/);
      for (const number of [1, 2])
        romeo.send(`<message to='juliet@a.test' type='chat'><body>${number}</body></message>`);
      assert.match((await romeo.waitFor((xml) => /type=["']error/.test(xml))).xml, /<body>2<\/body>|id=|error/);
    });

    it("refuses to unload one that others require", async () => {
      running = await startServer({ modules: OWN });
      const problems = await problemsOf(running, {
        modules: OWN.filter((name) => name !== "presence"),
      });
      assert.match(problems.join(), /module "offline" requires "presence", which is not to stay/);
      assert.deepEqual(running.server.modules.names, OWN);
    });

    it("puts everything back when one fails to load", async () => {
      const failing = join(folder.path, "failing.mjs");
      writeFileSync(failing, `export default { name: "failing", load() { throw new Error("not today"); } };`);
      const config = { modules: [...OWN, "time"], c2s: { max_connections: 50 } };
      running = await startServer(config);
      const romeo = await running.login("romeo", "r");
      const problems = await problemsOf(running, {
        modules: [...OWN, "version", failing],
        module: { offline: { max_messages: 1 } },
        c2s: { max_connections: 60 },
      });
      assert.match(problems.join(), /module "failing" failed to load: not today/);
      assert.deepEqual(running.server.modules.names, [...OWN, "time"]);
      assert.equal(running.server.config.c2s.max_connections, 50);
      assert.match(await romeo.iq("get", "<time xmlns='urn:xmpp:time'/>", "a.test"), /<utc>/);
      for (const number of [1, 2])
        romeo.send(`<message to='juliet@a.test' type='chat'><body>${number}</body></message>`);
      await romeo.iq("get", PING, "a.test");
      const juliet = await running.login("juliet", "j");
      juliet.send("<presence/>");
      await juliet.waitFor((xml) => xml.includes("<body>2</body>"));
      assert.equal((await running.reload(config)).applied.length, 0);
    });
  });

  it("names what needs a restart and leaves it as it is, while the rest is taken in", async () => {
    running = await startServer();
    const result = await running.reload({
      hosts: [{ name: "a.test" }, { name: "c.test" }],
      c2s: { listen: ["127.0.0.1:1"], login_timeout: "10s" },
      s2s: { enabled: false },
    });
    assert.deepEqual(result.restart, ["hosts", "c2s.listen", "s2s.enabled"]);
    assert.deepEqual(result.applied, ["c2s.login_timeout"]);
    assert.deepEqual(running.status.hosts, ["a.test"]);
    await running.login("romeo", "r");
  });

  it("of the shutdown holds for the next stop", async () => {
    running = await startServer();
    const ceiling = { ceiling: "3s" };
    await running.reload({ shutdown: { deadline: "9s", close_sessions: ceiling } });
    const plan = await running.server.plan();
    assert.equal(plan.budgetMs, 9_000);
    assert.equal((await running.stop()).budgetMs, 9_000);
  });

  it("is refused while the server goes down", async () => {
    running = await startServer();
    const stopped = running.stop();
    await assert.rejects(running.reload({}), { code: "MORENDO_STOPPING" });
    await stopped;
    await assert.rejects(running.reload({}), { code: "MORENDO_STOPPING" });
  });

  it("while suspended takes in what leaves modules alone", async () => {
    running = await startServer();
    await running.server.suspend({ reason: "a test", trigger: "test" });
    const problems = await problemsOf(running, { module: { offline: { max_messages: 1 } } });
    assert.match(problems.join(), /modules cannot be changed while the server is suspended/);
    assert.deepEqual((await running.reload({ c2s: { max_connections: 9 } })).applied, ["c2s.max_connections"]);
    await running.server.resume({ reason: "a test", trigger: "test" });
    await running.reload({ module: { offline: { max_messages: 1 } } });
  });

  it("twice at once is one after the other", async () => {
    running = await startServer();
    const [first, second] = await Promise.all([
      running.reload({ c2s: { max_connections: 30 }, module: { offline: { max_messages: 5 } } }),
      running.reload({ c2s: { max_connections: 40 }, module: { offline: { max_messages: 5 } } }),
    ]);
    assert.deepEqual(first.applied, ["module.offline.max_messages", "c2s.max_connections"]);
    assert.deepEqual(second.applied, ["c2s.max_connections"]);
    assert.equal(running.server.config.c2s.max_connections, 40);
  });
});
