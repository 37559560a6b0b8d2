import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { folderWithConfig, morendo } from "./command.ts";

describe("the morendo command", function () {
  this.timeout(60_000);
  let folder: string;
  let config: string;
  beforeEach(() => {
    ({ folder, config } = folderWithConfig());
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("prints its version and a help with examples", async () => {
    const version = await morendo(folder, ["--version"]);
    assert.equal(version.code, 0);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
    const help = await morendo(folder, ["--help"]);
    assert.equal(help.code, 0);
    for (const name of ["start", "user", "config", "status", "stop"])
      assert.match(help.stdout, new RegExp(`^  ${name} `, "m"));
    assert.match(help.stdout, /Examples:/);
    const inner = await morendo(folder, ["user", "import", "--help"]);
    assert.match(inner.stdout, /"jid":"romeo@example\.org"/);
  });

  it("exits with 2 when it is used wrongly", async () => {
    assert.equal((await morendo(folder, [])).code, 2);
    assert.equal((await morendo(folder, ["fly"])).code, 2);
    const wrong = await morendo(folder, ["stop", "--deadline", "soon"]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /expected a duration/);
  });

  it("checks a configuration", async () => {
    const good = await morendo(folder, ["config", "check"]);
    assert.equal(good.code, 0);
    assert.match(good.stdout, /morendo\.toml: good, for localhost/);
  });

  it("exits with 2 and names every problem of a bad configuration, also at the start", async () => {
    writeFileSync(config, '[c2s]\nlisten = "5222"\n[log]\nlevel = "loud"\n');
    for (const args of [["config", "check"], ["start"], ["user", "list"], ["stop"]]) {
      const { code, stderr } = await morendo(folder, args);
      assert.equal(code, 2, args.join(" "));
      assert.match(stderr, /morendo\.toml:2: c2s\.listen: expected a list.*received "5222"/);
      assert.match(stderr, /morendo\.toml:4: log\.level: expected one of .*received "loud"/);
    }
    const none = await morendo(folder, ["config", "check", "--config", join(folder, "none.toml")]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /there is no such file/);
  });

  it("exits with 2 when a module is not there or has bad options", async () => {
    const before = readFileSync(config, "utf8");
    try {
      for (const [text, message] of [
        ['modules = ["rooster"]\n', /there is no module "rooster"/],
        ["[module.offline]\nmax_messages = -1\n", /module\.offline\.max_messages: /],
        ["[module.ping]\nloud = true\n", /module\.ping\.loud: there is no such option/],
      ] as const) {
        writeFileSync(config, text);
        for (const args of [["config", "check"], ["start"]]) {
          const { code, stderr } = await morendo(folder, args);
          assert.equal(code, 2, stderr);
          assert.match(stderr, message);
        }
      }
    } finally {
      writeFileSync(config, before);
    }
  });

  it("says that no server runs", async () => {
    for (const args of [["stop"], ["status"]]) {
      const { code, stderr } = await morendo(folder, args);
      assert.equal(code, 1, args.join(" "));
      assert.match(stderr, /^morendo: Morendo is not running: nobody answers at .*control\.sock\n$/);
    }
  });

  it("manages accounts while no server runs", async () => {
    const added = await morendo(folder, ["user", "add", "juliet@localhost"], "secret\n");
    assert.deepEqual(added, { code: 0, stdout: "created juliet@localhost\n", stderr: "" });
    const twice = await morendo(folder, ["user", "add", "juliet@localhost"], "secret\n");
    assert.equal(twice.code, 1);
    assert.match(twice.stderr, /juliet@localhost exists already/);
    writeFileSync(join(folder, "password"), "another\n");
    const changed = await morendo(folder, ["user", "passwd", "juliet@localhost", "--password-file", "password"]);
    assert.equal(changed.code, 0);
    assert.equal((await morendo(folder, ["user", "list"])).stdout, "juliet@localhost\n");
    assert.equal((await morendo(folder, ["user", "remove", "juliet@localhost"])).code, 0);
    assert.equal((await morendo(folder, ["user", "list"])).stdout, "");
    assert.equal((await morendo(folder, ["user", "remove", "juliet@localhost"])).code, 1);
    assert.equal((await morendo(folder, ["user", "add", "x@localhost"], "\n")).code, 1);
  });

  it("imports from standard input, all or nothing", async () => {
    const line = (jid: string): string => `${JSON.stringify({ jid, password: "p" })}\n`;
    const bad = await morendo(folder, ["user", "import", "-"], `${line("a@localhost")}${line("b@elsewhere")}{\n`);
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /standard input:2: b@elsewhere/);
    assert.match(bad.stderr, /standard input:3: not JSON/);
    assert.match(bad.stderr, /nothing was imported: 2 bad lines/);
    assert.equal((await morendo(folder, ["user", "list"])).stdout, "");
    writeFileSync(join(folder, "accounts.jsonl"), line("a@localhost") + line("b@localhost"));
    const good = await morendo(folder, ["user", "import", "accounts.jsonl"]);
    assert.match(good.stdout, /^imported 2 accounts in /);
    assert.equal((await morendo(folder, ["user", "list"])).stdout, "a@localhost\nb@localhost\n");
    const none = await morendo(folder, ["user", "import", "none.jsonl"]);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /cannot read the accounts/);
  });
});
