// The Router of a node-xmpp-server host at its stop: what it owes to other servers, over real sockets. The other servers
// are Routers too, or sockets that misbehave.

import assert from "node:assert/strict";
import { createServer, type Server, type Socket } from "node:net";
import type { ClosedHostStreams } from "../../../src/adapters/node-xmpp-server.ts";
import type { DrainReport } from "../../../src/shutdown/report.ts";
import { RawClient } from "../../../src/testing/raw-client.ts";
import { freeAddress, PORTS } from "../../support/addresses.ts";
import { TestDns } from "../../support/dns.ts";
import {
  HOST_PASSWORD,
  type HostOptions,
  nodeXmppServerMissing,
  type RunningHost,
  SCENES,
  startHost,
} from "../../support/node-xmpp-host.ts";
import { skipWithReason } from "../../support/subject.ts";

describe("a node-xmpp-server host with a Router", function () {
  this.timeout(60_000);
  const hosts: RunningHost[] = [];
  const listeners: Server[] = [];
  let dns: TestDns;

  before(function () {
    skipWithReason(this, nodeXmppServerMissing());
  });

  beforeEach(async () => {
    dns = await TestDns.start();
  });

  afterEach(async function () {
    for (const host of hosts) {
      if (this.currentTest?.state === "failed") process.stdout.write(`${host.process.log.slice(-6_000)}\n`);
    }
    for (const host of hosts.splice(0)) await host.process.stop();
    for (const listener of listeners.splice(0)) listener.close();
    await dns.stop();
  });

  async function start(domain: string, options: HostOptions = {}): Promise<RunningHost> {
    const host = await startHost({ domain, dns, ...options });
    hosts.push(host);
    dns.place(domain, { address: host.address, port: PORTS.s2s });
    return host;
  }

  function steered(domain: string, options: object = {}): Promise<RunningHost> {
    return start(domain, { program: SCENES, env: { OPTIONS: JSON.stringify(options) } });
  }

  async function misbehaving(domain: string, onConnection: (socket: Socket) => void): Promise<void> {
    const address = await freeAddress();
    const listener = createServer((socket) => {
      socket.on("error", () => undefined);
      onConnection(socket);
    });
    listeners.push(listener);
    await new Promise<void>((resolve) => listener.listen(PORTS.s2s, address, resolve));
    dns.place(domain, { address, port: PORTS.s2s });
  }

  async function stopped(host: RunningHost): Promise<DrainReport> {
    host.process.signal("SIGTERM");
    await host.process.exited;
    const report = host.report();
    assert.ok(report, host.process.log);
    return report;
  }

  it("brings its owner's last words over a cold link before the stream closes", async () => {
    const far = await steered("far.example");
    const near = await start("near.example", { env: { TELL: "friend@far.example" } });
    const report = await stopped(near);
    assert.match(received(far).join(), /near\.example is going down: received SIGTERM/);
    const { proved, evidence, lost } = report.obligations.run;
    assert.deepEqual({ proved, closed: evidence.closed, lost }, { proved: 1, closed: 1, lost: 0 });
    assert.equal((await near.process.exited).code, 0, near.process.log);
    assert.doesNotMatch(near.process.log, /still holds the event loop/);
  });

  it("proves what went over a warm link by the answer to its closing tag", async () => {
    const far = await steered("far.example");
    const near = await start("near.example", {
      program: SCENES,
      env: { TELL: "friend@far.example enemy@far.example" },
    });
    far.process.tell(JSON.stringify({ to: "x@near.example", id: "inbound" }));
    near.process.tell(JSON.stringify({ to: "x@far.example", id: "outbound" }));
    await far.process.until(() => received(far).length === 1 && received(near).length === 1, "a warm link both ways");
    const report = await stopped(near);
    assert.equal(received(far).length, 3);
    assert.deepEqual(
      report.obligations.destinations.map(({ destination, proved, lost }) => ({ destination, proved, lost })),
      [{ destination: "far.example", proved: 2, lost: 0 }],
    );
    const { incoming, outgoing } = report.sections.streams as ClosedHostStreams;
    assert.deepEqual({ incoming: incoming.answered, outgoing: outgoing.answered }, { incoming: 1, outgoing: 1 });
  });

  it("takes nothing for proof but the answer: what was only written is named as lost", async () => {
    const far = await steered("far.example");
    const near = await start("near.example", {
      program: SCENES,
      env: { TELL: "friend@far.example", OPTIONS: JSON.stringify({ peerTimeout: "1s" }) },
    });
    near.process.tell(JSON.stringify({ to: "x@far.example", id: "warm" }));
    await far.process.until(() => received(far).length === 1, "a warm link");
    far.process.signal("SIGSTOP");
    const report = await stopped(near);
    far.process.signal("SIGCONT");
    const { proved, lost, evidence } = report.obligations.run;
    assert.deepEqual({ proved, lost, written: evidence.written }, { proved: 0, lost: 1, written: 1 });
    assert.equal((await near.process.exited).code, 3);
    assert.equal((report.sections.streams as ClosedHostStreams).outgoing.cut, 1);
  });

  it("still takes what a client sends when it is told to go, and brings it to the other server", async () => {
    const far = await steered("far.example");
    const near = await start("near.example");
    const client = await RawClient.login({
      host: near.address,
      port: PORTS.c2s,
      domain: near.domain,
      username: "last",
      password: HOST_PASSWORD,
      mechanism: "PLAIN",
      resource: "x",
    });
    client.onElement = (xml) => {
      if (xml.startsWith("<stream:error"))
        client.send("<message to='friend@far.example'><body>wait for me</body></message>");
    };
    const report = await stopped(near);
    assert.equal((await client.ended).how, "fin");
    assert.match(received(far).join(), /from="last@near\.example\/x".*wait for me/);
    assert.equal(report.obligations.run.proved, 1);
  });

  it("counts what waits in its queue when the stop begins, and what cannot be brought is returned", async () => {
    const near = await steered("near.example");
    await misbehaving("refusing.example", (socket) => socket.end());
    near.process.tell(JSON.stringify({ to: "x@refusing.example", id: "never", times: 3 }));
    near.process.tell(JSON.stringify({ to: "x@nowhere.example", id: "never", times: 2 }));
    const report = await stopped(near);
    assert.equal(report.obligations.run.lost, 0);
    assert.equal(received(near).filter((xml) => xml.includes("remote-server-not-found")).length, 5);
  });

  it("names what a silent peer did not get, and is not held up beyond its deadline", async () => {
    const near = await steered("near.example", { deadline: "6s" });
    const met = new Promise<void>((resolve) => {
      void misbehaving("silent.example", () => resolve()).then(() =>
        near.process.tell(JSON.stringify({ to: "x@silent.example", id: "gone", times: 3 })),
      );
    });
    await met;
    const report = await stopped(near);
    assert.equal(report.outcome, "lost");
    const [silent] = report.obligations.destinations;
    assert.deepEqual(
      silent?.lostNames,
      [0, 1, 2].map((index) => `message someone@near.example -> x@silent.example id=gone${index}`),
    );
    assert.ok(report.durationMs < 12_000, `${report.durationMs} ms`);
    assert.equal((await near.process.exited).code, 3);
  });
});

function received(host: RunningHost): string[] {
  return host.process.log
    .split("\n")
    .filter((line) => line.startsWith('{"received"'))
    .map((line) => (JSON.parse(line) as { received: string }).received);
}
