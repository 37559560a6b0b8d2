import assert from "node:assert/strict";
import { Dialler, type DiallerOptions } from "../../../src/net/dial.ts";
import { Resolver } from "../../../src/net/resolver.ts";
import type { DialOptions, Network, Transport } from "../../../src/net/transport.ts";
import { DnsResponder } from "../../../src/testing/dns-responder.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { systemRandom } from "../../../src/util/random.ts";
import { Door, network, Recorder, testCertificates, until } from "./support.ts";

describe("dialling a domain", () => {
  let dns: DnsResponder;
  let resolver: Resolver;
  const never = new AbortController().signal;

  beforeEach(async () => {
    dns = await DnsResponder.start();
    resolver = new Resolver({
      clock: systemClock,
      random: systemRandom,
      config: { servers: [dns.address], timeout: 400 },
    });
  });

  afterEach(async () => {
    resolver.close();
    await dns.close();
  });

  const dialler = (options: Partial<DiallerOptions> = {}): Dialler =>
    new Dialler({ network, resolver, clock: systemClock, ...options });

  it("finds the service by SRV and connects", async () => {
    const door = await Door.open();
    dns.addService("b.test", door.listener.port);
    const dialled = await dialler().connect("b.test", never);
    assert.ok("transport" in dialled);
    assert.deepEqual(dialled.target, { host: "xmpp.b.test", port: door.listener.port, directTls: false });
    assert.equal(dns.count("SRV _xmpp-server._tcp.b.test"), 1);
    dialled.transport.destroy();
    (await door.next()).transport.destroy();
    await door.listener.close();
  });

  it("goes on to the next target when one refuses or does not resolve", async () => {
    const [gone, door] = [await Door.open(), await Door.open()];
    await gone.listener.close();
    dns.table.set("_xmpp-server._tcp.b.test", {
      srv: [
        { priority: 1, port: 5269, target: "nowhere.b.test" },
        { priority: 2, port: gone.listener.port, target: "h.b.test" },
        { priority: 3, port: door.listener.port, target: "h.b.test" },
      ],
    });
    dns.table.set("h.b.test", { addresses: ["127.0.0.1"] });
    const dialled = await dialler().connect("b.test", never);
    assert.ok("transport" in dialled);
    assert.equal(dialled.transport.remotePort, door.listener.port);
    dialled.transport.destroy();
    (await door.next()).transport.destroy();
    await door.listener.close();
  });

  it("says not-found for an unknown domain, unreachable for a silent name server or a refused connection", async () => {
    const unknown = await dialler().connect("b.test", never);
    assert.equal("failure" in unknown && unknown.failure, "not-found");
    const gone = await Door.open();
    await gone.listener.close();
    dns.addService("c.test", gone.listener.port);
    const refused = await dialler().connect("c.test", never);
    assert.equal("failure" in refused && refused.failure, "unreachable");
    assert.match("failure" in refused ? refused.reason : "", /ECONNREFUSED/);
    dns.table.set("_xmpp-server._tcp.d.test", { srv: [{ port: 5269, target: "nowhere.d.test" }] });
    const lost = await dialler().connect("d.test", never);
    assert.equal("failure" in lost && lost.failure, "not-found");
    dns.mood = "servfail";
    const broken = await dialler().connect("e.test", never);
    assert.equal("failure" in broken && broken.failure, "unreachable");
    dns.mood = "silent";
    const silent = await dialler().connect("f.test", never);
    assert.equal("failure" in silent && silent.failure, "unreachable");
  });

  it("makes the handshake of a target with direct TLS, and goes on when it fails", async () => {
    const certificates = await testCertificates();
    const plain = await Door.open();
    const direct = await Door.open({
      tls: { role: "server", certificates, requestCertificate: true, alpn: ["xmpp-server"] },
    });
    dns.table.set("_xmpps-server._tcp.a.test", {
      srv: [
        { priority: 1, port: plain.listener.port, target: "h.a.test" },
        { priority: 2, port: direct.listener.port, target: "h.a.test" },
      ],
    });
    dns.table.set("h.a.test", { addresses: ["127.0.0.1"] });
    const dialling = dialler({ certificates }).connect("a.test", never, "b.test");
    const { transport: wrong } = await plain.next();
    wrong.write("this is no TLS");
    const dialled = await dialling;
    assert.ok("transport" in dialled);
    assert.equal(dialled.transport.tls?.alpn, "xmpp-server");
    assert.equal(dialled.transport.tls?.chainTrusted, true);
    const { transport, ready } = await direct.next();
    assert.deepEqual((await ready)?.peerNames, ["b.test"]);
    for (const one of [dialled.transport, transport, wrong]) one.destroy();
    await Promise.all([plain.listener.close(), direct.listener.close()]);
  });

  it("starts the next attempt beside one that hangs, and gives up the losers", async () => {
    const clock = new ManualClock();
    const attempts: DialOptions[] = [];
    const answers: ((transport: Transport) => void)[] = [];
    const hanging: Network = {
      listen: (...all) => network.listen(...all),
      dial: (options) => {
        attempts.push(options);
        return new Promise((resolve, reject) => {
          answers.push(resolve);
          options.signal?.addEventListener("abort", () => reject(new Error("aborted")));
        });
      },
    };
    dns.table.set("_xmpp-server._tcp.b.test", { srv: [{ port: 5269, target: "h.b.test" }] });
    dns.table.set("h.b.test", { addresses: ["127.0.0.1", "127.0.0.2", "::1"] });
    const dialling = dialler({ network: hanging, clock }).connect("b.test", never);
    await until(() => attempts.length === 1);
    await clock.advance(249);
    assert.equal(attempts.length, 1);
    await clock.advance(1);
    assert.deepEqual(
      attempts.map(({ host }) => host),
      ["::1", "127.0.0.1"],
    );
    const door = await Door.open();
    const winner = await network.dial({ host: "127.0.0.1", port: door.listener.port });
    answers[1]?.(winner);
    const dialled = await dialling;
    assert.equal("transport" in dialled && dialled.transport, winner);
    assert.deepEqual(
      attempts.map(({ signal }) => signal?.aborted),
      [true, true],
    );
    await clock.advance(1_000);
    assert.equal(attempts.length, 2);
    assert.equal(clock.pendingTimers, 0);
    const late = await network.dial({ host: "127.0.0.1", port: door.listener.port });
    late.setReader(new Recorder());
    winner.destroy();
    late.destroy();
    for (const _ of [1, 2]) (await door.next()).transport.destroy();
    await door.listener.close();
  });

  it("rejects when it is aborted, at any stage", async () => {
    dns.mood = "silent";
    const controller = new AbortController();
    const resolving = dialler().connect("b.test", controller.signal);
    controller.abort(new Error("enough"));
    await assert.rejects(resolving, /enough/);
    await assert.rejects(dialler().connect("b.test", controller.signal), /enough/);
    dns.mood = "answer";
    dns.addService("c.test", 5269);
    const second = new AbortController();
    let dials = 0;
    const hanging: Network = {
      listen: (...all) => network.listen(...all),
      dial: () => {
        dials++;
        return new Promise(() => undefined);
      },
    };
    const connecting = dialler({ network: hanging }).connect("c.test", second.signal);
    await until(() => dials > 0);
    second.abort(new Error("enough again"));
    await assert.rejects(connecting, /enough again/);
  });
});
