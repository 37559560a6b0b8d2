// The schema seen as a list of options: what kind each one is, where the tables end. The environment reader uses it to
// know what a text is to become, the loader to propose names. Not for checking values: that is zod's work.

import type { z } from "zod";
import { configSchema, restartOnly } from "./schema.ts";

/** What an option holds: `any` for values that only a module knows. */
export type OptionKind = "text" | "number" | "flag" | "list" | "tables" | "map" | "table" | "any";

/** The parts of a zod definition that matter here; which of them are there depends on `type`. */
interface Definition {
  readonly type: string;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly element?: z.ZodType;
  readonly valueType?: z.ZodType;
}

/** Returns the schema without its default, its `optional` and what comes after the check. */
function bare(schema: z.ZodType): Definition {
  const definition = schema.def as Definition;
  const inner = definition.innerType ?? definition.in;
  return inner === undefined ? definition : bare(inner);
}

/** Returns the schema of what stands under `name` in a table, map or list. */
function inside(definition: Definition, name: string): z.ZodType | undefined {
  if (definition.shape === undefined) return definition.valueType ?? definition.element;
  // A name from outside must not reach what every object inherits.
  return Object.hasOwn(definition.shape, name) ? definition.shape[name] : undefined;
}

const KINDS: Readonly<Record<string, OptionKind>> = {
  string: "text",
  enum: "text",
  number: "number",
  boolean: "flag",
  record: "map",
  object: "table",
};

function kindOf(definition: Definition): OptionKind {
  if (definition.type !== "array") return KINDS[definition.type] ?? "any";
  return definition.element !== undefined && bare(definition.element).type === "object" ? "tables" : "list";
}

/** Returns what the option at `path` holds (list positions count as parts), or undefined when there is none. */
export function kindAt(path: readonly PropertyKey[], schema: z.ZodType = configSchema): OptionKind | undefined {
  const definition = bare(schema);
  const [name, ...rest] = path;
  if (name === undefined) return kindOf(definition);
  if (definition.type === "unknown") return "any";
  const next = inside(definition, String(name));
  return next === undefined ? undefined : kindAt(rest, next);
}

/** Returns the names that may stand in the table at `path`; none where names are free. */
export function namesAt(path: readonly PropertyKey[], schema: z.ZodType = configSchema): readonly string[] {
  const definition = bare(schema);
  const [name, ...rest] = path;
  if (name === undefined) return Object.keys(definition.shape ?? {});
  const next = inside(definition, String(name));
  return next === undefined ? [] : namesAt(rest, next);
}

/** Tells whether a running server cannot take the option at `path` in, so that it needs a restart. */
export function needsRestart(path: readonly PropertyKey[], schema: z.ZodType = configSchema): boolean {
  if (restartOnly.has(schema)) return true;
  const [name, ...rest] = path;
  if (name === undefined) return false;
  const next = inside(bare(schema), String(name));
  return next !== undefined && needsRestart(rest, next);
}

/** Returns an option's path as it is written in messages: `hosts[1].name`, `s2s.routes."b.test"`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else {
      const name = String(part);
      text += `${text === "" ? "" : "."}${/^[\w-]+$/.test(name) ? name : JSON.stringify(name)}`;
    }
  }
  return text;
}

/** Returns the name in `names` that `wrong` is most likely a slip for, if there is one close enough. */
export function closest(wrong: string, names: readonly string[]): string | undefined {
  const limit = Math.max(1, Math.floor(wrong.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const name of names) {
    const distance = distanceOf(wrong.toLowerCase().replaceAll("-", "_"), name);
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  return best;
}

/** The number of letters to insert, drop or change to get from one word to the other (Levenshtein). */
function distanceOf(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const swap = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
