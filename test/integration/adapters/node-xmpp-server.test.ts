// Hosts built on node-xmpp-server, as processes, going down in order by `morendo/node-xmpp-server`: real sockets, real
// signals, real exit codes.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { ClosedHostSessions } from "../../../src/adapters/node-xmpp-server.ts";
import { RawClient, type RawClientOptions } from "../../../src/testing/raw-client.ts";
import { PORTS } from "../../support/addresses.ts";
import { sleep } from "../../support/child.ts";
import {
  HOST_PASSWORD,
  type HostOptions,
  nodeXmppServerMissing,
  type RunningHost,
  SCENES,
  startHost,
} from "../../support/node-xmpp-host.ts";
import { skipWithReason } from "../../support/subject.ts";

describe("a node-xmpp-server host", function () {
  this.timeout(60_000);
  const hosts: RunningHost[] = [];
  const clients: RawClient[] = [];

  before(function () {
    skipWithReason(this, nodeXmppServerMissing());
  });

  afterEach(async function () {
    if (this.currentTest?.state === "failed") {
      for (const host of hosts) process.stdout.write(`${host.process.log.slice(-6_000)}\n`);
    }
    for (const client of clients.splice(0)) client.destroy();
    for (const host of hosts.splice(0)) await host.process.stop();
  });

  async function start(options: HostOptions = {}): Promise<RunningHost> {
    const host = await startHost(options);
    hosts.push(host);
    return host;
  }

  function scene(name: string, options: object = {}): Promise<RunningHost> {
    return start({ program: SCENES, env: { SCENE: name, OPTIONS: JSON.stringify(options) } });
  }

  function client(host: RunningHost, options: Partial<RawClientOptions> = {}): RawClient {
    const made = new RawClient(clientOptions(host, options));
    clients.push(made);
    return made;
  }

  async function login(host: RunningHost, username: string, options: Partial<RawClientOptions> = {}) {
    const made = await RawClient.login(clientOptions(host, { username, resource: "x", ...options }));
    clients.push(made);
    return made;
  }

  it("tells all of twenty clients, waits for each to close, and exits clean", async () => {
    const host = await start();
    const all = await Promise.all(Array.from({ length: 20 }, (_, index) => login(host, `u${index}`)));
    all[0]?.send(`<message to='${all[1]?.jid}'><body>before the end</body></message>`);
    await all[1]?.waitFor((xml) => xml.includes("before the end"));
    host.process.signal("SIGTERM");
    for (const ending of await Promise.all(all.map(({ ended }) => ended))) {
      const { streamError, closingTag, how } = ending;
      assert.deepEqual(
        { streamError, closingTag, how },
        { streamError: "system-shutdown", closingTag: true, how: "fin" },
      );
    }
    const exit = await host.process.exited;
    assert.equal(exit.code, 0, host.process.log);
    const report = host.report();
    assert.ok(report);
    assert.equal(report.outcome, "clean");
    assert.deepEqual(report.sections.sessions, { answered: 20, unanswered: 0, cut: 0, named: [] });
    assert.deepEqual(JSON.parse(readFileSync(join(host.process.folder, "data", "counters.json"), "utf8")), {
      delivered: 1,
    });
    assert.match(host.process.log, /close-sessions: done/);
    assert.doesNotMatch(host.process.log, /still holds the event loop/);
  });

  it("waits for a client that does not answer no longer than its limit", async () => {
    const host = await scene("", { clientTimeout: "700ms", deadline: "20s" });
    const silent = await login(host, "silent", { answerClose: false });
    const lively = await login(host, "lively");
    host.process.signal("SIGTERM");
    assert.equal((await lively.ended).closingTag, true);
    assert.equal((await silent.ended).closingTag, true);
    assert.equal((await host.process.exited).code, 0, host.process.log);
    const report = host.report();
    assert.ok(report);
    assert.deepEqual(report.sections.sessions, {
      answered: 1,
      unanswered: 0,
      cut: 1,
      named: ["silent@host.example/x"],
    } satisfies ClosedHostSessions);
    assert.ok(report.durationMs >= 700 && report.durationMs < 15_000, `${report.durationMs} ms`);
  });

  it("lives through clients that reset, though nobody listens for its sessions' errors", async () => {
    const host = await scene("", { clientTimeout: "2s" });
    const rude = await Promise.all(Array.from({ length: 8 }, (_, index) => login(host, `rude${index}`)));
    const polite = await login(host, "polite");
    for (const [index, each] of rude.entries()) {
      // Half of them as the stop begins, half of them when they are told.
      if (index % 2 === 0) each.reset();
      else each.onElement = () => each.reset();
    }
    host.process.signal("SIGTERM");
    const { streamError, closingTag } = await polite.ended;
    assert.deepEqual({ streamError, closingTag }, { streamError: "system-shutdown", closingTag: true });
    const exit = await host.process.exited;
    assert.equal(exit.code, 0, host.process.log);
    assert.doesNotMatch(host.process.log, /fatal error/);
  });

  it("gives those who have not logged in a stream header and the reason, in whatever state they are", async () => {
    const host = await scene("", { clientTimeout: "3s" });
    const connected = client(host);
    await connected.connect();
    const opened = client(host);
    await opened.connect();
    await opened.open();
    const secured = client(host);
    await secured.connect();
    await secured.startTls();
    const afterLogin = await loginAndListen(host);
    // The host must have met the first one, which has not said anything.
    await login(host, "last").then((last) => last.destroy());
    host.process.signal("SIGTERM");
    for (const [who, each] of Object.entries({ connected, opened, secured })) {
      const { streamError, closingTag, how } = await each.ended;
      assert.deepEqual(
        { who, streamError, closingTag, how },
        { who, streamError: "system-shutdown", closingTag: true, how: "fin" },
      );
    }
    const headers = (each: RawClient): number =>
      each.received.filter(({ xml }) => xml.startsWith("<stream:stream")).length;
    // One for each stream, whoever opened it.
    assert.deepEqual([connected, opened, secured].map(headers), [1, 1, 2]);
    assert.match(
      await afterLogin.rest,
      /^<stream:stream [^>]*><stream:error><system-shutdown .*<\/stream:error><\/stream:stream>$/,
    );
    assert.equal((await host.process.exited).code, 0, host.process.log);
  });

  for (const name of ["own net server", "own acceptor"]) {
    it(`stops accepting where the owner has its ${name}`, async () => {
      const host = await scene(name, { clientTimeout: "1s" });
      const lasting = await login(host, "lasting", { answerClose: false });
      host.process.signal("SIGTERM");
      await lasting.waitFor((xml) => xml.startsWith("<stream:error"));
      await assert.rejects(client(host).connect());
      assert.equal((await host.process.exited).code, 0, host.process.log);
      assert.equal(sessionsOf(host).cut, 1);
    });
  }

  it("knows the sessions that were there before it was attached", async () => {
    const host = await scene("late");
    const early = await login(host, "early");
    host.process.tell("{}");
    await host.process.until(() => host.process.log.includes("attached"), "attachment");
    const late = await login(host, "late");
    host.process.signal("SIGTERM");
    for (const each of [early, late]) assert.equal((await each.ended).streamError, "system-shutdown");
    await host.process.exited;
    assert.equal(sessionsOf(host).answered, 2);
  });

  it("is stopped by its own program, with a reason that the clients read", async () => {
    const host = await scene("", { signals: false });
    const reader = await login(host, "reader");
    host.process.tell(JSON.stringify({ stop: { reason: "new <kernel> & more", trigger: "operator" } }));
    const { xml } = await reader.waitFor((each) => each.startsWith("<stream:error"));
    assert.match(xml, />new &lt;kernel&gt; &amp; more</);
    await host.process.until(() => host.process.log.includes('"report":"clean"'), "report");
    const { trigger, reason } = host.report() ?? {};
    assert.deepEqual({ trigger, reason }, { trigger: "operator", reason: "new <kernel> & more" });
  });

  it("tells a component and waits for it to close", async () => {
    const host = await scene("component");
    const socket = connect({ host: host.address, port: PORTS.c2s });
    socket.write(
      "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='part.host.example' id='7'>",
    );
    await until(socket, "<stream:stream");
    socket.write(`<handshake>${createHash("sha1").update("7secret").digest("hex")}</handshake>`);
    await until(socket, "<handshake");
    host.process.signal("SIGTERM");
    assert.match(await readAll(socket), /^<stream:error><system-shutdown .*<\/stream:error><\/stream:stream>$/);
    assert.equal((await host.process.exited).code, 0, host.process.log);
    assert.equal(sessionsOf(host).answered, 1);
  });

  it("tells a client over WebSocket in frames, and waits for its closing frame", async () => {
    const host = await scene("websocket");
    const socket = openWebSocket(host);
    const frames: string[] = [];
    const closed = new Promise<void>((resolve) => {
      socket.on("close", () => resolve());
    });
    socket.on("message", (frame: string) => {
      frames.push(frame);
      if (frame.startsWith("<close")) socket.send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>");
    });
    await new Promise<void>((resolve) => {
      socket.on("open", () => resolve());
    });
    const open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='host.example' version='1.0'/>";
    const seen = (what: string) => host.process.until(() => frames.some((frame) => frame.includes(what)), what);
    socket.send(open);
    await seen("mechanisms");
    const credentials = Buffer.from("\0someone\0secret").toString("base64");
    socket.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${credentials}</auth>`);
    await seen("<success");
    socket.send(open);
    await seen("urn:ietf:params:xml:ns:xmpp-bind");
    const before = frames.length;
    host.process.signal("SIGTERM");
    await closed;
    const last = frames.slice(before);
    assert.equal(last.length, 2, last.join("\n"));
    assert.match(last[0] ?? "", /^<stream:error xmlns:stream='[^']*'><system-shutdown .*<\/stream:error>$/);
    assert.equal(last[1], "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>");
    assert.equal((await host.process.exited).code, 0, host.process.log);
    assert.equal(sessionsOf(host).answered, 1);
  });

  it("tells a client over BOSH in the request that waits, as far as that goes", async () => {
    const host = await scene("bosh");
    let rid = 100;
    const post = async (attributes: string, content = ""): Promise<string> => {
      const body = `<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' rid='${rid++}' ${attributes}>${content}</body>`;
      return (await fetch(`http://${host.address}:${PORTS.c2s}/`, { method: "POST", body })).text();
    };
    const opened = await post("to='host.example' wait='20' hold='1' xmpp:version='1.0'");
    const sid = /sid="([^"]+)"/.exec(opened)?.[1];
    // The second request already: on Node 20 and later node-xmpp-server drops a BOSH session with its second answer.
    const waiting = post(`sid='${sid}'`);
    // Nothing tells when the host has the request.
    await sleep(300);
    host.process.signal("SIGTERM");
    assert.match(await waiting, /system-shutdown/);
    assert.equal((await host.process.exited).code, 0, host.process.log);
  });

  // The defects that docs/node-xmpp-server.md lists: whoever can connect can end the process.
  const C2S =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='host.example' version='1.0'>";
  const S2S = `<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' from='evil.example' to='host.example' version='1.0'>`;
  const auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>AA</auth>";
  const DEFECTS = [
    { what: "an unknown SASL mechanism", port: PORTS.c2s, text: C2S + auth, says: /not a constructor/ },
    { what: "an unknown XML entity", port: PORTS.c2s, text: `${C2S}<a>&foo;</a>`, says: /Illegal XML entity/ },
    { what: "a server that sends no XML", port: PORTS.s2s, text: `${S2S}<a></b>`, says: /XML parse error/ },
    {
      what: "a dialback key for a domain not served",
      port: PORTS.s2s,
      text: `${S2S}<db:result from='evil.example' to='other.example'>key</db:result>`,
      says: /other\.example is not served here/,
    },
  ];
  for (const { what, port, text, says } of DEFECTS) {
    it(`goes down in order where node-xmpp-server would crash: ${what}`, async () => {
      const host = await scene("", { clientTimeout: "1s" });
      const bystander = await login(host, "bystander");
      const attacker = connect({ host: host.address, port });
      attacker.on("error", () => undefined).resume();
      attacker.write(text);
      const { streamError, closingTag } = await bystander.ended;
      assert.deepEqual({ streamError, closingTag }, { streamError: "system-shutdown", closingTag: true });
      assert.equal((await host.process.exited).code, 1);
      attacker.destroy();
      const { trigger, error } = host.report() ?? {};
      assert.equal(trigger, "fatal error");
      assert.match(error ?? "", says);
    });
  }

  it("does not let a broken client end a host that listens for no session's errors", async () => {
    const host = await scene("", { signals: false });
    const broken = client(host);
    await broken.connect();
    broken.send(`${C2S}<a></b>`);
    assert.equal((await broken.ended).closingTag, true);
    assert.equal(host.process.exit, undefined);
    await login(host, "somebody");
  });

  it("leaves such a defect as it is where the process is not the adapter's to end", async () => {
    const host = await scene("", { signals: false });
    const attacker = connect({ host: host.address, port: PORTS.c2s });
    attacker.on("error", () => undefined).resume();
    attacker.write(C2S + auth);
    assert.equal((await host.process.exited).code, 1);
    attacker.destroy();
    assert.match(host.process.log, /matchingMechs\[0\] is not a constructor/);
    assert.equal(host.report(), undefined);
  });

  it("is killed by the watchdog when a listener of its owner blocks the event loop", async () => {
    const host = await scene("blocked", { deadline: "4s", watchdogGrace: "300ms" });
    const last = await login(host, "last");
    host.process.signal("SIGTERM");
    assert.equal((await last.ended).streamError, "system-shutdown");
    const exit = await host.process.exited;
    assert.deepEqual({ code: exit.code, signal: exit.signal }, { code: null, signal: "SIGKILL" });
    const said = readFileSync(join(host.process.folder, "data", "watchdog.json"), "utf8");
    assert.match(said, /busyBody/);
    assert.match(said, /server-stopping/);
  });
});

