// A module that comes and goes on a real server: what it left behind is counted, and the run of a stop is told to it.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DrainReport, defineModule, type ModuleApi } from "../../../src/module.ts";
import { PHASES } from "../../../src/server/phases.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { type Logger, silentLog } from "../../../src/util/log.ts";

describe("modules of a running server", function () {
  this.timeout(60_000);
  let folder: string;
  let running: TestServer | undefined;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "morendo-reload-"));
  });
  afterEach(async () => {
    await running?.dispose();
    running = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  it("leave nothing behind after a hundred reloads, and then the server stops cleanly", async () => {
    writeFileSync(
      join(folder, "busy.mjs"),
      `export default { name: "busy", load(api) {
        api.hook("presence/sent", () => undefined, "early");
        api.on("session/bound", () => {});
        api.on("lifecycle/state", () => {});
        api.on("server-stopping", () => {});
        for (const phase of ["announce", "stop-accepting", "close-sessions", "drain-s2s", "quit"]) {
          for (const when of ["before", "during"]) api.phase(phase, { when, cancelled: () => {} }, () => {});
        }
        api.feature("urn:busy");
        api.timer(3600000, () => {});
        api.storage.put(["reloads"], 1);
      } };`,
    );
    running = await startServer({}, { moduleBase: folder });
    const { server } = running;
    const romeo = await running.login("romeo", "x");
    romeo.send("<presence/>");
    const count = () => ({
      participants: PHASES.map((phase) => server.lifecycle.participants(phase).length),
      announced: server.modules.announced("host"),
      registrations: server.modules.list().map(({ registrations }) => registrations),
    });
    const before = count();
    await server.modules.add("./busy.mjs");
    const during = count();
    for (let round = 0; round < 100; round++) await server.modules.reload("busy");
    assert.deepEqual(count(), during);
    const juliet = await running.login("juliet", "x");
    juliet.send("<presence/>");
    await server.modules.remove("busy");
    assert.deepEqual(count(), before);
    const report = await running.stop();
    assert.equal(report.outcome, "clean");
    assert.deepEqual(report.sections.modules, {});
  });

  it("see the run so far after the drain and in quit, and at the next start how the last run ended", async () => {
    const data = join(folder, "data");
    const seen: (readonly [string, DrainReport | undefined])[] = [];
    let stored: unknown;
    const watcher = defineModule({
      name: "watcher",
      load(api) {
        seen.push(["previous", api.previousReport()]);
        api.phase("drain-s2s", { when: "after" }, () => void seen.push(["drained", api.report()]));
        api.phase("quit", {}, async () => {
          seen.push(["quit", api.report()]);
          await api.storage.put(["k"], "in quit");
          stored = await api.storage.get(["k"]);
        });
      },
    });
    running = await startServer({ data }, { modules: [watcher] });
    await running.login("romeo", "x");
    const report = await running.stop("the first");
    assert.equal(report.outcome, "clean");
    assert.equal(stored, "in quit");
    assert.deepEqual(
      seen.map(([when, given]) => [when, given?.reason, given?.phases.length]),
      [
        ["previous", undefined, undefined],
        ["drained", "the first", 4],
        ["quit", "the first", 5],
      ],
    );
    await running.dispose();
    seen.length = 0;
    running = await startServer({ data }, { modules: [watcher] });
    assert.deepEqual(seen[0]?.[1], JSON.parse(JSON.stringify(report)));
    await running.dispose();

    const warnings: string[] = [];
    const log: Logger = { ...silentLog, child: () => log, warn: (_fields, message) => void warnings.push(message) };
    seen.length = 0;
    mkdirSync(data, { recursive: true });
    writeFileSync(join(data, "last-drain.json"), '{"version":1,"id":"x"}');
    running = await startServer({ data }, { modules: [watcher], log });
    assert.equal(seen[0]?.[1], undefined);
    assert.deepEqual(warnings, ["how the last run ended cannot be told"]);
  });

  it("that misbehave in the run are named in its report", async () => {
    let api: ModuleApi | undefined;
    const clumsy = defineModule({
      name: "clumsy",
      load(given) {
        api = given;
        given.hook("presence/sent", () => {
          throw new Error("on purpose");
        });
        given.hook("iq/get/urn:never", () => new Promise(() => undefined));
        given.phase("drain-s2s", { timeout: "100ms" }, () => new Promise(() => undefined));
        given.phase("drain-s2s", { name: "late" }, () => given.feature("urn:late"));
        return () => new Promise(() => undefined);
      },
    });
    running = await startServer({ shutdown: { deadline: "10s" } }, { modules: [clumsy] });
    const romeo = await running.login("romeo", "x");
    romeo.send('<presence/><iq type="get" id="1"><q xmlns="urn:never"/></iq>');
    await romeo.waitFor((xml) => xml.includes("presence"), { timeoutMs: 200 }).catch(() => undefined);
    const report = await running.stop();
    assert.deepEqual(report.sections.modules, {
      clumsy: {
        "failed at presence/sent": 1,
        "had not settled at iq/get/urn:never": 1,
        "was refused: MORENDO_STOPPING": 1,
        "did not settle at unload": 1,
      },
    });
    assert.equal(report.outcome, "incomplete");
    assert.deepEqual(
      report.phases[4]?.participants
        .filter(({ name }) => name.startsWith("clumsy"))
        .map(({ name, outcome }) => [name, outcome]),
      [
        ["clumsy", "timed-out"],
        ["clumsy: late", "failed"],
      ],
    );
    assert.throws(() => api?.feature("urn:x"), /module "clumsy": feature "urn:x" refused/);
  });
});
