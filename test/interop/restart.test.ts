// Restarts under load, one after the other, with the other ends of the conversations counting: users of this server and of
// Prosody, who write to one another all the while. The scenario is test/support/restart-scenario.ts.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { DrainReport } from "../../src/shutdown/report.ts";
import { sleep } from "../support/child.ts";
import { ask, ended, restarted } from "../support/control.ts";
import { missing } from "../support/network.ts";
import { playRestarts, type RestartScene } from "../support/restart-scenario.ts";
import { SUBJECT, skipWithReason } from "../support/subject.ts";

const RESTARTS = 10;

describe("a restart under load", function () {
  this.timeout(240_000);

  before(function () {
    if (SUBJECT !== "morendo") skipWithReason(this, "only Morendo restarts like this");
    skipWithReason(this, missing("prosody"));
  });

  it(`loses nothing, doubles nothing and shows nobody a change of presence, ${RESTARTS} times in a row`, async () => {
    const reports: DrainReport[] = [];
    let log = "";
    const result = await playRestarts(
      { users: 20, peer: "prosody", remotes: 5, paceMs: 150 },
      async ({ server, users }: RestartScene) => {
        const pids = [server.process.pid];
        for (let round = 0; round < RESTARTS; round++) {
          const { predecessor, pid } = await restarted(server.process.folder);
          assert.equal(predecessor, pids.at(-1));
          pids.push(pid);
          const limit = performance.now() + 20_000;
          const everybody = (): boolean =>
            users.every(({ isLive, resumptions, failed }) => (isLive && resumptions > round) || failed.length > 0);
          while (!everybody() && performance.now() < limit) await sleep(20);
          assert.equal(await ended(predecessor), "by itself");
          const path = join(server.process.folder, "data/last-drain.json");
          assert.ok(existsSync(path), server.process.log.slice(-6_000));
          reports.push(JSON.parse(readFileSync(path, "utf8")));
          await sleep(200);
        }
        log = server.process.log;
        return async () => {
          await ask(server.process.folder, "stop");
          assert.equal(await ended(pids.at(-1) ?? 0), "by itself");
        };
      },
    );
    const { written, resumptions, longestGapMs, ...faults } = result;
    const none = { missing: [], doubled: [], overtaken: [], presence: [], errors: [], refused: [], failed: [] };
    assert.deepEqual(faults, none, log.slice(-6_000));
    assert.equal(resumptions, 20 * RESTARTS);
    assert.deepEqual(
      reports.map(({ cause, exitCode, obligations: { destinations } }) => ({
        cause,
        exitCode,
        lost: destinations.flatMap(({ lostNames }) => lostNames),
      })),
      Array.from({ length: RESTARTS }, () => ({ cause: "restart", exitCode: 0, lost: [] })),
    );
  });
});
