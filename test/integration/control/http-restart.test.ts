// HTTP through the life of real processes: restarts, between which nobody finds the port closed, starts that cannot be, and the
// command that prints the address of the page.

import assert from "node:assert/strict";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { RestartResult } from "../../../src/operations/restart-result.ts";
import type { ServerStatus } from "../../../src/server/server.ts";
import { freePort } from "../../support/addresses.ts";
import { ended } from "../../support/control.ts";
import { Generations } from "../../support/generations.ts";

describe("HTTP of a server that is replaced", function () {
  this.timeout(120_000);
  let generations: Generations | undefined;
  let place: string;

  async function start(): Promise<{ folder: string; ask(path: string, init?: RequestInit): Promise<Response> }> {
    place = `127.0.0.1:${await freePort("127.0.0.1")}`;
    generations = await Generations.start({ env: { MORENDO_HTTP__LISTEN: place } });
    const { folder } = generations;
    const token = readFileSync(join(folder, "data/http-token"), "utf8").trim();
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    return {
      folder,
      // A connection for each request: what was open before says nothing about who listens.
      ask: (path, init) =>
        fetch(`http://${place}${path}`, {
          ...init,
          headers: { ...headers, connection: "close" },
          signal: AbortSignal.timeout(30_000),
        }),
    };
  }

  afterEach(() => generations?.end());

  it("answers at every moment of two restarts, in the end by the last process, and by nobody after a stop", async () => {
    const { ask } = await start();
    let isOver = false;
    const answers = { good: 0, bad: [] as string[] };
    const asking = (async () => {
      while (!isOver) {
        try {
          const response = await ask("/live");
          if ((await response.text()) === "live\n") answers.good++;
          else answers.bad.push(String(response.status));
        } catch (thrown) {
          answers.bad.push(String(thrown instanceof Error ? (thrown.cause ?? thrown) : thrown));
        }
      }
    })();
    let pid = 0;
    try {
      for (let round = 0; round < 2; round++) {
        const response = await ask("/api/restart", { method: "POST", body: JSON.stringify({ reason: "a test" }) });
        const result = (await response.json()) as RestartResult;
        assert.ok(result.restarted, JSON.stringify(result));
        pid = result.pid;
      }
    } finally {
      isOver = true;
      await asking;
    }
    assert.deepEqual(answers.bad, []);
    assert.ok(answers.good > 3);
    const status = (await (await ask("/api/status")).json()) as ServerStatus;
    assert.equal(status.pid, pid);
    assert.ok(status.listening.includes(`http ${place}`), status.listening.join());
    const stop = await ask("/api/stop", { method: "POST", body: "{}" });
    assert.equal(stop.status, 200);
    assert.equal(await ended(pid), "by itself");
    await assert.rejects(ask("/live"));
  });

  it("goes on as before when a restart fails", async () => {
    const { ask } = await start();
    generations?.program("process.exit(7);");
    const response = await ask("/api/restart", { method: "POST", body: "{}" });
    const result = (await response.json()) as RestartResult;
    assert.equal(result.restarted, false);
    assert.equal(await (await ask("/ready")).text(), "ready\n");
  });

  it("has a command that prints the page's address, and that refuses a token which others can read", async () => {
    const { folder } = await start();
    const token = readFileSync(join(folder, "data/http-token"), "utf8").trim();
    const said = await generations?.command("dashboard", "--config", join(folder, "morendo.toml"));
    // The command reads the configuration without the environment of the server.
    assert.equal(said?.output.trim(), `http://127.0.0.1:5280/#token=${token}`);
    chmodSync(join(folder, "data/http-token"), 0o644);
    const refused = await generations?.command("dashboard", "--config", join(folder, "morendo.toml"));
    assert.equal(refused?.code, 1);
    assert.match(refused?.output ?? "", /can be read by others \(mode 644\)/);
  });

  it("keeps a second server from starting where its port is taken, and names the option", async () => {
    await start();
    const second = await Generations.launch({ env: { MORENDO_HTTP__LISTEN: place } });
    try {
      const { code } = await second.process.exited;
      assert.equal(code, 1);
      assert.match(second.process.log, new RegExp(`${place} is in use by another program \\(option http\\.listen\\)`));
      await second.alone();
    } finally {
      await second.end();
    }
  });
});