function clientOptions(host: RunningHost, options: Partial<RawClientOptions>): RawClientOptions {
  return {
    host: host.address,
    port: PORTS.c2s,
    domain: host.domain,
    password: HOST_PASSWORD,
    mechanism: "PLAIN",
    ...options,
  };
}

function sessionsOf(host: RunningHost): ClosedHostSessions {
  const report = host.report();
  assert.ok(report, "there is a report");
  return report.sections.sessions as ClosedHostSessions;
}

/** Logs in and says nothing more; the promise inside is for everything that comes afterwards. */
async function loginAndListen({ address, domain }: RunningHost): Promise<{ rest: Promise<string> }> {
  const header = `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='${domain}' version='1.0'>`;
  const plain = connect({ host: address, port: PORTS.c2s });
  plain.write(header);
  await until(plain, "</stream:features>");
  plain.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  await until(plain, "<proceed");
  const secure = connectTls({ socket: plain, rejectUnauthorized: false });
  secure.write(header);
  await until(secure, "</stream:features>");
  const credentials = Buffer.from("\0someone\0secret").toString("base64");
  secure.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${credentials}</auth>`);
  await until(secure, "<success");
  // The promise in an object: returned as it is, it would be waited for here.
  return { rest: readAll(secure) };
}

/** Reads until `end` has come. */
async function until(socket: Socket, end: string): Promise<void> {
  for (let text = ""; !text.includes(end); ) text += String((await once(socket, "data"))[0]);
}

async function readAll(socket: Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.includes("</stream:stream>")) socket.end("</stream:stream>");
  }
  return text;
}

/** The client half of the package that node-xmpp-server uses; Node 20 has none of its own. */
interface WebSocketClient {
  on(event: string, listener: (text: string) => void): void;
  send(text: string): void;
}

function openWebSocket({ address }: RunningHost): WebSocketClient {
  const WebSocket = createRequire(new URL("../../support/node-xmpp-server/package.json", import.meta.url))(
    "ws",
  ) as new (
    url: string,
    protocol: string,
  ) => WebSocketClient;
  return new WebSocket(`ws://${address}:${PORTS.c2s}/`, "xmpp");
}
