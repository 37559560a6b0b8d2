// docs/modules.md cannot rot: its blocks of code are written to a folder as the project that they are, checked by the
// compiler with the types of the package as built, and its own tests are run. Its commands have to exist.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ServerProcess } from "../../support/child.ts";
import { type TemporaryFolder, temporaryFolder } from "../../support/temporary-folder.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const GUIDE = readFileSync(join(ROOT, "docs/modules.md"), "utf8");
/** What the guide tells to install. */
const TOOLS = ["typescript", "tsx", "mocha", "@types"];

interface Block {
  readonly language: string;
  /** The file it is; undefined for commands. */
  readonly file: string | undefined;
  readonly text: string;
}

const blocks: readonly Block[] = Array.from(
  GUIDE.matchAll(/^```(\S*)(?: file=(\S+))?\n([\s\S]*?)^```$/gm),
  ([, language = "", file, text = ""]) => ({ language, file, text }),
);

describe("docs/modules.md", function () {
  this.timeout(300_000);
  let project: TemporaryFolder;

  before(async () => {
    project = await temporaryFolder();
    packageAsBuilt(join(project.path, "node_modules/morendo"));
    for (const tool of TOOLS) symlinkSync(join(ROOT, "node_modules", tool), join(project.path, "node_modules", tool));
    for (const { file, text } of blocks) {
      if (file === undefined) continue;
      mkdirSync(dirname(join(project.path, file)), { recursive: true });
      writeFileSync(join(project.path, file), text);
    }
  });
  after(() => project.remove());

  /** Runs a file of `node_modules` in the project; fails with its output unless it ends well. */
  function run(script: string, env: NodeJS.ProcessEnv, ...args: readonly string[]): string {
    const file = join(project.path, "node_modules", script);
    const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], {
      cwd: project.path,
      encoding: "utf8",
      timeout: 200_000,
      env: { ...process.env, CI: "", NODE_OPTIONS: "", ...env },
    });
    assert.equal(status, 0, `${script} ${args.join(" ")}:\n${stdout}\n${stderr}`);
    return stdout;
  }

  it("has no code that is not a file of its project", () => {
    const loose = blocks.filter(({ language, file }) => language !== "sh" && file === undefined);
    assert.deepEqual(loose, []);
    // A fence that the expression above does not know would hide code from this test.
    assert.equal(GUIDE.match(/^```/gm)?.length, blocks.length * 2);
    assert.ok(blocks.length > 8);
  });

  it("has code that the compiler takes, as strict as can be", () => {
    run("typescript/bin/tsc", {}, "-p", ".");
    for (const file of ["hello/index.js", "visits/index.js", "lunch/index.js", "jobs/index.js", "asked/index.js"]) {
      assert.ok(existsSync(join(project.path, "build", file)), file);
    }
  });

  it("has a configuration that loads the compiled modules", () => {
    assert.match(run("morendo/dist/src/cli/main.js", {}, "config", "check", "--config", "morendo.toml"), /./);
  });

  it("has tests that pass", () => {
    assert.match(run("mocha/bin/mocha.js", {}, "--reporter", "spec"), /8 passing/);
  });

  it("has modules that a running server lists, unloads, loads and reloads", async () => {
    const env = {
      MORENDO_DATA: join(project.path, "data"),
      MORENDO_C2S__LISTEN: "127.0.0.1:0",
      MORENDO_C2S__LISTEN_TLS: "127.0.0.1:0",
      MORENDO_S2S__LISTEN: "127.0.0.1:0",
    };
    const main = join(project.path, "node_modules/morendo/dist/src/cli/main.js");
    const own = await temporaryFolder();
    const command = [process.execPath, main, "start", "--config", "morendo.toml"] as const;
    const server = new ServerProcess("the guide's server", own.path, [...command], { cwd: project.path, env });
    const morendo = (...args: readonly string[]): string =>
      run("morendo/dist/src/cli/main.js", env, ...args, "--config", "morendo.toml");
    try {
      await server.until(() => server.log.includes("listening  "), "word that it listens");
      const listed = morendo("module", "list");
      for (const name of ["hello", "visits", "jobs", "knock"]) assert.match(listed, new RegExp(`^${name} +path `, "m"));
      morendo("module", "unload", "hello");
      assert.doesNotMatch(morendo("module", "list"), /^hello /m);
      morendo("module", "load", "./build/hello");
      morendo("module", "reload", "visits");
      assert.match(morendo("plan"), /before: jobs \(5s\)/);
      morendo("stop");
      assert.equal((await server.exited).code, 0, server.log);
    } finally {
      await server.stop();
    }
  });

  it("names commands that exist", () => {
    const commands = blocks
      .filter(({ language }) => language === "sh")
      .flatMap(({ text }) =>
        Array.from(text.matchAll(/^npx morendo (.*)$/gm), ([, command = ""]) => command.split(" ")),
      );
    assert.ok(commands.length >= 6);
    for (const words of commands) {
      const end = words.findIndex((word) => /^--|[./]/.test(word));
      const names = end < 0 ? words : words.slice(0, end);
      const usage = run("morendo/dist/src/cli/main.js", {}, ...names, "--help");
      // An argument such as a module's name stands behind the command.
      assert.match(usage, new RegExp(`^Usage: morendo ${names.slice(0, 2).join(" ")}\\b`), words.join(" "));
    }
  });
});

/** Lays out what is published, compiled from the sources as they are now. */
function packageAsBuilt(folder: string): void {
  mkdirSync(folder, { recursive: true });
  cpSync(join(ROOT, "package.json"), join(folder, "package.json"));
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
  const args = [compiler, "-p", join(ROOT, "tsconfig.build.json"), "--outDir", join(folder, "dist")];
  // Errors of types are for `make check` to tell: what was written is tried.
  const { stdout } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 200_000 });
  assert.ok(existsSync(join(folder, "dist/src/module.js")), stdout);
  cpSync(join(ROOT, "src/xml/ltx.d.ts"), join(folder, "dist/src/xml/ltx.d.ts"));
}
