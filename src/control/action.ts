// What an action of the control socket is. The actions themselves stand in one table: actions.ts.

import { z } from "zod";
import { asError, codeOf } from "../util/errors.ts";
import { type Failure, failure } from "./protocol.ts";

/** What an action is told about the request it answers. */
export interface Call {
  /** Tells the asker how it gets on; dropped when the asker does not keep up. */
  emit(event: string, data: unknown): void;
  /** Aborts when the asker is gone. What was begun goes on. */
  readonly signal: AbortSignal;
}

/** An action with its arguments checked: what `run` returns is the result, what it throws the error. */
export interface Action {
  run(args: unknown, call: Call): Promise<Outcome>;
}

/** How an action ended. */
export type Outcome = { readonly ok: true; readonly result: unknown } | { readonly ok: false; readonly error: Failure };

/** Actions by name. */
export type ActionTable = Readonly<Record<string, Action>>;

/** Makes an action whose arguments must match `schema`; nothing is done when they do not. */
export function action<Args extends z.ZodType>(
  schema: Args,
  run: (args: z.output<Args>, call: Call) => unknown,
): Action {
  return {
    async run(args, call) {
      const checked = schema.safeParse(args ?? {});
      if (!checked.success) {
        const problems = checked.error.issues.map(({ path, message }) => [...path.map(String), message].join(": "));
        return { ok: false, error: failure("MORENDO_BAD_ARGUMENTS", problems.join("; ")) };
      }
      try {
        return { ok: true, result: (await run(checked.data, call)) ?? null };
      } catch (thrown) {
        return { ok: false, error: failure(codeOf(thrown) ?? "MORENDO_INTERNAL", asError(thrown).message) };
      }
    },
  };
}

/** The arguments of an action that takes none. */
export const noArguments = z.strictObject({});
