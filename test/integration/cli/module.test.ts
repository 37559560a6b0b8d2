// The running server's modules and a cancelled stop, from the command line.

import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ModuleInfo } from "../../../src/server/module-loader.ts";
import type { ServerProcess } from "../../support/child.ts";
import { folderWithConfig, morendo, startServer } from "./command.ts";

/** Holds `stop-accepting`, and says in the log what happens to it. */
const HOLDER = `export default { name: "holder", load(api) {
  api.phase("stop-accepting", { when: "after", cancelled: () => api.log.info({}, "taken back") }, ({ signal }) => {
    api.log.info({}, "held");
    return api.clock.sleep(60000, signal);
  });
} };
`;

/** A stop waits for the commands that follow it, however slowly they start. */
const PATIENT = '[shutdown]\ndeadline = "2m"\n[shutdown.stop_accepting]\nceiling = "1m"\n';

const knock = (version: number, more = ""): string =>
  `export default { name: "knock", ${more} load(api) { api.feature("urn:knock:${version}"); } };\n`;

describe("morendo module and morendo cancel", function () {
  this.timeout(120_000);
  let folder: string;
  let server: ServerProcess | undefined;
  afterEach(async () => {
    await server?.stop();
    server = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  async function started(modules: string, files: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
    ({ folder } = folderWithConfig());
    const config = join(folder, "morendo.toml");
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(folder, name, ".."), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    writeFileSync(
      config,
      `modules = ${modules}\n[c2s]\nlisten = ["127.0.0.1:0"]\nlisten_tls = ["127.0.0.1:0"]\n[s2s]\nlisten = ["127.0.0.1:0"]\n${PATIENT}`,
    );
    server = await startServer(folder);
    return server;
  }

  const list = async (): Promise<readonly ModuleInfo[]> =>
    JSON.parse((await morendo(folder, ["module", "list", "--json"])).stdout) as readonly ModuleInfo[];

  it("lists, loads, reloads and unloads", async () => {
    await started('["roster", "presence", "offline"]', { "mods/knock.mjs": knock(1) });
    const loaded = await morendo(folder, ["module", "load", "./mods/knock.mjs"]);
    assert.deepEqual(loaded, { code: 0, stdout: "loaded knock\n", stderr: "" });
    const lines = (await morendo(folder, ["module", "list"])).stdout.split("\n");
    assert.match(lines[0] ?? "", /^roster {4}own; .*2 hooks/);
    assert.match(lines[2] ?? "", /^offline {3}own; requires presence; /);
    assert.equal(lines[3], "knock     path ./mods/knock.mjs; 1 feature");
    writeFileSync(join(folder, "mods/knock.mjs"), knock(2, 'requires: ["roster"],'));
    assert.deepEqual(await morendo(folder, ["module", "reload", "knock"]), {
      code: 0,
      stdout: "reloaded knock\n",
      stderr: "",
    });
    assert.deepEqual((await list()).at(-1)?.requires, ["roster"]);
    const required = await morendo(folder, ["module", "unload", "presence"]);
    assert.equal(required.code, 1);
    assert.match(required.stderr, /^morendo: module "presence" cannot be unloaded: it is required by "offline"\n$/);
    assert.deepEqual(await morendo(folder, ["module", "unload", "knock"]), {
      code: 0,
      stdout: "unloaded knock\n",
      stderr: "",
    });
    assert.deepEqual(
      (await list()).map(({ name }) => name),
      ["roster", "presence", "offline"],
    );
  });

  it("says what is wrong, with exit code 1, and the old code serves on", async () => {
    await started('["ping", "./mods/knock.mjs"]', { "mods/knock.mjs": knock(1) });
    writeFileSync(
      join(folder, "mods/knock.mjs"),
      'export default { name: "knock", load() { throw new Error("no licence"); } };',
    );
    const failed = await morendo(folder, ["module", "reload", "knock"]);
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /module "knock" failed to load: no licence; the old one is loaded again/);
    assert.deepEqual((await list()).at(-1)?.registrations, { features: 1 });
    for (const [args, message] of [
      [["load", "./none"], /module "\.\/none": there is no .*none/],
      [["load", "nonesuch"], /there is no module "nonesuch" in .*no package "nonesuch"/],
      [["load", "ping"], /module "ping" is loaded already/],
      [["unload", "nonesuch"], /module "nonesuch" is not loaded; loaded are ping, knock/],
      [["reload", "nonesuch"], /module "nonesuch" is not loaded/],
    ] as const) {
      const { code, stderr } = await morendo(folder, ["module", ...args]);
      assert.equal(code, 1, args.join(" "));
      assert.match(stderr, message);
    }
    assert.equal((await morendo(folder, ["module"])).code, 2);
  });

  it("needs a running server", async () => {
    ({ folder } = folderWithConfig());
    for (const args of [["module", "list"], ["module", "load", "ping"], ["cancel"]]) {
      const { code, stderr } = await morendo(folder, args);
      assert.equal(code, 1, args.join(" "));
      assert.match(stderr, /Morendo is not running/);
    }
  });

  it("cancels a stop: the server serves on, and whoever asked for the stop is told", async () => {
    const running = await started('["ping", "./holder.mjs"]', { "holder.mjs": HOLDER });
    const listening = async (): Promise<unknown> =>
      (JSON.parse((await morendo(folder, ["status", "--json"])).stdout) as { listening: unknown }).listening;
    const before = await listening();
    const nothing = await morendo(folder, ["cancel"]);
    assert.equal(nothing.code, 1);
    assert.match(nothing.stderr, /^morendo: not cancelled: no stop is under way\n$/);

    const stop = morendo(folder, ["stop", "--reason", "a new version"]);
    await running.until(() => running.log.includes('"held"'), "word that the stop is held");
    const refused = await morendo(folder, ["module", "reload", "holder"]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /module "holder" cannot be reloaded now: the server is stopping/);
    assert.deepEqual(await morendo(folder, ["cancel", "--reason", "not yet"]), {
      code: 0,
      stdout: "cancelled: the server serves as before\n",
      stderr: "",
    });
    const stopped = await stop;
    assert.equal(stopped.code, 1);
    assert.match(stopped.stdout, /^stop \(control socket: a new version\): cancelled, after /);
    assert.match(stopped.stdout, /cancelled by control socket: not yet; the server serves on/);
    assert.match(running.log, /"taken back"/);
    assert.deepEqual(await listening(), before);
    assert.equal((await morendo(folder, ["module", "reload", "holder"])).code, 0);
    assert.equal((await morendo(folder, ["module", "unload", "holder"])).code, 0);
    const last = await morendo(folder, ["stop"]);
    assert.equal(last.code, 0);
    assert.match(last.stdout, /clean, exit code 0/);
    assert.equal((await running.exited).code, 0);
  });

  it("counts signals from one again after a cancel", async () => {
    const running = await started('["./holder.mjs"]', { "holder.mjs": HOLDER });
    running.signal("SIGTERM");
    await running.until(() => running.log.includes('"held"'), "word that the stop is held");
    assert.equal((await morendo(folder, ["cancel"])).code, 0);
    assert.equal((await morendo(folder, ["module", "unload", "holder"])).code, 0);
    running.signal("SIGTERM");
    assert.equal((await running.exited).code, 0);
    assert.match(running.log, /stop \(SIGTERM: received SIGTERM\): clean, exit code 0/);
    assert.doesNotMatch(running.log, /told to hurry/);
  });
});
