// One question to the running server through its control socket, for the commands that ask just one and show the answer. Those
// that follow what happens keep the connection themselves.

import { connectControl } from "../control/control-client.ts";
import { type ConfigOption, findConfig } from "./config-option.ts";
import type { Io } from "./io.ts";

/** What is asked, and how long the answer may take. */
export interface Question {
  readonly operation: string;
  readonly args?: object;
  readonly timeoutMs: number;
}

/**
 * Asks the server of this configuration and returns its answer. Rejects with a ConfigError, with the error that the server
 * answers with, and with `MORENDO_CONTROL_*` when none answers.
 */
export async function askServer(
  io: Io,
  options: ConfigOption,
  { operation, args, timeoutMs }: Question,
): Promise<unknown> {
  const { config } = findConfig(io, options);
  const client = await connectControl({ path: config.control.socket, clock: io.clock, timeoutMs });
  try {
    return await client.request(operation, args);
  } finally {
    client.close();
  }
}
