// `morendo restart` from the command line: which program takes over, and what the initiator is told. What happens to
// sessions and connections meanwhile: test/integration/restart.

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RestartResult } from "../../../src/operations/restart-result.ts";
import { ServerProcess } from "../../support/child.ts";
import { MAIN, NODE } from "../../support/program.ts";
import { folderWithConfig, morendo } from "./command.ts";

/** A program that says its name and then is Morendo. */
function version(name: string): string {
  return `process.stderr.write("this is ${name}\\n");\nawait import(${JSON.stringify(MAIN)});\n`;
}

describe("morendo restart", function () {
  this.timeout(120_000);
  let folder: string;
  let server: ServerProcess;

  /** Starts a Morendo through the symlink `current.mjs`, which leads to version `one`. */
  beforeEach(async () => {
    ({ folder } = folderWithConfig());
    mkdirSync(join(folder, "versions"));
    for (const name of ["one", "two"]) writeFileSync(join(folder, "versions", `${name}.mjs`), version(name));
    symlinkSync("versions/one.mjs", join(folder, "current.mjs"));
    server = new ServerProcess("morendo", folder, [...NODE, join(folder, "current.mjs"), "start"]);
    await server.until(() => server.log.includes("listening  "), "word that it listens");
  });

  afterEach(async () => {
    await morendo(folder, ["stop"]);
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function restart(...args: string[]): Promise<{ readonly code: number | null; readonly result: RestartResult }> {
    const { code, stdout } = await morendo(folder, ["restart", "--json", ...args]);
    return { code, result: JSON.parse(stdout) as RestartResult };
  }

  const pid = async (): Promise<number> =>
    (JSON.parse((await morendo(folder, ["status", "--json"])).stdout) as { readonly pid: number }).pid;

  it("starts the version that the path leads to now", async () => {
    unlinkSync(join(folder, "current.mjs"));
    symlinkSync("versions/two.mjs", join(folder, "current.mjs"));
    const before = await pid();
    const { code, result } = await restart();
    assert.equal(code, 0);
    assert.ok(result.restarted);
    assert.deepEqual([result.predecessor, result.pid], [before, await pid()]);
    assert.match(server.log, /this is one[\s\S]*this is two/);
  });

  it("starts another program when one is named", async () => {
    const other = join(folder, "versions", "three.mjs");
    copyFileSync(join(folder, "versions", "two.mjs"), other);
    const { code, result } = await restart("--", ...NODE, other, "start");
    assert.deepEqual([code, result.restarted, result.pid], [0, true, await pid()]);
  });

  it("says why not, and the old process goes on", async () => {
    const before = await pid();
    const nowhere = await restart("--", "/nowhere/morendo", "start");
    assert.equal(nowhere.code, 1);
    assert.ok(!nowhere.result.restarted);
    assert.match(nowhere.result.why, /ENOENT/);
    // It starts, but what it reads is no configuration.
    writeFileSync(join(folder, "bad.toml"), "[c2s]\nlisten = 5\n");
    const bad = await restart("--", ...NODE, join(folder, "current.mjs"), "start", "--config", "bad.toml");
    assert.equal(bad.code, 1);
    assert.ok(!bad.result.restarted);
    assert.match(bad.result.why, /c2s\.listen/);
    assert.deepEqual([bad.result.pid, await pid()], [before, before]);
  });
});
