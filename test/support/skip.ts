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
