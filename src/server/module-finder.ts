// Finds modules by name, puts them into the order in which they can be loaded and checks their options: all that can be
// said about a list of modules before any of them runs. Loading them: module-loader.ts.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { asError, MorendoError } from "../util/errors.ts";
import type { ModuleDefinition } from "./module-api.ts";

/** The options of modules as the configuration has them: `[module.NAME]` by name. */
export type ModuleOptions = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** `modules/` beside `src/`, in the source tree and in the compiled package alike. */
const OWN_MODULES = new URL("../../modules/", import.meta.url);

/** Imports the modules by name from `folders`, or else from the server's own. Rejects with a MorendoError that names the module. */
export async function findModules(names: readonly string[], folders: readonly URL[]): Promise<ModuleDefinition[]> {
  const definitions: ModuleDefinition[] = [];
  for (const name of new Set(names)) definitions.push(await importModule(name, [...folders, OWN_MODULES]));
  return definitions;
}

/** Rejects with a MorendoError that says what is wrong with the list of modules or their options. Loads nothing. */
export async function checkModules(
  names: readonly string[],
  options: ModuleOptions,
  folders: readonly URL[] = [],
): Promise<void> {
  for (const definition of inOrder(await findModules(names, folders), new Set())) {
    checkOptions(definition, options[definition.name] ?? {});
  }
}

async function importModule(name: string, folders: readonly URL[]): Promise<ModuleDefinition> {
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) {
    throw new MorendoError("MORENDO_MODULE_UNKNOWN", `"${name}" is not a module name: expected kebab-case`);
  }
  const file = findFile(name, folders);
  if (file === undefined) {
    const where = folders.map((folder) => fileURLToPath(folder)).join(", ");
    throw new MorendoError("MORENDO_MODULE_UNKNOWN", `there is no module "${name}" in ${where}`);
  }
  let exported: unknown;
  try {
    exported = ((await import(file.href)) as { readonly default?: unknown }).default;
  } catch (thrown) {
    const message = `module "${name}" cannot be read: ${asError(thrown).message}`;
    throw new MorendoError("MORENDO_MODULE_FAILED", message, { cause: thrown });
  }
  if (!isDefinition(exported) || exported.name !== name) {
    const message = `module "${name}" must export default defineModule({ name: "${name}", ... })`;
    throw new MorendoError("MORENDO_MODULE_FAILED", message);
  }
  return exported;
}

function findFile(name: string, folders: readonly URL[]): URL | undefined {
  for (const folder of folders) {
    // Compiled first: beside an index.js an index.ts is only its source.
    for (const file of ["index.js", "index.ts"]) {
      const url = new URL(`${name}/${file}`, folder);
      if (existsSync(url)) return url;
    }
  }
  return undefined;
}

function isDefinition(value: unknown): value is ModuleDefinition {
  if (typeof value !== "object" || value === null) return false;
  return "name" in value && typeof value.name === "string" && "load" in value && typeof value.load === "function";
}

/** Returns the definitions so that each comes after those it requires; otherwise in the order given. */
export function inOrder(
  definitions: readonly ModuleDefinition[],
  loaded: ReadonlySet<string>,
): readonly ModuleDefinition[] {
  const byName = new Map<string, ModuleDefinition>();
  for (const definition of definitions) {
    if (loaded.has(definition.name) || byName.has(definition.name)) {
      throw new MorendoError("MORENDO_MODULE_TWICE", `module "${definition.name}" is loaded already`);
    }
    byName.set(definition.name, definition);
  }
  const ordered = new Set<ModuleDefinition>();
  const visit = (definition: ModuleDefinition, path: readonly string[]): void => {
    if (ordered.has(definition)) return;
    const { name, requires = [] } = definition;
    if (path.includes(name)) {
      const circle = [...path.slice(path.indexOf(name)), name].join(" -> ");
      throw new MorendoError("MORENDO_MODULE_CYCLE", `modules require each other in a circle: ${circle}`);
    }
    for (const required of requires) {
      const other = byName.get(required);
      if (other !== undefined) visit(other, [...path, name]);
      else if (!loaded.has(required)) {
        const message = `module "${name}" requires module "${required}", which is not among the modules to load`;
        throw new MorendoError("MORENDO_MODULE_MISSING", message);
      }
    }
    ordered.add(definition);
  };
  for (const definition of definitions) visit(definition, []);
  return [...ordered];
}

/** Returns the module's options with its defaults; throws a MorendoError that names each bad one. */
export function checkOptions(definition: ModuleDefinition, given: Readonly<Record<string, unknown>>): unknown {
  let schema: z.ZodType = definition.options ?? z.strictObject({});
  // An option that nobody reads is a typing error, unless the author says otherwise with z.looseObject or a catchall.
  if (schema instanceof z.ZodObject && schema.def.catchall === undefined) schema = schema.strict();
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const faults = result.error.issues.flatMap((issue) => {
    const path = ["module", definition.name, ...issue.path].join(".");
    if (issue.code !== "unrecognized_keys") return [`${path}: ${issue.message}`];
    return issue.keys.map((key) => `${path}.${key}: there is no such option`);
  });
  throw new MorendoError("MORENDO_MODULE_OPTIONS", faults.join("; "));
}
