// `morendo reload`: lets the running server read its configuration and certificates anew, and says what came of it.

import { Command, type Option } from "commander";
import type { ReloadResult } from "../../server/reloading.ts";
import { exitCode } from "../../shutdown/exit-codes.ts";
import { codeOf, MorendoError } from "../../util/errors.ts";
import { askServer } from "../ask-server.ts";
import type { ConfigOption } from "../config-option.ts";
import { type Io, say, warn } from "../io.ts";
import type { Finish } from "../program.ts";

interface ReloadOptions extends ConfigOption {
  readonly json: boolean;
}

/** Modules may take half a minute each to load; this is well past what a reload takes. */
const TIMEOUT_MS = 600_000;

const HELP = `
The server reads its configuration file, its environment's variables as they were when it started, and the certificates, and
takes in what a running server can; no connection is dropped. Options that need a new process are named: morendo restart takes
them in. A log file is opened anew. SIGHUP does the same.

Everything is checked first. When anything is wrong nothing changes, all problems are listed, and the exit code is 2; it is 1
when the server cannot reload now, and 0 otherwise.

Example:
  morendo reload`;

/** Returns the `reload` command. */
export function reloadCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("reload")
    .description("take in the configuration and certificates anew, without dropping a connection")
    .option("--json", "print the outcome as JSON", false)
    .addOption(configOption())
    .addHelpText("after", HELP)
    .action(async (options: ReloadOptions) => finish(await reload(io, options)));
}

async function reload(io: Io, { json, ...options }: ReloadOptions): Promise<number> {
  try {
    const result = (await askServer(io, options, { operation: "reload", timeoutMs: TIMEOUT_MS })) as ReloadResult;
    say(io, json ? JSON.stringify({ reloaded: true, ...result }, undefined, 2) : describeReload(result));
    return 0;
  } catch (thrown) {
    // What became of it is not known where there was no answer, and nothing is as before where no server runs.
    if (!(thrown instanceof MorendoError) || /^MORENDO_(CONTROL_|NOT_RUNNING)/.test(thrown.code)) throw thrown;
    const problems = thrown.message.split("\n");
    if (json) say(io, JSON.stringify({ reloaded: false, code: thrown.code, problems }, undefined, 2));
    else warn(io, `morendo: not reloaded, everything is as before:\n${thrown.message.replace(/^/gm, "  ")}`);
    return exitCode(codeOf(thrown) === "MORENDO_CONFIG_INVALID" ? "usage" : "fatal");
  }
}

/** Returns what a reload did as lines for people. */
export function describeReload({ applied, restart, certificates, modules }: ReloadResult): string {
  const lines: readonly (readonly [string, readonly string[]])[] = [
    ["in force", applied],
    ["certificates", certificates],
    ["modules loaded", modules.loaded],
    ["modules unloaded", modules.unloaded],
    ["modules reloaded", modules.reloaded],
    ["need a restart", restart],
  ];
  const told = lines.filter(([, names]) => names.length > 0);
  if (told.length === 0) return "reloaded: nothing has changed";
  const width = Math.max(...told.map(([what]) => what.length));
  return ["reloaded", ...told.map(([what, names]) => `  ${what.padEnd(width)}  ${names.join(", ")}`)].join("\n");
}
