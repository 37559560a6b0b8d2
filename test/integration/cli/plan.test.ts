// `morendo plan` against a real server process with sessions, contacts and a domain for which stanzas wait.

import assert from "node:assert/strict";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { OPTIONAL_PHASES, PHASES, POINT_OF_NO_RETURN } from "../../../src/server/phases.ts";
import type { ShutdownPlan } from "../../../src/server/plan.ts";
import { RawClient } from "../../../src/testing/raw-client.ts";
import { startServer } from "../../../src/testing/start-server.ts";
import type { ServerProcess } from "../../support/child.ts";
import { folderWithConfig, morendo, startServer as startProcess } from "./command.ts";

const PASSWORD = "orchard";

describe("the plan of a server", () => {
  it("has the phases as they are declared, and says which can be left out or taken back", async () => {
    await using server = await startServer();
    const { phases } = await server.server.plan();
    const names = phases.map(({ name }) => name);
    assert.deepEqual(names, PHASES);
    assert.deepEqual(
      phases.filter(({ optional }) => optional).map(({ name }) => name),
      OPTIONAL_PHASES,
    );
    assert.equal(
      phases.findIndex(({ cancellable }) => !cancellable),
      names.indexOf(POINT_OF_NO_RETURN),
    );
  });

  it("is refused when the server goes down already", async () => {
    await using server = await startServer();
    await server.stop();
    await assert.rejects(server.server.plan(), { code: "MORENDO_STOPPING" });
  });
});

describe("morendo plan", function () {
  this.timeout(120_000);
  let folder: string;
  let server: ServerProcess | undefined;
  /** Another server that accepts and says nothing: what is for it waits. */
  let mute: Server;
  const sockets = new Set<Socket>();

  before(async () => {
    mute = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
    }).listen(0, "127.0.0.1");
    await once(mute, "listening");
    const { port } = mute.address() as AddressInfo;
    ({ folder } = folderWithConfig(`[s2s.routes]\n"mute.test" = "127.0.0.1:${port}"\n[shutdown]\ndeadline = "8s"`));
    const roster = [
      { jid: "juliet@localhost", subscription: "both" },
      { jid: "x@cold.test", subscription: "from" },
    ];
    const accounts = [
      { jid: "romeo@localhost", password: PASSWORD, roster },
      { jid: "juliet@localhost", password: PASSWORD },
    ];
    const file = join(folder, "accounts.jsonl");
    writeFileSync(file, accounts.map((account) => `${JSON.stringify(account)}\n`).join(""));
    const imported = await morendo(folder, ["user", "import", file]);
    assert.equal(imported.code, 0, imported.stderr);
  });

  after(async () => {
    await server?.stop(10_000);
    for (const socket of sockets) socket.destroy();
    mute.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function start(): Promise<number> {
    server = await startProcess(folder);
    return Number(/c2s 127\.0\.0\.1:(\d+)/.exec((await morendo(folder, ["status"])).stdout)?.[1]);
  }

  async function plan(): Promise<ShutdownPlan> {
    const finished = await morendo(folder, ["plan", "--json"]);
    assert.equal(finished.code, 0, finished.stderr);
    return JSON.parse(finished.stdout) as ShutdownPlan;
  }

  it("says that no server runs, with exit code 1", async () => {
    const finished = await morendo(folder, ["plan"]);
    assert.equal(finished.code, 1);
    assert.match(finished.stderr, /Morendo is not running/);
    assert.equal(finished.stdout, "");
  });

  it("counts what there is, and gives only bounds before the first run", async () => {
    const port = await start();
    const login = { host: "127.0.0.1", port, domain: "localhost", password: PASSWORD };
    const romeo = await RawClient.login({ ...login, username: "romeo", resource: "x" });
    const juliet = await RawClient.login({ ...login, username: "juliet", resource: "y" });
    const stranger = new RawClient({ ...login, username: "juliet" });
    try {
      await stranger.connect();
      romeo.presence();
      romeo.send("<message type='chat' id='m1' to='m@mute.test'><body>wait</body></message>");
      // Whatever was sent before is dealt with when this is answered.
      await romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "localhost");
      const { phases, numbers, estimate, state, budgetMs } = await plan();
      assert.equal(state, "running");
      assert.equal(budgetMs, 8_000);
      const closing = phases.find(({ name }) => name === "close-sessions");
      assert.deepEqual(closing?.participants, [
        { name: "commands: answers", when: "before", limitMs: 2_000 },
        { name: "c2s", when: "during" },
        { name: "presence: goodbyes of an earlier run", when: "during" },
      ]);
      assert.equal(numbers.sessions, 2);
      assert.equal(numbers.available, 1);
      assert.equal(numbers.notLoggedIn, 1);
      assert.deepEqual(numbers.goodbyes, { local: 1, remote: 1 });
      assert.deepEqual(numbers.remote.coldNames.toSorted(), ["cold.test", "mute.test"]);
      assert.equal(numbers.remote.warm, 0);
      assert.ok(numbers.stanzas.queued >= 1);
      assert.equal(estimate.basis, "no earlier run to go by");
      assert.equal(estimate.atMostMs, 9_000);
      const { stdout } = await morendo(folder, ["plan"]);
      assert.match(
        stdout,
        /sessions {5}2, of which 1 available, 0 to be resumed after a start; 1 connections that have not logged in/,
      );
      assert.match(stdout, /domains {6}0 warm, 2 cold \(/);
      assert.match(stdout, /Estimate: no earlier run to go by\nIn any case it is over within 9s\./);
    } finally {
      for (const client of [romeo, juliet, stranger]) client.destroy();
    }
  });

  it("goes by the report of the run before, and names it", async () => {
    server?.signal("SIGTERM");
    await server?.exited;
    await start();
    const { estimate } = await plan();
    assert.match(estimate.basis, /^the stop of \d{4}-/);
    assert.ok(estimate.toMs !== undefined && estimate.toMs <= estimate.atMostMs);
    const { stdout } = await morendo(folder, ["plan"]);
    assert.match(stdout, /Estimate: .*, going by the stop of /);
  });
});
