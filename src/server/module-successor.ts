// Whether new code for a module can take the place of the old one at a reload: what can be said before the old one is
// touched.

import { MorendoError } from "../util/errors.ts";
import { checkOptions, type FoundModule, type ModuleOptions } from "./module-finder.ts";

interface Present {
  /** The modules that are loaded, by name. */
  readonly loaded: ReadonlyMap<string, { readonly found: FoundModule }>;
  readonly options: ModuleOptions;
}

/** Checks new code for a loaded module before the old one is touched, and returns its options. */
export function checkSuccessor(name: string, found: FoundModule, { loaded, options }: Present): unknown {
  const { definition } = found;
  const fail = (why: string): MorendoError =>
    new MorendoError("MORENDO_MODULE_FAILED", `module "${name}" stays as it is: ${why}`);
  if (definition.name !== name) throw fail(`the file now has the module "${definition.name}"`);
  const missing = (definition.requires ?? []).filter((other) => !loaded.has(other));
  if (missing.length > 0) throw fail(`it now requires ${quoted(missing)}, which is not loaded`);
  if (reaches(definition.requires ?? [], name, loaded)) throw fail("it now requires what requires it");
  return checkOptions(definition, options[name] ?? {});
}

/** Tells whether one of `names`, or what they require, is `target`. */
function reaches(names: readonly string[], target: string, loaded: Present["loaded"]): boolean {
  return names.some(
    (name) => name === target || reaches(loaded.get(name)?.found.definition.requires ?? [], target, loaded),
  );
}

/** The names of modules as a message has them. */
export function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}
