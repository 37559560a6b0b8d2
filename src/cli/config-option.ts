// Where a command finds its configuration: `--config`, MORENDO_CONFIG, the usual places, or the defaults alone; and the
// check of what only the modules can judge.

import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ConfigError, loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { checkModules } from "../server/module-finder.ts";
import { MorendoError } from "../util/errors.ts";
import type { Io } from "./io.ts";

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
export function findConfig(io: Pick<Io, "environment" | "directory">, { config: given }: ConfigOption): LoadedConfig {
  const usual = [resolve(io.directory, "morendo.toml"), "/etc/morendo/morendo.toml"];
  const file = given === undefined ? usual.find((path) => existsSync(path)) : resolve(io.directory, given);
  return { config: loadConfig({ file, environment: io.environment, directory: io.directory }), file };
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
