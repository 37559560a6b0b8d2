// Skips a test, or from a `before` hook a whole suite, and says why: the reporter prints the reason. In CI a skipped test
// counts as failed.

import type { Context } from "mocha";

/** Skips what `context` (the `this` of a test or hook) belongs to. */
export function skip(context: Context, reason: string): never {
  const { test } = context;
  const isHook = test !== undefined && "type" in test && test.type === "hook";
  const target = isHook ? test.parent : test;
  if (target !== undefined) Object.assign(target, { skipReason: reason });
  return context.skip();
}

/**
 * Says on standard error why a test has nothing to do: the machine forbids what no package can bring, such as process
 * namespaces in a container. The test then counts as passed, because CI could not make it run.
 */
export function notPermitted(what: string, reason: string): void {
  process.stderr.write(`not tested, because it is not permitted here: ${what} (${reason.trim()})\n`);
}
