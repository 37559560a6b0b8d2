// One question to the running server through its control socket, for the commands that ask just one and show the answer. Those
// that follow what happens keep the connection themselves.

import type { Whereabouts } from "../config/load.ts";
import { connectControl } from "../control/control-client.ts";
import { type ConfigOption, findServer } from "./config-option.ts";
import type { Io } from "./io.ts";

/** What is asked, and how long the answer may take. */
export interface Question {
  readonly operation: string;
  readonly args?: object;
  readonly timeoutMs: number;
  /** Where the server is to be found, if that is known already. */
  readonly server?: Whereabouts;
}

/**
 * Asks the server of this configuration and returns its answer. Rejects with a ConfigError, with the error that the server
 * answers with, and with `MORENDO_CONTROL_*` when none answers.
 */
export async function askServer(
  io: Io,
  options: ConfigOption,
  { operation, args, timeoutMs, server = findServer(io, options) }: Question,
): Promise<unknown> {
  const client = await connectControl({ path: server.control.socket, clock: io.clock, timeoutMs });
  try {
    return await client.request(operation, args);
  } finally {
    client.close();
  }
}
