// Hosts built on node-xmpp-server, as processes, going down in order by `morendo/node-xmpp-server`: real sockets, real
// signals, real exit codes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ClosedHostSessions } from "../../../src/adapters/node-xmpp-server.ts";
import { RawClient, type RawClientOptions } from "../../../src/testing/raw-client.ts";
import { PORTS } from "../../support/addresses.ts";
import { sleep } from "../../support/child.ts";
import {
  EXAMPLE,
  HOST_PASSWORD,
  type HostOptions,
  nodeXmppServerMissing,
  type RunningHost,
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
