// What `morendo config check` looks at beyond the file itself: the modules, certificates and places that it leads to. Not for:
// the options (src/config/load.ts).

import { ConfigError } from "../config/load.ts";
import { checkPathLength } from "../control/socket-path.ts";
import { checkCertificates } from "../server/certificates.ts";
import { checkModules } from "../server/module-finder.ts";
import { MorendoError } from "../util/errors.ts";
import { type Logger, silentLog } from "../util/log.ts";
import { type LoadedConfig, moduleBase } from "./config-option.ts";
import { type Io, warn } from "./io.ts";

/**
 * Rejects with a ConfigError that lists all that is wrong with what the configuration leads to: modules and their options,
 * certificates and keys, the path of the control socket. Says on standard error what is only odd. Changes nothing.
 */
export async function checkSurroundings(
  loaded: LoadedConfig,
  io: Pick<Io, "directory" | "clock" | "stderr">,
): Promise<void> {
  const { config, file } = loaded;
  const log: Logger = { ...silentLog, warn: (_, message) => warn(io, `morendo: ${message}`) };
  const problems = [
    await problemOf(() => checkModules(config.modules, config.module, { base: moduleBase(loaded, io) })),
    await problemOf(() => checkCertificates(config, { clock: io.clock, log })),
    await problemOf(() => checkPathLength(config.control.socket)),
  ].flatMap((problem) => problem?.split("\n") ?? []);
  if (problems.length === 0) return;
  throw new ConfigError(problems.map((message) => ({ place: file, option: undefined, message })));
}

async function problemOf(check: () => void | Promise<void>): Promise<string | undefined> {
  try {
    await check();
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof MorendoError)) throw thrown;
    return thrown.message;
  }
}
