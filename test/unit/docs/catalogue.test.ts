// docs/CATALOGUE.md is written from the code. Here: that it is what the code says, and that the check can fail.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { catalogue } from "../../../docs/write-catalogue.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const root = new URL("../../../", import.meta.url);
const read = (file: string): string => readFileSync(new URL(file, root), "utf8");

/** Reads the sources with something in one of them replaced. */
function changed(file: string, pattern: RegExp, by: string): (file: string) => string {
  assert.match(read(file), pattern);
  return (name) => (name === file ? read(name).replace(pattern, by) : read(name));
}

/** The comment before `member` on a line of its own. */
const commentBefore = (member: string): RegExp => new RegExp(`/\\*\\*(?:(?!\\*/)[^])*\\*/(?=\\s*${member})`);

/** Makes a copy of what the generator reads, where a test may change it. */
async function copyOfRepository(): Promise<{ readonly path: string; readonly remove: () => Promise<void> }> {
  const folder = await temporaryFolder();
  for (const name of ["docs", "src", "package.json", "tsconfig.json"]) {
    cpSync(fileURLToPath(new URL(name, root)), join(folder.path, name), { recursive: true });
  }
  symlinkSync(fileURLToPath(new URL("node_modules", root)), join(folder.path, "node_modules"));
  return folder;
}

function check(folder: string): { readonly status: number | null; readonly stderr: string } {
  const args = ["--import", import.meta.resolve("tsx"), join(folder, "docs/write-catalogue.ts"), "--check"];
  return spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
}

describe("docs/CATALOGUE.md", () => {
  it("says what the code says: otherwise run `make docs`", () => {
    assert.equal(read("docs/CATALOGUE.md"), catalogue(read));
  });

  it("has every hook, notification and phase, and every member of the module API", () => {
    const page = catalogue(read);
    for (const name of [
      "iq/get/NAMESPACE",
      "session/ending",
      "server-stopping",
      "close-sessions",
      "waitUntil",
      "api",
    ]) {
      assert.ok(page.includes(name), name);
    }
    assert.match(page, /### `announce` \(only when asked for; can be cancelled\)/);
    assert.match(page, /### `close-sessions` \(past the point of no return\)/);
  });

  it("tells of everything that can be imported by name, and of what a module is told when the server is suspended", () => {
    const page = catalogue(read);
    const lists = Array.from(
      read("src/module.ts").matchAll(/^export (?:type )?\{([^}]*)\}/gm),
      ([, names = ""]) => names,
    );
    const names = lists.flatMap((list) => list.split(",")).map((name) => name.replace("type ", "").trim());
    // Told of in the chapter on functions and in that on phases.
    const elsewhere = ["", "z", "NS", "PhaseName"];
    const silent = [...names, "SuspendContext", "ResumeContext"].filter(
      (name) => !elsewhere.includes(name) && !new RegExp(`^##+ ${name}$`, "m").test(page),
    );
    assert.ok(names.includes("Teller"));
    assert.deepEqual(silent, []);
  });

  it("changes with the comment of a hook", () => {
    const hook = commentBefore('"presence/sent"');
    const other = catalogue(changed("src/server/catalogue.ts", hook, "/** Something else. */"));
    assert.notEqual(other, catalogue(read));
    assert.match(other, /### `presence\/sent`\n\nSomething else\.\n/);
  });

  it("cannot be written when a hook has no comment", () => {
    const without = changed("src/server/catalogue.ts", commentBefore('"presence/sent"'), "");
    assert.throws(() => catalogue(without), /HookCatalogue presence\/sent \(src\/server\/catalogue\.ts:\d+\)/);
  });

  it("cannot be written when a notification, a phase or a member of the API has no comment", () => {
    const notification = changed("src/server/catalogue.ts", commentBefore('"session/bound"'), "");
    assert.throws(() => catalogue(notification), /NotificationCatalogue session\/bound/);
    const phase = changed("src/server/phases.ts", /"quit",/, '"quit", "afterlife",');
    assert.throws(() => catalogue(phase), /phase afterlife/);
    const member = changed("src/server/module-api.ts", commentBefore("timer\\("), "");
    assert.throws(() => catalogue(member), /ModuleApi\.timer/);
  });

  it("is checked by a command that fails on a difference and says what to do", async () => {
    const folder = await copyOfRepository();
    try {
      assert.deepEqual([check(folder.path).status], [0]);
      const page = join(folder.path, "docs/CATALOGUE.md");
      writeFileSync(page, `${readFileSync(page, "utf8")}one line more\n`);
      const { status, stderr } = check(folder.path);
      assert.equal(status, 1);
      assert.match(stderr, /docs\/CATALOGUE\.md says something else than the code: run `make docs`/);
    } finally {
      await folder.remove();
    }
  });
});
