// The configuration, as a file and as environment variables: either a whole configuration or every problem with its place.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, loadConfig } from "../../../src/config/load.ts";
import type { Target } from "../harness/target.ts";

const EXAMPLE = readFileSync(new URL("../../../config/morendo.toml", import.meta.url), "utf8");
let folder: string | undefined;

/** A TOML file; lines of the form `MORENDO_X=y` are environment variables instead. */
export const config: Target = {
  name: "config",
  seeds: [
    EXAMPLE.slice(0, 6_000).replaceAll(/^#(?=[a-z[])/gm, ""),
    'data = "d"\n[[hosts]]\nname = "a.test"\n[c2s]\nlisten = ["127.0.0.1:5222"]\n[shutdown]\ndeadline = "25s"\n',
    "MORENDO_C2S__LISTEN=127.0.0.1:1\nMORENDO_SHUTDOWN__DEADLINE=1s\nMORENDO_HOSTS=[{name='x'}]\n",
    "[module.presence]\nx = 1\n[s2s.routes]\n'b.test' = '127.0.0.1:1'\n",
    "x = \"\"\"\n[a]\n\"\"\"\ny = '''\n'''\n",
  ],
  words: [
    "\n",
    "=",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    '"',
    "'",
    '"""',
    "'''",
    "#",
    "\\",
    ".",
    ",",
    "c2s",
    "s2s",
    "shutdown",
    "deadline",
    '"25s"',
    '"1KiB"',
    "listen",
    "hosts",
    "name",
    "modules",
    "MORENDO_",
    "__",
    "C2S__",
    "inf",
    "nan",
    "1979-05-27",
    "0x",
    "__proto__",
    "constructor",
    "\r",
    "\u0000",
    "[__proto__]",
    "MORENDO___PROTO____X=1\n",
    "MORENDO_C2S__CONSTRUCTOR=1\n",
  ],
  run(input) {
    folder ??= mkdtempSync(join(tmpdir(), "morendo-fuzz-"));
    const lines = input.toString().split("\n");
    const variables = lines.flatMap(
      (line) => (/^(MORENDO_[^=\0]*)=([^\0]*)$/.exec(line) ?? []).slice(1, 3).join("\0") || [],
    );
    const environment = Object.fromEntries(variables.map((pair) => pair.split("\0") as [string, string]));
    const file = join(folder, "morendo.toml");
    writeFileSync(file, lines.filter((line) => !line.startsWith("MORENDO_")).join("\n"));
    try {
      const loaded = loadConfig({ file, environment, directory: folder });
      assert.ok(loaded.hosts.length > 0 && loaded.shutdown.deadline > 0);
      assert.ok(Object.getPrototypeOf(loaded) === Object.prototype);
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown;
      assert.ok(thrown.problems.length > 0 && thrown.message !== "");
      for (const { message } of thrown.problems) assert.ok(message.length < 5_000, "a problem that nobody can read");
    }
    assert.equal(({} as Record<string, unknown>).x, undefined, "the prototype of all objects was changed");
  },
  async close() {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    folder = undefined;
  },
};
