// Where a command finds its configuration: `--config`, MORENDO_CONFIG, the usual places, or the defaults alone; and the
// check of what only the modules can judge.

import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ConfigError, type ConfigSource, loadConfig, loadWhereabouts, type Whereabouts } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { checkModules } from "../server/module-finder.ts";
import { MorendoError } from "../util/errors.ts";
import { type Io, warn } from "./io.ts";

type Surroundings = Pick<Io, "environment" | "directory">;

/** The options that every command with a configuration has. */
export interface ConfigOption {
  readonly config?: string;
}

/** A configuration and where it came from. */
export interface LoadedConfig {
  readonly config: Config;
  /** The file, or undefined for the defaults. */
  readonly file: string | undefined;
}

/** Returns the configuration a command is to use. Throws a ConfigError. */
export function findConfig(io: Surroundings, option: ConfigOption): LoadedConfig {
  const source = sourceOf(io, option);
  return { config: loadConfig(source), file: source.file };
}

/**
 * Returns where the server that runs with this configuration is to be found, also when something wrong has been written into
 * it since: that is told, and the server can be stopped all the same. Throws a ConfigError when none can be running there.
 */
export function findServer(io: Surroundings & Pick<Io, "stderr">, option: ConfigOption): Whereabouts {
  const source = sourceOf(io, option);
  try {
    return loadConfig(source);
  } catch (thrown) {
    const found = thrown instanceof ConfigError ? loadWhereabouts(source) : undefined;
    if (!(thrown instanceof ConfigError) || found === undefined || !existsSync(found.control.socket)) throw thrown;
    warn(
      io,
      `morendo: no server would start with this configuration, but one may run:\n${thrown.message.replace(/^/gm, "  ")}`,
    );
    return found;
  }
}

function sourceOf({ environment, directory }: Surroundings, { config: given }: ConfigOption): ConfigSource {
  const usual = [resolve(directory, "morendo.toml"), "/etc/morendo/morendo.toml"];
  const file = given === undefined ? usual.find((path) => existsSync(path)) : resolve(directory, given);
  return { file, environment, directory };
}

/** Returns the folder that the paths and packages among the modules are relative to. */
export function moduleBase({ file }: LoadedConfig, { directory }: Pick<Io, "directory">): string {
  return file === undefined ? directory : dirname(file);
}

/** Rejects with a ConfigError when a module is not to be had, or has options that it does not take. */
export async function checkModuleOptions(loaded: LoadedConfig, io: Pick<Io, "directory">): Promise<void> {
  const { config, file } = loaded;
  try {
    await checkModules(config.modules, config.module, { base: moduleBase(loaded, io) });
  } catch (thrown) {
    if (!(thrown instanceof MorendoError)) throw thrown;
    throw new ConfigError([{ place: file, option: undefined, message: thrown.message }]);
  }
}
