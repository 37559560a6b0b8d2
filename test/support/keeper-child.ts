// A keeper of the small server in handover-child.ts. It prints its process id as generation 0.

import { writeSync } from "node:fs";
import { keep, silentLog } from "../../src/handover/index.ts";
import { runnable } from "./program.ts";

writeSync(1, `g0 ${process.pid} keeper\n`);
setTimeout(() => process.exit(99), 120_000).unref();
process.exitCode = await keep({
  command: {
    command: process.execPath,
    args: [...process.execArgv, runnable(new URL("handover-child.ts", import.meta.url))],
    cwd: process.cwd(),
    env: process.env,
  },
  port: process,
  log: silentLog,
});
