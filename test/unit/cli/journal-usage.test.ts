import assert from "node:assert/strict";
import { PassThrough, Readable } from "node:stream";
import { runCommand } from "../../../src/cli/program.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { systemRandom } from "../../../src/util/random.ts";

describe("morendo journal, used wrongly", () => {
  const run = async (...args: string[]): Promise<{ readonly code: number; readonly errors: string }> => {
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const io = {
      stdin: Readable.from([]),
      stdout,
      stderr,
      environment: {},
      directory: "/",
      clock: new ManualClock(),
      random: systemRandom,
    };
    const code = await runCommand(["journal", ...args], io);
    return { code, errors: String(stderr.read() ?? "") };
  };

  it("is wrong usage, exit code 2, when drop gets neither a name nor a domain, or both", async () => {
    for (const args of [["drop"], ["drop", "1-1", "--domain", "b.test"]]) {
      const { code, errors } = await run(...args);
      assert.equal(code, 2);
      assert.match(errors, /^error: give the name of an entry or --domain, and not both$/m);
    }
  });

  it("is wrong usage, exit code 2, when list gets a limit that is none", async () => {
    for (const limit of ["0", "x", "10001"]) {
      const { code, errors } = await run("list", "--limit", limit);
      assert.equal(code, 2);
      assert.match(errors, /expected a whole number from 1 to 10000/);
    }
  });
});
