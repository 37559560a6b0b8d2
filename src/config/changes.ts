// What has changed between two configurations, option by option, and which of it a running server cannot take in; and the
// configuration of a running server, whose values change while the objects that hold them stay. Not for: taking changes
// in (src/server/reloading.ts).

import { isDeepStrictEqual } from "node:util";
import { formatPath, kindAt, namesAt, needsRestart } from "./options.ts";
import type { Config } from "./schema.ts";

/** An option that differs. */
export interface Change {
  /** The option's path, as messages have it: `c2s.idle_timeout`. */
  readonly option: string;
  /** Whether only a new process can take it in. */
  readonly needsRestart: boolean;
}

type Table = Readonly<Record<string, unknown>>;

/** Returns the options in which `after` differs from `before`, in the order of the schema. Values are not told. */
export function changesBetween(before: Config, after: Config): readonly Change[] {
  return changesIn([], before, after);
}

function changesIn(path: readonly string[], before: unknown, after: unknown): Change[] {
  if (isDeepStrictEqual(before, after)) return [];
  const kind = kindAt(path);
  if (path.length === 1 && path[0] === "hosts") return hostChanges(before as Config["hosts"], after as Config["hosts"]);
  // What is not there at all is like an empty table.
  const [old, next] = [before ?? {}, after ?? {}];
  if ((kind !== "table" && kind !== "map") || !isTable(old) || !isTable(next)) {
    return [{ option: formatPath(path), needsRestart: needsRestart(path) }];
  }
  const names = kind === "table" ? namesAt(path) : [...new Set([...Object.keys(old), ...Object.keys(next)])];
  return names.flatMap((name) => changesIn([...path, name], old[name], next[name]));
}

/** Which hosts there are needs a restart, where their certificates are does not. */
function hostChanges(before: Config["hosts"], after: Config["hosts"]): Change[] {
  const isSameList = isDeepStrictEqual(
    before.map(({ name }) => name),
    after.map(({ name }) => name),
  );
  const changes: Change[] = isSameList ? [] : [{ option: "hosts", needsRestart: true }];
  for (const [index, host] of after.entries()) {
    const old = before.find(({ name }) => name === host.name);
    if (old === undefined) continue;
    for (const option of ["certificate", "key"] as const) {
      if (old[option] === host[option]) continue;
      changes.push({ option: formatPath(["hosts", index, option]), needsRestart: false });
    }
  }
  return changes;
}

/**
 * The configuration of a running server. Whoever is given a section of `current` reads its values when it needs them, and so
 * has new ones after `apply`; what is computed from values has to be computed anew then. All change in one step.
 */
export class LiveConfig {
  readonly current: Config;

  constructor(config: Config) {
    this.current = copyOf([], config) as Config;
  }

  /** Takes in the values of `next`, but for options that need a restart. */
  apply(next: Config): void {
    takeIn([], this.current, next);
    this.current.hosts = this.hostsWith(next);
  }

  /** The hosts that are served, with the certificates that `next` names for them. */
  hostsWith(next: Config): Config["hosts"] {
    return this.current.hosts.map((host) => next.hosts.find(({ name }) => name === host.name) ?? host);
  }
}

function copyOf(path: readonly string[], value: unknown): unknown {
  if (kindAt(path) !== "table" || !isTable(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, copyOf([...path, name], inner)]));
}

function takeIn(path: readonly string[], current: Record<string, unknown>, next: Table): void {
  for (const name of namesAt(path)) {
    const inner = [...path, name];
    const old = current[name];
    const value = next[name];
    if (kindAt(inner) === "table" && isTable(old) && isTable(value)) takeIn(inner, old, value);
    else if (inner.join(".") === "hosts" || needsRestart(inner)) continue;
    else if (value === undefined) delete current[name];
    else current[name] = value;
  }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
