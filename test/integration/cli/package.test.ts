// The package as people install it: packed, installed from the tarball outside the checkout, started and stopped.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "../../support/addresses.ts";
import { ServerProcess } from "../../support/child.ts";
import { folderWithConfig } from "./command.ts";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

describe("the packed package", function () {
  this.timeout(300_000);
  let folder: string;
  let tarball: string;
  let data: string | undefined;

  const install = async (into: string): Promise<void> => {
    await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], { cwd: into });
  };

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "morendo-package-"));
    if (!existsSync(join(ROOT, "dist/src/cli/main.js"))) await run("make", ["build"], { cwd: ROOT });
    const packed = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
      cwd: ROOT,
    });
    const [{ filename } = { filename: "" }] = JSON.parse(packed.stdout) as { filename: string }[];
    tarball = join(folder, filename);
    writeFileSync(join(folder, "package.json"), '{ "private": true }');
    await install(folder);
  });
  after(() => {
    rmSync(folder, { recursive: true, force: true });
    if (data !== undefined) rmSync(data, { recursive: true, force: true });
  });

  it("has the command, its documents and no tests or sources", async () => {
    const installed = join(folder, "node_modules/morendo");
    for (const path of [
      "dist/src/cli/main.js",
      "dist/modules",
      "config/morendo.toml",
      "docs/OPERATORS.md",
      "LICENSE",
    ]) {
      assert.ok(existsSync(join(installed, path)), path);
    }
    for (const path of ["src", "test", "node_modules"]) assert.ok(!existsSync(join(installed, path)), path);
    const { stdout } = await run("npx", ["morendo", "--version"], { cwd: folder });
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });

  it("exports the module API and the shutdown library", async () => {
    const program = `
      const { defineModule, z } = await import("morendo/module");
      const { Lifecycle } = await import("morendo/shutdown");
      console.log(typeof defineModule, typeof z.string, typeof Lifecycle);`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", program], { cwd: folder });
    assert.equal(stdout, "function function function\n");
  });

  it("gives another project the test kit: its test of a shutdown passes, and its types are right", async () => {
    const project = mkdtempSync(join(tmpdir(), "morendo-project-"));
    try {
      cpSync(join(folder, "node_modules/morendo/docs/examples/testing"), project, { recursive: true });
      await install(project);
      const { stdout } = await run("npm", ["test"], { cwd: project }).catch((thrown: { readonly stdout?: string }) =>
        assert.fail(`npm test failed: ${thrown.stdout}`),
      );
      assert.match(stdout, /1 passing/);
      await run("npm", ["run", "types"], { cwd: project });
    } finally {
      rmSync(project, { recursive: true, force: true });
    }
  });

  it("starts, shows its page, and ends with exit code 0 at SIGTERM", async () => {
    const made = folderWithConfig();
    const place = `127.0.0.1:${await freePort()}`;
    data = made.folder;
    const server = new ServerProcess("morendo", made.folder, ["npx", "morendo", "start", "--config", made.config], {
      cwd: folder,
      env: { MORENDO_HTTP__LISTEN: place },
    });
    let pid = 0;
    try {
      await server.until(() => server.log.includes("listening  "), "word that it listens");
      await server.until(() => server.log.includes("admin@localhost"), "first account");
      pid = Number(/\(pid (\d+)\)/.exec(server.log)?.[1]);
      const page = await fetch(`http://${place}/`, { headers: { connection: "close" } });
      assert.match(await page.text(), /<title>Morendo<\/title>/);
      // npx itself would die of the signal and leave the server behind; it ends with the server's exit code, though.
      process.kill(pid, "SIGTERM");
      const { code } = await server.exited;
      pid = 0;
      assert.equal(code, 0, server.log);
      assert.match(server.log, /clean, exit code 0/);
      assert.ok(existsSync(join(made.folder, "data/last-drain.json")));
    } finally {
      if (pid > 0) process.kill(pid, "SIGKILL");
      await server.stop();
    }
  });
});
