import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DataLock } from "../../../src/control/data-lock.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { silentLog } from "../../../src/util/log.ts";
import { systemRandom } from "../../../src/util/random.ts";
import { NODE, runnable } from "../../support/program.ts";
import { type TemporaryFolder, temporaryFolder } from "../../support/temporary-folder.ts";

const HOLDER = `
import { DataLock } from ${source("control/data-lock.ts")};
import { systemClock } from ${source("util/clock.ts")};
import { silentLog } from ${source("util/log.ts")};
import { systemRandom } from ${source("util/random.ts")};
await DataLock.take({ data: process.argv[1], clock: systemClock, random: systemRandom, log: silentLog });
process.stdout.write("taken");
setTimeout(() => process.exit(), 30_000);`;

function source(file: string): string {
  return JSON.stringify(runnable(new URL(`../../../src/${file}`, import.meta.url)));
}

describe("the lock of a data folder", () => {
  let folder: TemporaryFolder;
  let data: string;

  beforeEach(async () => {
    folder = await temporaryFolder();
    // Longer than the path of a socket may be.
    data = join(folder.path, "x".repeat(120));
    mkdirSync(data);
  });

  afterEach(() => folder.remove());

  const tools = { clock: systemClock, random: systemRandom, log: silentLog };
  const take = (isSuccessor = false, patienceMs = 100): Promise<DataLock | undefined> =>
    DataLock.take({ data, ...tools, patienceMs }, { isSuccessor });
  const left = (): string[] => readdirSync(join(data, "locks"));

  it("keeps a second server out, names who has it, and lets the next one in when it is released", async () => {
    const first = await take();
    await assert.rejects(take(), {
      code: "MORENDO_DATA_IN_USE",
      message: `the data folder ${data} is in use by another Morendo (pid ${process.pid})`,
    });
    assert.equal(left().length, 1);
    await first?.release();
    const second = await take();
    assert.ok(second !== undefined);
    await second.release();
    assert.deepEqual(left(), []);
  });

  it("waits for one that is about to end", async () => {
    const first = await take();
    const second = take(false, 20_000);
    await systemClock.sleep(300);
    await first?.release();
    await (await second)?.release();
  });

  it("is held by two generations at once, and free when the last has gone", async () => {
    const predecessor = await take();
    const successor = await take(true);
    await predecessor?.release();
    await assert.rejects(take(), { code: "MORENDO_DATA_IN_USE" });
    await successor?.release();
    await (await take())?.release();
  });

  it("ends with a process that is killed, however that was", async () => {
    const [node, ...args] = [...NODE, "--input-type=module", "--eval", HOLDER, data] as const;
    const child: ChildProcess = spawn(node, args, { stdio: ["ignore", "pipe", "inherit"] });
    if (child.stdout !== null) await once(child.stdout, "data");
    await assert.rejects(take(), { message: new RegExp(`\\(pid ${child.pid}\\)$`) });
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.equal(left().length, 1, "a killed process leaves its socket");
    const next = await take();
    assert.equal(left().length, 1);
    await next?.release();
  });
});
