// Options from environment variables: MORENDO_C2S__LISTEN is `c2s.listen`. The parts of the path are in capitals and
// joined by two underscores. Values go through the same checks as those of the file.

import { parse } from "smol-toml";
import { closest, kindAt, namesAt } from "./options.ts";

const PREFIX = "MORENDO_";

/** What the environment says: values to lay over the file's, and variables that make no sense. */
export interface Overrides {
  readonly values: readonly { readonly variable: string; readonly path: readonly string[]; readonly value: unknown }[];
  readonly unknown: readonly { readonly variable: string; readonly hint: string | undefined }[];
}

/**
 * Reads every option from `environment`. A variable with `__` that names no option is reported; one without is left
 * alone, because others set such variables too (Kubernetes for a service called `morendo`: MORENDO_SERVICE_HOST).
 */
export function readEnvironment(environment: Readonly<Record<string, string | undefined>>): Overrides {
  const values: { variable: string; path: string[]; value: unknown }[] = [];
  const unknown: { variable: string; hint: string | undefined }[] = [];
  for (const [variable, text] of Object.entries(environment).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!variable.startsWith(PREFIX) || text === undefined) continue;
    const path = variable.slice(PREFIX.length).toLowerCase().split("__");
    const kind = kindAt(path);
    if (kind === undefined || kind === "table") {
      if (path.length > 1) unknown.push({ variable, hint: propose(path) });
      continue;
    }
    values.push({ variable, path, value: interpret(text, kind) });
  }
  return { values, unknown };
}

function propose(path: readonly string[]): string | undefined {
  const wrongAt = path.findIndex((_, index) => kindAt(path.slice(0, index + 1)) === undefined);
  const parts = path.slice(0, wrongAt);
  const name = closest(path[wrongAt] ?? "", namesAt(parts));
  return name === undefined ? undefined : PREFIX + [...parts, name].join("__").toUpperCase();
}

/** Texts stay as they are; the rest is read as TOML, and lists also as values between commas. */
function interpret(text: string, kind: string): unknown {
  if (kind === "text") return text;
  const value = tomlValue(text);
  if (kind === "list" && !Array.isArray(value))
    return text.trim() === "" ? [] : text.split(",").map((item) => item.trim());
  return value;
}

/** Returns `text` read as a TOML value, or the text itself when it is none: the schema then says what it wants. */
function tomlValue(text: string): unknown {
  try {
    return parse(`value = ${text}`).value;
  } catch {
    return text;
  }
}

/** Puts `value` at `path`, making tables on the way; returns a new value and leaves `base` alone. */
export function withValue(base: unknown, path: readonly string[], value: unknown): unknown {
  const [name, ...rest] = path;
  if (name === undefined) return value;
  const table = typeof base === "object" && base !== null && !Array.isArray(base) ? base : {};
  const inner = name in table ? (table as Record<string, unknown>)[name] : undefined;
  return { ...table, [name]: withValue(inner, rest, value) };
}
