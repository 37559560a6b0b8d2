// `morendo config check`: says what is wrong with a configuration before a server has to.

import { Command, type Option } from "commander";
import { type ConfigOption, checkModuleOptions, findConfig } from "../config-option.ts";
import { type Io, say } from "../io.ts";
import type { Finish } from "../program.ts";

/** Returns the `config` command with its subcommand. */
export function configCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  const config = new Command("config").description("work with the configuration");
  config
    .command("check")
    .description("check the configuration and report everything that is wrong with it")
    .addOption(configOption())
    .addHelpText("after", "\nExample:\n  morendo config check --config /etc/morendo/morendo.toml")
    .action(async (options: ConfigOption) => {
      // What is wrong is thrown, and printed where all errors are.
      const loaded = findConfig(io, options);
      await checkModuleOptions(loaded, io);
      const { config: found, file } = loaded;
      const hosts = found.hosts.map((host) => host.name).join(", ");
      say(io, `${file ?? "the built-in defaults"}: good, for ${hosts} with data in ${found.data}`);
      finish(0);
    });
  return config;
}
