// `morendo announce`: tells everybody who is online something (XEP-0133 §4.23).

import { Command, type Option } from "commander";
import { askServer } from "../ask-server.ts";
import type { ConfigOption } from "../config-option.ts";
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
      const args = { text, ...(host === undefined ? {} : { host }) };
      const answer = await askServer(io, options, { operation: "announce", args, timeoutMs: TIMEOUT_MS });
      const { told } = answer as { readonly told: number };
      say(io, told === 1 ? "told 1 session" : `told ${told} sessions`);
      finish(0);
    });
}
