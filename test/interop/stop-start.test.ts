// A stop, and a start on the same data folder a little later, with real processes: users with stream management write to
// one another and to users of Prosody all the while, come back, and both ends count. And what contacts are told meanwhile.

import assert from "node:assert/strict";
import { RawClient, type RawClientOptions } from "../../src/testing/raw-client.ts";
import { PASSWORD } from "../support/accounts.ts";
import { PORTS } from "../support/addresses.ts";
import { sleep } from "../support/child.ts";
import { prepareMorendo, readDrainReport } from "../support/morendo.ts";
import { missing, Network } from "../support/network.ts";
import { playRestarts, type RestartScene } from "../support/restart-scenario.ts";
import type { RunningServer } from "../support/server.ts";
import { type Clients, SmClient } from "../support/sm-client.ts";
import { SUBJECT, skipWithReason } from "../support/subject.ts";

const ROUNDS = 10;
const LOCAL = "local.example";
const REMOTE = "remote.example";
const JULIET = `juliet@${LOCAL}/1`;

describe("a stop and a start", function () {
  this.timeout(240_000);

  before(function () {
    if (SUBJECT !== "morendo") skipWithReason(this, "only Morendo keeps sessions over a stop");
    skipWithReason(this, missing("prosody"));
  });

  for (const resumable of ["end", "keep"] as const) {
    it(`lose nothing and double nothing under load, ${ROUNDS} times in a row (${resumable})`, async () => {
      let log = "";
      const kept: unknown[] = [];
      const result = await playRestarts(
        {
          users: 20,
          peer: "prosody",
          remotes: 5,
          paceMs: 150,
          mayBeRefused: true,
          extra: `[shutdown]\nresumable = "${resumable}"`,
        },
        async ({ server, startAgain, users }: RestartScene) => {
          let running = server;
          for (let round = 0; round < ROUNDS; round++) {
            running.process.signal("SIGTERM");
            assert.equal((await running.process.exited).code, 0, running.process.log.slice(-6_000));
            kept.push(readDrainReport(running.process.folder)?.sections.sessions);
            await sleep(300);
            running = startAgain();
            await running.process.listening(running.address, Object.values(PORTS));
            const limit = performance.now() + 20_000;
            const everybody = (): boolean =>
              users.every(({ isLive, resumptions, failed }) => (isLive && resumptions > round) || failed.length > 0);
            while (!everybody() && performance.now() < limit) await sleep(20);
            await sleep(600);
          }
          return async () => {
            running.process.signal("SIGTERM");
            await running.process.exited;
            log = running.process.log;
          };
        },
      );
      const { missing: undelivered, doubled, errors, failed, presence } = result;
      // While nobody is there, Prosody returns what its users write: told so once, and not delivered.
      const returned = errors.map((text) => /^c\d.*\bid=['"](c\d+-u\d+:\d+)['"]/.exec(text)?.[1] ?? text);
      assert.deepEqual(undelivered.toSorted(), returned.toSorted(), log);
      assert.deepEqual({ doubled, failed }, { doubled: [], failed: [] }, log);
      assert.ok(returned.length < result.written / 2, `${returned.length} of ${result.written}`);
      assert.equal(result.resumptions, 20 * ROUNDS);
      assert.deepEqual(
        kept.map((section) => (section as { kept: number }).kept),
        Array.from({ length: ROUNDS }, () => 20),
      );
      const gone = presence.filter((text) => text.includes("unavailable") && /from=['"]u\d/.test(text));
      if (resumable === "keep") assert.deepEqual(gone, []);
      else assert.ok(gone.length > 0);
    });
  }

  describe("and a contact on another server", () => {
    let network: Network;
    let prepared: { readonly folder: string; start(): RunningServer };
    let running: RunningServer;
    let contact: RawClient;
    let mark = 0;

    const clients: Clients = {
      client: (options: Partial<RawClientOptions> = {}) => {
        const client = new RawClient({
          host: running.address,
          port: PORTS.c2sTls,
          domain: LOCAL,
          password: PASSWORD,
          timeoutMs: 30_000,
          username: "juliet",
          ...options,
        });
        network.add(() => client.destroy());
        return client;
      },
    };
    const seen = (): string[] =>
      contact.received
        .slice(mark)
        .filter(({ xml }) => xml.startsWith("<presence") && /from=['"]juliet@local.example\/1/.test(xml))
        .map(({ xml }) => (/type=['"]unavailable/.test(xml) ? "gone" : "here"));
    const sees = async (...what: string[]): Promise<void> => {
      await running.process.until(() => seen().length >= what.length, `${what.join(", ")} at the contact`, 30_000);
      await sleep(300);
      assert.deepEqual(seen(), what);
    };
    const open = async (resumable: "end" | "keep", smMax = "5m"): Promise<SmClient> => {
      network = await Network.create();
      const peer = await network.start("prosody", {
        domain: REMOTE,
        accounts: [{ username: "romeo", roster: [{ jid: `juliet@${LOCAL}`, subscription: "both" }] }],
      });
      prepared = await prepareMorendo(
        network.complete({
          domain: LOCAL,
          accounts: [{ username: "juliet", roster: [{ jid: `romeo@${REMOTE}`, subscription: "both" }] }],
          extra: `[shutdown]\nresumable = "${resumable}"`,
        }),
      );
      await start();
      mark = 0;
      contact = await RawClient.login({
        host: peer.address,
        port: PORTS.c2s,
        domain: REMOTE,
        username: "romeo",
        password: PASSWORD,
        resource: "r",
        mechanism: "PLAIN",
      });
      contact.presence();
      const seconds = smMax === "5m" ? "" : ` max='${Number.parseInt(smMax, 10)}'`;
      const juliet = await SmClient.start(clients, "juliet", "1", { enable: `resume='true'${seconds}` });
      await juliet.available();
      // Prosody asks for what it is also told.
      await running.process.until(() => seen().includes("here"), "juliet at the contact", 30_000);
      await sleep(1_000);
      mark = contact.received.length;
      return juliet;
    };
    const start = async (): Promise<void> => {
      running = prepared.start();
      network.adopt(running);
      await running.process.listening(running.address, Object.values(PORTS));
    };
    const stop = async (): Promise<void> => {
      running.process.signal("SIGTERM");
      assert.equal((await running.process.exited).code, 0, running.process.log.slice(-4_000));
    };

    afterEach(async () => {
      contact.destroy();
      await network.stop();
    });

    it("hears with `end` that the user is gone, and that he is back", async () => {
      const juliet = await open("end");
      await stop();
      await sees("gone");
      await start();
      (await SmClient.resume(clients, juliet.identity)).resumed();
      await sees("gone", "here");
    });

    it("hears nothing with `keep` but that he is there, and messages written meanwhile arrive", async () => {
      const juliet = await open("keep");
      await stop();
      contact.send(`<message to='${JULIET}' type='chat' id='meanwhile'><body>meanwhile</body></message>`);
      await start();
      contact.send(`<message to='${JULIET}' type='chat' id='before'><body>before</body></message>`);
      const back = await SmClient.resume(clients, juliet.identity);
      back.resumed();
      await back.got("before");
      assert.ok(seen().every((what) => what === "here"));
    });

    it("hears with `keep` once that he is gone when he does not come back, in time or before the start", async () => {
      await open("keep", "3s");
      await stop();
      await sleep(200);
      assert.deepEqual(seen(), []);
      await start();
      await sees("gone");
      await sleep(3_500);
      assert.deepEqual(seen(), ["gone"]);
    });

    it("hears after a crash and a start, once, that the user is gone", async () => {
      await open("keep");
      running.process.signal("SIGKILL");
      await running.process.exited;
      await start();
      await sees("gone");
      await stop();
      assert.deepEqual(seen(), ["gone"]);
    });

    it("does not hear of a session again after a crash, and nobody can resume it", async () => {
      const juliet = await open("end");
      await stop();
      await start();
      running.process.signal("SIGKILL");
      await running.process.exited;
      await start();
      assert.match((await SmClient.resume(clients, juliet.identity)).answer, /^<failed .*item-not-found/);
      assert.deepEqual(seen(), ["gone"]);
    });
  });
});
