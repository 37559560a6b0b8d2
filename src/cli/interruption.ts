// What somebody reads who interrupts a command that waits for the server: what was asked for goes on without it. Not for:
// signals to the server (src/shutdown/signals.ts).

import { type Io, warn } from "./io.ts";

/** The part of the process that is needed. */
export interface InterruptedProcess {
  readonly pid: number;
  once(event: "SIGINT", listener: () => void): unknown;
  off(event: "SIGINT", listener: () => void): unknown;
  kill(pid: number, signal: "SIGINT"): unknown;
}

/**
 * Waits for `work`. Ctrl-C (SIGINT) meanwhile says `hint` on standard error and then ends this process as it would have
 * anyway; the next one does not wait for that.
 */
export async function interruptible<Result>(
  io: Pick<Io, "stderr">,
  hint: string,
  work: Promise<Result>,
  port: InterruptedProcess = process,
): Promise<Result> {
  const onInterrupt = (): void => {
    warn(io, `\nmorendo: ${hint}`);
    port.kill(port.pid, "SIGINT");
  };
  port.once("SIGINT", onInterrupt);
  try {
    return await work;
  } finally {
    port.off("SIGINT", onInterrupt);
  }
}
