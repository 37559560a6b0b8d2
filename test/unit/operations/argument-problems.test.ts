// What whoever gives an operation wrong arguments reads.

import assert from "node:assert/strict";
import { z } from "zod";
import { describeProblems } from "../../../src/operations/argument-problems.ts";
import { announceArguments, evacuateArguments, stopArguments } from "../../../src/operations/stopping.ts";

function problems(schema: z.ZodType, args: unknown): string {
  const { error } = schema.safeParse(args);
  return error === undefined ? "" : describeProblems(error.issues);
}

describe("what is said of wrong arguments", () => {
  it("names the argument and what was expected, in plain words", () => {
    const cases: readonly (readonly [z.ZodType, unknown, string])[] = [
      [announceArguments, { text: "" }, "text: expected a text that is not empty"],
      [announceArguments, { text: "x".repeat(3_000) }, "text: expected at most 2000 characters"],
      [announceArguments, {}, "text: expected a text"],
      [stopArguments, { delayMs: 8 * 86_400_000 }, "delayMs: expected at most a week"],
      [stopArguments, { delayMs: -1 }, "delayMs: expected at least 0"],
      [stopArguments, { delayMs: 1.5 }, "delayMs: expected a whole number"],
      [stopArguments, { follow: "yes" }, "follow: expected true or false"],
      [stopArguments, { raeson: "a slip" }, "raeson: there is no such argument"],
      [stopArguments, [], "expected an object with arguments"],
      [evacuateArguments, { timeoutMs: 0 }, "timeoutMs: expected more than 0"],
      [evacuateArguments, { onTimeout: "run" }, 'onTimeout: expected "back" or "stay"'],
      [z.array(z.string()).min(2), ["one"], "expected at least 2 entries"],
    ];
    for (const [schema, args, text] of cases) assert.equal(problems(schema, args), text);
  });

  it("stays short, whatever was given", () => {
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`${index}`.repeat(1_000), 1]));
    const text = problems(stopArguments, many);
    assert.ok(text.length < 500, text);
    assert.match(text, /and 997 more$/);
  });

  it("sends nobody to a port that does not exist", () => {
    for (const to of ["x.test:0", "x.test:65536", "x.test:99999", "[::1]:70000"]) {
      assert.equal(problems(evacuateArguments, { to }), "to: expected a port from 1 to 65535", to);
    }
    for (const to of [
      "x.test",
      "x.test:1",
      "x.test:65535",
      "[::1]",
      "[::1]:5222",
      "[2001:db8::99999]",
      "192.0.2.1:5222",
    ]) {
      assert.equal(problems(evacuateArguments, { to }), "", to);
    }
    assert.match(problems(evacuateArguments, { to: "http://x.test" }), /^to: expected a host such as/);
  });
});
