// `morendo cancel`: brings the running server back from a stop that has not passed the point of no return.

import { Command, type Option } from "commander";
import { exitCode } from "../../shutdown/exit-codes.ts";
import type { CancelResult } from "../../shutdown/types.ts";
import { askServer } from "../ask-server.ts";
import type { ConfigOption } from "../config-option.ts";
import { type Io, say, warn } from "../io.ts";
import type { Finish } from "../program.ts";

interface CancelOptions extends ConfigOption {
  readonly reason?: string;
}

/** Taking back is bounded by the server; this is well past it. */
const TIMEOUT_MS = 120_000;

const HELP = `
A stop can be cancelled until sessions are closed (phase close-sessions). Then listeners are open again on the same
addresses, and whoever was logged in has noticed nothing. The exit code is 0 when the server is back, and 1 when it was
too late, when there was nothing to cancel, or when something could not be brought back; the message says which.

Example:
  morendo cancel --reason "the new version is not ready"`;

/** Returns the `cancel` command. */
export function cancelCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("cancel")
    .description("cancel a stop that is under way, as long as no session was closed")
    .option("--reason <text>", "logged and reported")
    .addOption(configOption())
    .addHelpText("after", HELP)
    .action(async (options: CancelOptions) => finish(await cancel(io, options)));
}

async function cancel(io: Io, { reason, ...options }: CancelOptions): Promise<number> {
  const args = reason === undefined ? {} : { reason };
  const result = (await askServer(io, options, { operation: "cancel", args, timeoutMs: TIMEOUT_MS })) as CancelResult;
  if (!result.cancelled) {
    warn(io, `morendo: not cancelled: ${result.why}`);
    return exitCode("fatal");
  }
  if (result.note !== undefined) say(io, result.note);
  if (result.failed.length === 0) {
    say(io, "cancelled: the server serves as before");
    return 0;
  }
  for (const { name, error } of result.failed) {
    warn(io, `morendo: ${name} could not take back what it had done: ${error.split("\n", 1)[0]}`);
  }
  warn(io, "morendo: cancelled, but not everything is as before");
  return exitCode("fatal");
}
