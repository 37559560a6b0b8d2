// Morendo and the Router of node-xmpp-server, by plain dialback without TLS. The Router knows no acknowledgements and no
// pings of its own accord: what it can give at our shutdown is the answer to our closing tag.

import assert from "node:assert/strict";
import type { RawClient } from "../../src/testing/raw-client.ts";
import { startServer, type TestServer } from "../../src/testing/start-server.ts";
import { freeAddress, PORTS } from "../support/addresses.ts";
import { TestDns } from "../support/dns.ts";
import { nodeXmppServerMissing, type RunningHost, SCENES, startHost } from "../support/node-xmpp-host.ts";
import { skipWithReason } from "../support/subject.ts";

const NEAR = "a.test";
const FAR = "far.example";

describe("morendo and a node-xmpp-server Router, by dialback without TLS", function () {
  this.timeout(60_000);
  let dns: TestDns;
  let near: TestServer;
  let far: RunningHost;

  before(function () {
    skipWithReason(this, nodeXmppServerMissing());
  });

  beforeEach(async () => {
    dns = await TestDns.start();
    const address = await freeAddress();
    near = await startServer({
      s2s: { listen: [`${address}:${PORTS.s2s}`], require_tls: false },
      dns: { servers: [`${dns.address}:${dns.port}`] },
    });
    far = await startHost({ domain: FAR, program: SCENES, dns });
    dns.place(NEAR, { address, port: PORTS.s2s });
    dns.place(FAR, { address: far.address, port: PORTS.s2s });
  });

  afterEach(async function () {
    if (this.currentTest?.state === "failed") process.stdout.write(`${far.process.log.slice(-6_000)}\n`);
    await near?.dispose();
    await far?.process.stop();
    await dns?.stop();
  });

  async function online(name: string): Promise<RawClient> {
    const client = await near.login(name, "x");
    client.presence();
    await client.waitFor((xml) => xml.startsWith("<presence"));
    return client;
  }

  function arrived(): string[] {
    const lines = far.process.log.split("\n").filter((line) => line.startsWith('{"received"'));
    return lines.map((line) => (JSON.parse(line) as { received: string }).received);
  }

  it("carries messages and presence both ways", async () => {
    const romeo = await online("romeo");
    romeo.send(`<message to='friend@${FAR}' id='one' type='chat'><body>over</body></message>`);
    romeo.send(`<presence to='friend@${FAR}'/>`);
    await far.process.until(() => arrived().length === 2, "message and presence");
    assert.match(arrived()[0] ?? "", /^<message [^>]*id="one"/);
    assert.match(arrived()[1] ?? "", new RegExp(`^<presence [^>]*from="romeo@${NEAR}/x"`));
    far.process.tell(JSON.stringify({ to: romeo.jid, id: "back", times: 3 }));
    await romeo.waitFor((xml) => xml.includes("back2"));
    const back = romeo.received.map(({ xml }) => /id=["'](back\d)/.exec(xml)?.[1]).filter((id) => id !== undefined);
    assert.deepEqual(back, ["back0", "back1", "back2"]);
  });

  it("takes a message over a link that the Router opens", async () => {
    const romeo = await online("romeo");
    far.process.tell(JSON.stringify({ to: romeo.jid, id: "first" }));
    await romeo.waitFor((xml) => xml.includes("first0"));
  });

  for (const link of ["warm", "cold"] as const) {
    it(`tells it over a ${link} link who has gone, and its answer to our closing tag is the proof`, async () => {
      const romeo = await online("romeo");
      if (link === "warm") {
        romeo.send(`<presence to='friend@${FAR}'/>`);
        await far.process.until(() => arrived().length === 1, "presence");
      } else {
        // Handed over in one write with what makes it wait for a dial: the stop begins before there is a link.
        romeo.send(`<presence to='friend@${FAR}'/>`);
      }
      const report = await near.stop();
      await far.process.until(() => arrived().some((xml) => /type="unavailable"/.test(xml)), "unavailable presence");
      // It was asked by ping, hands that to its owner, and this owner does not answer.
      assert.ok(arrived().some((xml) => xml.includes("urn:xmpp:ping")));
      const { proved, lost, evidence } = report.obligations.run;
      assert.ok(proved >= 1, JSON.stringify(report.obligations));
      assert.deepEqual({ lost, evidence }, { lost: 0, evidence: { "sm-ack": 0, pong: 0, closed: proved, written: 0 } });
    });
  }
});
