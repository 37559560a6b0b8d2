// A module that does not give the event loop back, in each phase, for three times the whole deadline: the watchdog ends the
// process in time, and says who it was.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import type { WatchdogReport } from "../../src/shutdown/index.ts";
import { Generations } from "../support/generations.ts";
import { runnable } from "../support/program.ts";

const BLOCKER = runnable(new URL("../support/test-modules/blocker/index.ts", import.meta.url));
const PHASES = ["stop-accepting", "close-sessions", "server-stopping", "drain-s2s", "quit"];
const DELAYED = "announce";
const DEADLINE_MS = 3_000;
const SHORT = `[shutdown]
deadline = "${DEADLINE_MS}ms"
watchdog_grace = "500ms"
${PHASES.map((phase) => `${phase.replace("-", "_")} = { floor = "100ms", ceiling = "3s" }`).join("\n")}
`;

describe("An event loop that is blocked for three times the deadline", function () {
  this.timeout(120_000);

  for (const phase of [DELAYED, ...PHASES]) {
    it(`in ${phase} costs the process no more than the deadline, and the watchdog names the phase and the module`, async () => {
      const extra = `${SHORT}[module.blocker]\nphase = "${phase}"\nms = ${3 * DEADLINE_MS}\n`;
      const generations = await Generations.start({
        settings: { modules: [BLOCKER], extra },
        accounts: [{ jid: "romeo@a.test" }],
      });
      try {
        const romeo = generations.client({ username: "romeo" });
        await romeo.login();
        const begun = performance.now();
        const delay = phase === DELAYED ? ["--delay", "1s", "--announce", "we go"] : [];
        const stopped = generations.command("stop", ...delay, "--config", generations.path("operator.toml"));
        const exit = await generations.process.exited;
        assert.equal(exit.signal, "SIGKILL");
        assert.ok(exit.at - begun < 3 * DEADLINE_MS, "the process outlived what blocked it");
        assert.equal((await stopped).code, 137, (await stopped).output);
        const file = generations.path("data/watchdog.json");
        assert.ok(existsSync(file), generations.process.log);
        const report = JSON.parse(readFileSync(file, "utf8")) as WatchdogReport;
        assert.equal(report.phase, phase);
        assert.match(report.executing ?? "", /blocker/);
        // On a machine that is busy with others the stack may not come in the time there is for it.
        if (report.stack !== undefined) assert.match(report.stack.join("\n"), /^blockTheLoop .*blocker/m);
        assert.match(generations.process.log, new RegExp(`watchdog: .*phase ${phase}.*executing: .*blocker`));
        romeo.destroy();
      } finally {
        await generations.end();
      }
    });
  }
});
