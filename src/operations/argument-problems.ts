// Says what is wrong with the arguments of an operation to whoever gave them, in the words of the rest. Not for: the
// configuration, whose problems have places in a file (src/config/load.ts).

import type { z } from "zod";

/** How many problems are told, and how much of a name: what was given may be large. */
const MAX_TOLD = 3;
const MAX_NAME_LENGTH = 60;

/** Returns one line on what is wrong, naming the arguments. */
export function describeProblems(issues: readonly z.core.$ZodIssue[]): string {
  const problems = issues.flatMap((issue): string[] => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => `${nameOf([...issue.path, key])}: there is no such argument`);
    }
    const name = issue.path.length === 0 ? [] : [nameOf(issue.path)];
    return [[...name, expectation(issue)].join(": ")];
  });
  const more = problems.length - MAX_TOLD;
  return `${problems.slice(0, MAX_TOLD).join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}

function nameOf(path: readonly PropertyKey[]): string {
  return path.map((part) => String(part).slice(0, MAX_NAME_LENGTH)).join(".");
}

function expectation(issue: z.core.$ZodIssue): string {
  // What the schema says itself does not begin like zod's own sentences.
  if (!/^(Invalid|Too)\b/.test(issue.message)) return issue.message;
  switch (issue.code) {
    case "invalid_type":
      return `expected ${TYPES[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return `expected ${issue.values.map((value) => JSON.stringify(value)).join(" or ")}`;
    case "too_small":
      if (issue.origin === "string" && Number(issue.minimum) === 1) return "expected a text that is not empty";
      return `expected ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}${UNITS[issue.origin] ?? ""}`;
    case "too_big":
      return `expected at most ${issue.maximum}${UNITS[issue.origin] ?? ""}`;
    default:
      return issue.message;
  }
}

const TYPES: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object with arguments",
};

const UNITS: Readonly<Record<string, string>> = { string: " characters", array: " entries" };
