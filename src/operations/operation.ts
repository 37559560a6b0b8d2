// What an operation is: checked arguments, one run, one outcome, whoever asks and by whatever door. The operations
// themselves stand in one table: table.ts.

import { z } from "zod";
import { asError, codeOf } from "../util/errors.ts";
import { describeProblems } from "./argument-problems.ts";

/** Who asks for an operation, and by which door. */
export interface Caller {
  /** The door, as reports and the log name it: `control socket`, `HTTP`, `ad-hoc command`. */
  readonly trigger: string;
  /** Who, as far as the door knows: a bare JID, the name of a token. */
  readonly who?: string;
  /** Tells whether the caller has the right to this operation. */
  may(operation: string): boolean;
}

/** What an operation is told about the request it answers. */
export interface Call {
  readonly caller: Caller;
  /** Tells the caller how it gets on; dropped when the caller does not keep up. */
  emit(event: string, data: unknown): void;
  /** Aborts when the caller is gone. What was begun goes on. */
  readonly signal: AbortSignal;
}

/** Why an operation was not done. The code is stable; the message is for people. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

/** How an operation ended. */
export type Outcome = { readonly ok: true; readonly result: unknown } | { readonly ok: false; readonly error: Failure };

/** Something that can be asked for. */
export interface Operation {
  /** Whether it only tells, and changes nothing. */
  readonly isRead: boolean;
  /** Checks the arguments and does it. Never rejects: what the work throws is the outcome's error. */
  run(args: unknown, call: Call): Promise<Outcome>;
}

type Work<Args extends z.ZodType> = (args: z.output<Args>, call: Call) => unknown;

/** Makes an operation that changes something. Its arguments must match `schema`; nothing is done when they do not. */
export function change<Args extends z.ZodType>(schema: Args, work: Work<Args>): Operation {
  return { isRead: false, run: (args, call) => carryOut(schema, work, args, call) };
}

/** Makes an operation that only tells something. */
export function read<Args extends z.ZodType>(schema: Args, work: Work<Args>): Operation {
  return { isRead: true, run: (args, call) => carryOut(schema, work, args, call) };
}

/** The arguments of an operation that takes none. */
export const noArguments = z.strictObject({});

/** Returns the outcome of an operation that was not done. */
export function failed(code: string, message: string): Outcome {
  return { ok: false, error: { code, message } };
}

async function carryOut<Args extends z.ZodType>(
  schema: Args,
  work: Work<Args>,
  args: unknown,
  call: Call,
): Promise<Outcome> {
  const checked = schema.safeParse(args ?? {});
  if (!checked.success) {
    return failed("MORENDO_BAD_ARGUMENTS", describeProblems(checked.error.issues));
  }
  try {
    return { ok: true, result: (await work(checked.data, call)) ?? null };
  } catch (thrown) {
    return failed(codeOf(thrown) ?? "MORENDO_INTERNAL", asError(thrown).message);
  }
}
