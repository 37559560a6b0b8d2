// What is particular to the store on LMDB: the disk, other processes, broken files.

import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { LmdbStore } from "../../../src/store/lmdb.ts";
import { commitCause, storeError } from "../../../src/store/lmdb-errors.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { MorendoError } from "../../../src/util/errors.ts";
import { NODE, runnable } from "../../support/program.ts";
import { type TemporaryFolder, temporaryFolder } from "../../support/temporary-folder.ts";

const CHILD = runnable(new URL("../../support/store-child.ts", import.meta.url));

describe("the store on LMDB and the world", () => {
  let folder: TemporaryFolder;
  let children: ChildProcess[] = [];
  beforeEach(async () => {
    folder = await temporaryFolder();
    children = [];
  });
  afterEach(async () => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await folder.remove();
  });

  const open = (path = folder.path): Promise<LmdbStore> => LmdbStore.open({ path, clock: systemClock });

  /** Starts a child under a shell that sets `limits` first. */
  function start(task: string, name: string, limits = ""): { child: ChildProcess; lines: AsyncIterable<string> } {
    const node = [...NODE, CHILD, folder.path, task, name];
    const child = spawn("sh", ["-c", `${limits} exec "$0" "$@"`, ...node], { stdio: ["ignore", "pipe", "ignore"] });
    children.push(child);
    return { child, lines: createInterface({ input: child.stdout }) };
  }

  it("makes the folder, and keeps what was written when it is opened again", async () => {
    const path = join(folder.path, "a", "b");
    const first = await open(path);
    await first.put("c", ["k"], "v");
    const own = await first.append("c", ["list"], 1);
    await first.close();
    const second = await open(path);
    equal(await second.get("c", ["k"]), "v");
    const next = await second.append("c", ["list"], 2);
    ok(Number(next.at(-1)) > Number(own.at(-1)));
    deepEqual(
      (await second.range("c", ["list"])).map(([, value]) => value),
      [1, 2],
    );
    await second.close();
  });

  it("gives no number twice when everything appended was deleted before a restart", async () => {
    const first = await open();
    const own = await first.append("c", ["list"], 1);
    await first.delete("c", own);
    await first.close();
    const second = await open();
    notEqual((await second.append("c", ["list"], 1)).at(-1), own.at(-1));
    await second.close();
  });

  it("has on the disk what was flushed when the process is killed the moment after", async () => {
    const { child, lines } = start("flush-for-ever", "n");
    let safe = -1;
    for await (const line of lines) {
      safe = Number(line);
      if (safe === 50) child.kill("SIGKILL");
    }
    ok(safe >= 50);
    const store = await open();
    const numbers = (await store.range("numbers", ["n"])).map(([key]) => key[1]);
    const list = (await store.range("list", ["n"])).map(([, value]) => value);
    deepEqual(
      numbers.slice(0, safe + 1),
      Array.from({ length: safe + 1 }, (_, number) => number),
    );
    deepEqual(
      list.slice(0, safe + 1),
      Array.from({ length: safe + 1 }, (_, number) => number),
    );
    await store.put("numbers", ["after"], 1);
    await store.close();
  });

  it("is not disturbed by a process that is killed in the middle of its writes", async () => {
    const store = await open();
    const { child, lines } = start("flush-for-ever", "other");
    for await (const line of lines) {
      await store.put("numbers", ["own", Number(line)], "x".repeat(10_000));
      if (line === "30") child.kill("SIGKILL");
    }
    await store.put("numbers", ["own", "last"], 1);
    ok((await store.range("numbers", ["own"])).length > 30);
    ok((await store.range("numbers", ["other"])).length > 30);
    await store.close();
  });

  it("is shared by two processes that write at once: nothing is lost, no number is given twice", async () => {
    const store = await open();
    const { lines } = start("write", "other");
    let last = "";
    const other = (async () => {
      for await (const line of lines) last = line;
    })();
    for (let number = 0; number < 100; number++) {
      await store.put("numbers", ["own", number], number);
      await store.append("list", ["shared"], `own ${number}`);
    }
    await other;
    equal(last, "closed");
    equal((await store.range("numbers", [])).length, 200);
    const list = (await store.range("list", ["shared"])).map(([, value]) => value as string);
    for (const name of ["own", "other"]) {
      deepEqual(
        list.filter((one) => one.startsWith(name)),
        Array.from({ length: 100 }, (_, number) => `${name} ${number}`),
      );
    }
    await store.close();
  });

  it("tells when it cannot grow, keeps what it has whole, and goes on when there is room", async () => {
    const { lines } = start("fill", "n", "ulimit -f 2000;");
    const said: string[] = [];
    for await (const line of lines) said.push(line);
    // A write that ends in the middle for this limit is an I/O error; only a full disk is known for what it is.
    const done = said.findIndex((line) => line === "MORENDO_STORE_FULL" || line === "MORENDO_STORE_FAILED");
    ok(done > 0, said.join(" "));
    equal(said[done + 1], "flushed", "what failed was told to its writer, and is nothing that waits");
    equal(said.at(-1), "closed");
    const store = await open();
    equal((await store.range("numbers", [])).length, done);
    deepEqual((await store.range("marks", [])).map(([key]) => key[0]).filter((mark) => mark !== "small").length, done);
    await store.put("numbers", ["more"], "x".repeat(1_000_000));
    await store.close();
  });

  it("refuses a file that is no database, without harm to the process", async () => {
    const garbage = join(folder.path, "garbage");
    await mkdir(garbage);
    await writeFile(join(garbage, "data.mdb"), "not a database ".repeat(10_000));
    await rejects(open(garbage), { code: "MORENDO_STORE_CORRUPT", message: /garbage/ });
    await writeFile(join(garbage, "data.mdb"), "x");
    await rejects(open(garbage), { code: "MORENDO_STORE_CORRUPT" });
  });

  it("refuses a database that was cut off near its beginning", async () => {
    const store = await open();
    await store.put("c", ["k"], "v");
    await store.close();
    await truncate(join(folder.path, "data.mdb"), 5000);
    await rejects(open(), { code: "MORENDO_STORE_CORRUPT" });
  });

  it("refuses a path that leads through a file", async () => {
    await writeFile(join(folder.path, "file"), "");
    await rejects(open(join(folder.path, "file")), { code: "MORENDO_STORE_PATH" });
    await rejects(open(join(folder.path, "file", "below")), { code: "MORENDO_STORE_PATH" });
  });

  it("refuses a folder it may not write to", async () => {
    await chmod(folder.path, 0o500);
    // Root may write anywhere: the test acts as somebody else for a moment.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    try {
      await rejects(open(), { code: "MORENDO_STORE_DENIED" });
    } finally {
      if (isRoot) process.seteuid?.(0);
      await chmod(folder.path, 0o700);
    }
  });

  it("takes writes of one turn together, and those that come meanwhile after them", async () => {
    const store = await open();
    const order: number[] = [];
    const writes = Array.from({ length: 500 }, async (_, number) => {
      await store.put("c", [number], number);
      order.push(number);
    });
    await store.flushed();
    equal((await store.range("c", [])).length, 500);
    await Promise.all(writes);
    deepEqual(
      order,
      Array.from({ length: 500 }, (_, number) => number),
    );
    await store.close();
  });
});

describe("an error of the store", () => {
  const codeFor = (code: string | number): string => storeError("/tmp", Object.assign(new Error("x"), { code })).code;

  it("has a code that says what is wrong", () => {
    equal(codeFor("EACCES"), "MORENDO_STORE_DENIED");
    equal(codeFor(13), "MORENDO_STORE_DENIED");
    equal(codeFor(28), "MORENDO_STORE_FULL");
    equal(codeFor(-30792), "MORENDO_STORE_FULL");
    equal(codeFor(-30796), "MORENDO_STORE_CORRUPT");
    equal(codeFor(-30790), "MORENDO_STORE_LOCKED");
    equal(codeFor(-30788), "MORENDO_STORE_FAILED");
    const own = new MorendoError("MORENDO_X", "x");
    equal(storeError("/tmp", own), own);
    equal(storeError("/nowhere/at/all", new Error("x")).code, "MORENDO_STORE_FAILED");
  });

  it("is the one behind a failed commit", async () => {
    const cause = new Error("disk");
    const commit = Object.assign(new Error("see commitError"), { commitError: Promise.reject(cause) });
    equal(await commitCause(commit), cause);
    equal(await commitCause(cause), cause);
  });
});
