// What a command is given of the process around it, so that a test can run it without one.

import type { Readable, Writable } from "node:stream";
import type { Clock } from "../util/clock.ts";
import type { Random } from "../util/random.ts";

/** A text stream that knows whether a person reads it. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** A text stream that knows whether a person types into it. */
export type Input = Readable & { readonly isTTY?: boolean };

/** The surroundings of a command. */
export interface Io {
  readonly stdin: Input;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  readonly clock: Clock;
  readonly random: Random;
}

/** Writes a line to standard output. */
export function say(io: Pick<Io, "stdout">, line: string): void {
  io.stdout.write(`${line}\n`);
}

/** Writes a line to standard error. */
export function warn(io: Pick<Io, "stderr">, line: string): void {
  io.stderr.write(`${line}\n`);
}
