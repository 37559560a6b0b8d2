// Where a command finds its configuration: `--config`, MORENDO_CONFIG, the usual places, or the defaults alone.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
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
