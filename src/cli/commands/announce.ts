// `morendo announce`: tells everybody who is online something (XEP-0133 §4.23).

import { Command, type Option } from "commander";
import { connectControl } from "../../control/control-client.ts";
import { type ConfigOption, findConfig } from "../config-option.ts";
import { type Io, say } from "../io.ts";
import type { Finish } from "../program.ts";

const TIMEOUT_MS = 60_000;

interface AnnounceOptions extends ConfigOption {
  readonly host?: string;
}

/** Returns the `announce` command. */
export function announceCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("announce")
    .description("tell everybody who is online something, as a headline")
    .argument("<text>", "what they read")
    .option("--host <domain>", "only the users of this host")
    .addOption(configOption())
    .action(async (text: string, { host, ...options }: AnnounceOptions) => {
      const { config } = findConfig(io, options);
      const client = await connectControl({ path: config.control.socket, clock: io.clock, timeoutMs: TIMEOUT_MS });
      try {
        const args = { text, ...(host === undefined ? {} : { host }) };
        const { told } = (await client.request("announce", args)) as { readonly told: number };
        say(io, told === 1 ? "told 1 session" : `told ${told} sessions`);
      } finally {
        client.close();
      }
      finish(0);
    });
}
