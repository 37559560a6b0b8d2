// A message for a Prosody that is away, over a stop of Morendo: when both are back it arrives, once, with its time.

import assert from "node:assert/strict";
import { connectControl } from "../../src/control/control-client.ts";
import type { ServerStatus } from "../../src/server/server.ts";
import { RawClient, type RawClientOptions } from "../../src/testing/raw-client.ts";
import { systemClock } from "../../src/util/clock.ts";
import { PASSWORD } from "../support/accounts.ts";
import { PORTS } from "../support/addresses.ts";
import { sleep } from "../support/child.ts";
import { prepareMorendo } from "../support/morendo.ts";
import { missing, Network } from "../support/network.ts";
import { SUBJECT, skipWithReason } from "../support/subject.ts";

const LOCAL = "local.example";
const REMOTE = "remote.example";

describe("what waits for another server", function () {
  this.timeout(120_000);
  let network: Network | undefined;

  before(function () {
    if (SUBJECT !== "morendo") skipWithReason(this, "only Morendo has a journal");
    skipWithReason(this, missing("prosody"));
  });

  afterEach(() => network?.stop());

  it("arrives at Prosody once when both are back", async () => {
    network = await Network.create();
    const peer = { domain: REMOTE, accounts: [{ username: "romeo" }] };
    const first = await network.start("prosody", peer);
    const { address } = first;
    const morendo = await prepareMorendo(
      network.complete({ domain: LOCAL, accounts: [{ username: "juliet" }], extra: '[shutdown]\ndeadline = "8s"' }),
    );
    const login = async (options: Partial<RawClientOptions> & { readonly host: string }): Promise<RawClient> => {
      const client = await RawClient.login({
        port: PORTS.c2s,
        domain: LOCAL,
        username: "juliet",
        password: PASSWORD,
        mechanism: "PLAIN",
        ...options,
      });
      network?.add(() => client.destroy());
      return client;
    };
    let running = morendo.start();
    network.adopt(running);
    await running.process.listening(running.address, Object.values(PORTS));
    const juliet = await login({ host: running.address });
    first.process.signal("SIGTERM");
    await first.process.exited;
    for (const id of ["m1", "m2", "m3"]) {
      juliet.send(`<message to='romeo@${REMOTE}' id='${id}' type='chat'><body>hear ${id}</body></message>`);
    }
    await juliet.iq("get", "<query xmlns='jabber:iq:roster'/>");
    running.process.signal("SIGTERM");
    const { code } = await running.process.exited;
    assert.equal(code, 0, running.process.log.slice(-3_000));

    await network.start("prosody", { ...peer, address });
    const romeo = await login({ host: address, domain: REMOTE, username: "romeo" });
    romeo.presence();
    for (const _ of [1, 2]) {
      running = morendo.start();
      await running.process.listening(running.address, Object.values(PORTS));
      const limit = performance.now() + 60_000;
      // A start that finds nothing is over at once.
      while ((await waiting(morendo.folder)) !== 0 && performance.now() < limit) await sleep(50);
      await romeo.waitFor((xml) => xml.includes("hear m3"), { timeoutMs: 60_000 });
      running.process.signal("SIGTERM");
      await running.process.exited;
    }
    const got = romeo.received.flatMap(({ xml }) => /<body>hear (\w+)/.exec(xml)?.[1] ?? []);
    assert.deepEqual(got, ["m1", "m2", "m3"]);
    const [message] = romeo.received.filter(({ xml }) => xml.includes("hear m1"));
    assert.match(message?.xml ?? "", /<delay [^>]*from=['"]local\.example['"]/);
  });
});

async function waiting(folder: string): Promise<number | undefined> {
  const client = await connectControl({ path: `${folder}/data/control.sock`, clock: systemClock, timeoutMs: 10_000 });
  try {
    return ((await client.request("status")) as ServerStatus).journal?.waiting;
  } finally {
    client.close();
  }
}
