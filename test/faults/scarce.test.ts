// A process that runs out of file descriptors, and one whose disk is full: real limits of the system on a real process. It
// survives, says what it could not do, takes up again what it can, and goes down as it should.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { connect, type Socket } from "node:net";
import { ScriptedPeer } from "../../src/testing/scripted-peer.ts";
import { PORTS } from "../support/addresses.ts";
import { sleep } from "../support/child.ts";
import { Generations } from "../support/generations.ts";
import { SmClient } from "../support/sm-client.ts";

const ACCOUNTS = ["romeo", "juliet", "nurse"].map((name) => ({ jid: `${name}@a.test` }));

async function until(holds: () => boolean, what: () => string): Promise<void> {
  const limit = performance.now() + 30_000;
  while (!holds()) {
    assert.ok(performance.now() < limit, `it never came to this: ${what()}`);
    await sleep(20);
  }
}

/** More strangers than a server with few file descriptors can let in. */
class Crowd {
  readonly #sockets: Socket[] = [];
  #gone = 0;

  /** Resolves when one of them has been turned away. */
  async come(address: string): Promise<void> {
    for (let count = 0; count < 150; count++) {
      const socket = connect({ host: address, port: PORTS.c2s });
      socket.on("error", () => undefined).on("close", () => this.#gone++);
      this.#sockets.push(socket);
    }
    await until(
      () => this.#gone > 0,
      () => "somebody is turned away",
    );
  }

  leave(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** From now on the process may have so many file descriptors. It needs more only to read its program at the start. */
function limitDescriptors(pid: number, count: number): void {
  execFileSync("prlimit", [`--pid=${pid}`, `--nofile=${count}:${count}`]);
}

describe("A process without file descriptors", function () {
  this.timeout(120_000);

  it("keeps those who are there, lets others in when there are some again, and delivers what it owes when it stops", async () => {
    await using peer = await ScriptedPeer.start({ domain: "remote.test", trusting: true });
    const generations = await Generations.start({
      accounts: ACCOUNTS,
      settings: {
        c2s: 'max_connections_per_address = 1000\nlogin_timeout = "5m"',
        extra: `[s2s.routes]\n"remote.test" = "${peer.address}"\n`,
        s2s: "require_tls = false",
      },
    });
    limitDescriptors(generations.process.pid, 96);
    const strangers = new Crowd();
    try {
      const romeo = generations.client({ username: "romeo", resource: "1" });
      await romeo.login();
      await strangers.come(generations.address);
      // With nothing left it serves who is there. The other server cannot be reached now.
      assert.match(await romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test"), /type=.result/);
      romeo.send("<message to='x@remote.test' id='cold' type='chat'><body>hi</body></message>");
      assert.match(await romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test"), /type=.result/);
      generations.process.signal("SIGTERM");
      const exit = await generations.process.exited;
      const report = generations.report();
      assert.equal(exit.signal, null, generations.process.log);
      assert.ok(report !== undefined && report.obligations.run.lost === 0, generations.process.log);
      const returned = romeo.received.filter(({ xml }) => /^<message[^>]*type=.error/.test(xml)).length;
      const { stored } = report.obligations.run;
      assert.ok(
        peer.stanzas.length + returned + stored > 0,
        `the message has no fate: ${JSON.stringify(report.obligations)}`,
      );
      romeo.destroy();
    } finally {
      strangers.leave();
      await generations.end();
    }
  });

  it("lets others in when there are some again", async () => {
    const generations = await Generations.start({
      accounts: ACCOUNTS,
      settings: { c2s: 'max_connections_per_address = 1000\nlogin_timeout = "5m"' },
    });
    limitDescriptors(generations.process.pid, 96);
    const strangers = new Crowd();
    try {
      await strangers.come(generations.address);
      strangers.leave();
      // The server hears of it one after the other, and may have none to spare yet.
      let isIn = false;
      for (const limit = performance.now() + 30_000; !isIn && performance.now() < limit; ) {
        const romeo = generations.client({ username: "romeo", resource: "1" });
        isIn = await romeo.login().then(
          () => true,
          () => false,
        );
        romeo.destroy();
      }
      assert.ok(isIn, generations.process.log);
    } finally {
      strangers.leave();
      await generations.end();
    }
  });
});

/** From now on no file of the process may grow; with `undefined` it may again. */
function limitFiles(pid: number, bytes: number | undefined): void {
  execFileSync("prlimit", [`--pid=${pid}`, `--fsize=${bytes ?? "unlimited"}:unlimited`]);
}

describe("A process whose disk is full", function () {
  this.timeout(120_000);

  it("tells senders that nothing could be kept, serves on, and keeps again when there is room", async () => {
    const generations = await Generations.start({ accounts: ACCOUNTS });
    try {
      const romeo = await SmClient.start(generations, "romeo", "1");
      romeo.message("nurse@a.test", "before");
      assert.equal(await romeo.carried(), 1);
      limitFiles(generations.process.pid, 1);
      for (let count = 0; count < 20; count++) romeo.message("nurse@a.test", `full-${count}`);
      await romeo.raw.waitFor((xml) => xml.includes("full-19") && /type=.error/.test(xml));
      assert.match(await romeo.raw.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test"), /type=.result/);
      limitFiles(generations.process.pid, undefined);
      romeo.message("nurse@a.test", "after");
      const nurse = generations.client({ username: "nurse", resource: "1" });
      await romeo.carried();
      await nurse.login();
      nurse.presence();
      await nurse.waitFor((xml) => xml.includes("<body>after</body>"));
      const bodies = nurse.received.flatMap(({ xml }) => /<body>([^<]*)</.exec(xml)?.slice(1) ?? []);
      const returned = romeo.raw.received.filter(({ xml }) => /^<message[^>]*type=.error/.test(xml)).length;
      assert.deepEqual([bodies[0], bodies.at(-1), bodies.length + returned], ["before", "after", 22], bodies.join());
      nurse.destroy();
      romeo.raw.destroy();
    } finally {
      await generations.end();
    }
  });

  it("goes down in time, says that the report could not be written, and does not call it clean", async () => {
    const generations = await Generations.start({ accounts: ACCOUNTS });
    try {
      const romeo = await SmClient.start(generations, "romeo", "1");
      romeo.raw.presence();
      limitFiles(generations.process.pid, 1);
      generations.process.signal("SIGTERM");
      const exit = await generations.process.exited;
      assert.equal(exit.signal, null, generations.process.log);
      assert.notEqual(exit.code, 0, generations.process.log);
      assert.match(generations.process.log, /report.*(could not|cannot) be written/, generations.process.log);
    } finally {
      await generations.end();
    }
  });
});
