// Runs a Morendo as `morendo start` does, with modules of the tests beside its own:
// start-with-modules.ts CONFIG FOLDER. For child processes of the test network.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parse } from "smol-toml";
import { configSchema } from "../../src/config/schema.ts";
import { Server } from "../../src/server/server.ts";
import { leave } from "../../src/shutdown/loop-holders.ts";
import { logProgress } from "../../src/shutdown/progress-log.ts";
import { listenToSignals } from "../../src/shutdown/signals.ts";
import { ThreadWatchdog } from "../../src/shutdown/watchdog.ts";
import { systemClock as clock } from "../../src/util/clock.ts";
import { systemRandom as random } from "../../src/util/random.ts";

const [file = "", folder = ""] = process.argv.slice(2);
const config = configSchema.parse(parse(readFileSync(file, "utf8")));
const write = (level: string) => (fields: unknown, text?: string) => {
  process.stdout.write(`${level} ${text ?? ""} ${JSON.stringify(fields)}\n`);
};
const log = {
  debug: () => undefined,
  info: write("info"),
  warn: write("warn"),
  error: write("error"),
  child: () => log,
};
const { watchdog_grace: graceMs } = config.shutdown;
const watchdog = new ThreadWatchdog({ log, graceMs, reportFile: join(config.data, "watchdog.json") });
const server = new Server({ config, log, clock, random, watchdog, moduleFolders: [pathToFileURL(`${folder}/`)] });
server.on("report", (report) => {
  process.exitCode = report.exitCode;
  leave({ code: report.exitCode, log });
});
listenToSignals({ lifecycle: server.lifecycle, clock, log });
logProgress(server.lifecycle, log);
await server.start();
