// `morendo config check`: says what is wrong with a configuration before a server has to.

import { Command, type Option } from "commander";
import { checkSurroundings } from "../config-check.ts";
import { type ConfigOption, findConfig } from "../config-option.ts";
import { type Io, say } from "../io.ts";
import type { Finish } from "../program.ts";

const HELP = `
Besides the file it looks at what the file leads to: modules and their options, certificates and whether their keys belong to
them, trusted roots, and the path of the control socket. It starts and changes nothing. Run it as the user that runs the server:
others may not be able to read the keys. The exit code is 0 when nothing is wrong, and 2 otherwise.

Example:
  morendo config check --config /etc/morendo/morendo.toml`;

/** Returns the `config` command with its subcommand. */
export function configCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  const config = new Command("config").description("work with the configuration");
  config
    .command("check")
    .description("check the configuration and report everything that is wrong with it")
    .addOption(configOption())
    .addHelpText("after", HELP)
    .action(async (options: ConfigOption) => {
      // What is wrong is thrown, and printed where all errors are.
      const loaded = findConfig(io, options);
      await checkSurroundings(loaded, io);
      const { config: found, file } = loaded;
      const hosts = found.hosts.map((host) => host.name).join(", ");
      say(io, `${file ?? "the built-in defaults"}: good, for ${hosts} with data in ${found.data}`);
      finish(0);
    });
  return config;
}
