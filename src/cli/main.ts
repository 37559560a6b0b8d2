#!/usr/bin/env node
// The `morendo` executable: hands the process to the program and sets the exit code. The process ends by itself when
// nothing is left to do.

import { systemClock } from "../util/clock.ts";
import { codeOf } from "../util/errors.ts";
import { systemRandom } from "../util/random.ts";
import { keepNurserySmall } from "./memory.ts";
import { runCommand } from "./program.ts";

keepNurserySmall(process.execArgv, process.env.NODE_OPTIONS);

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error) => {
    // Whoever read our output has left (`morendo user list | head`); that is no fault of ours.
    if (codeOf(error) !== "EPIPE") throw error;
  });
}

process.exitCode = await runCommand(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  environment: process.env,
  directory: process.cwd(),
  clock: systemClock,
  random: systemRandom,
});
