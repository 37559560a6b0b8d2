// What a host that is a whole process wants besides the pipeline: signals, progress on the terminal, an exit code. Not
// for hosts that are part of a larger program.

import { writeSync } from "node:fs";
import type { Lifecycle } from "../../shutdown/lifecycle.ts";
import { leave } from "../../shutdown/loop-holders.ts";
import { showProgress } from "../../shutdown/progress-terminal.ts";
import { listenToSignals } from "../../shutdown/signals.ts";
import type { Clock } from "../../util/clock.ts";
import { asError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";

/** Makes the process stop by signals and end with the exit code of its run; the returned function undoes it. */
export function ownProcess<Phase extends string>(options: {
  readonly lifecycle: Lifecycle<Phase>;
  readonly clock: Clock;
  readonly log: Logger;
}): () => void {
  const { lifecycle, log } = options;
  const undo = [
    listenToSignals(options),
    showProgress({
      ...options,
      write: (text) => process.stderr.write(text),
      isTerminal: process.stderr.isTTY === true,
      columns: () => process.stderr.columns || 80,
    }),
    lifecycle.on("report", (report) => leave({ code: report.exitCode, log })),
  ];
  return () => {
    for (const off of undo) off();
  };
}

/** Writes warnings and errors to the standard error, a line each, and nothing else: for hosts without a log of their own. */
export const stderrLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (fields, message) => writeLine("warning", fields, message),
  error: (fields, message) => writeLine("error", fields, message),
  child: () => stderrLog,
};

function writeLine(level: string, fields: object, message: string): void {
  const text = JSON.stringify(fields, (_key, value: unknown) =>
    value instanceof Error ? (asError(value).stack ?? value.message) : value,
  );
  try {
    writeSync(2, `morendo: ${level}: ${message} ${text}\n`);
  } catch {
    // Nobody reads it any more; there is no other place to say so.
    return;
  }
}
