// Imports what the entries of `modules` mean, puts the modules into the order in which they can be loaded and checks their
// options: all that can be said about a list of modules before any of them runs. Where an entry leads:
// module-resolver.ts. Loading: module-loader.ts.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { asError, codeOf, MorendoError } from "../util/errors.ts";
import type { ModuleDefinition } from "./module-api.ts";
import { isModuleName, type ModulePlaces, type ModuleSource, resolveModule } from "./module-resolver.ts";

/** The options of modules as the configuration has them: `[module.NAME]` by name. */
export type ModuleOptions = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** A module that was found. */
export interface FoundModule {
  readonly definition: ModuleDefinition;
  /** Where it came from; undefined for one that was handed over by the program. */
  readonly source: ModuleSource | undefined;
}

/** Imports the modules that `entries` mean, each once. Rejects with a MorendoError that names the entry. */
export async function findModules(entries: readonly string[], places: ModulePlaces): Promise<FoundModule[]> {
  const found: FoundModule[] = [];
  for (const entry of new Set(entries)) found.push(await importModule(await resolveModule(entry, places)));
  return found;
}

/** Rejects with a MorendoError that says what is wrong with the list of modules or their options. Loads nothing. */
export async function checkModules(
  entries: readonly string[],
  options: ModuleOptions,
  places: ModulePlaces = {},
): Promise<void> {
  for (const { definition } of inOrder(await findModules(entries, places), new Set())) {
    checkOptions(definition, options[definition.name] ?? {});
  }
}

/**
 * Imports a module. Node keeps every file that was imported for as long as the process lives, so code that has changed is
 * only read again under another address: `edition` is a number that was not used for this file before. It makes the file
 * itself new; the files that this one imports stay as they were first read. Rejects with `MORENDO_MODULE_FAILED`, which
 * names the entry.
 */
export async function importModule(source: ModuleSource, edition?: number): Promise<FoundModule> {
  const { entry, kind, url } = source;
  const address = new URL(url);
  if (edition !== undefined) {
    address.searchParams.set("edition", String(edition));
    // CommonJS keeps files by their path.
    delete createRequire(import.meta.url).cache[fileURLToPath(url)];
  }
  let exported: unknown;
  try {
    exported = ((await import(address.href)) as { readonly default?: unknown }).default;
  } catch (thrown) {
    const message = `module "${entry}" cannot be read: ${asError(thrown).message}${hintFor(thrown, url)}`;
    throw new MorendoError("MORENDO_MODULE_FAILED", message, { cause: thrown });
  }
  const fault = faultOf(exported);
  const wanted = kind === "own" ? entry : undefined;
  if (fault !== undefined || (wanted !== undefined && (exported as ModuleDefinition).name !== wanted)) {
    const example = `export default defineModule({ name: "${wanted ?? "a-name"}", ... })`;
    const reason = fault ?? `its name is "${(exported as ModuleDefinition).name}"`;
    const message = `module "${entry}" (${fileURLToPath(url)}) must ${example}: ${reason}`;
    throw new MorendoError("MORENDO_MODULE_FAILED", message);
  }
  return { definition: exported as ModuleDefinition, source };
}

/** Node 20 runs no TypeScript, and what later versions say about it does not say what to do. */
function hintFor(thrown: unknown, url: URL): string {
  const isTypeScript = /\.[cm]?ts$/.test(url.pathname);
  const code = codeOf(thrown) ?? "";
  if (!isTypeScript || !["ERR_UNKNOWN_FILE_EXTENSION", "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING"].includes(code)) {
    return "";
  }
  return `; Node ${process.versions.node} does not run this TypeScript file: compile it, and give the JavaScript`;
}

/** Says what is wrong with a module's default export, if anything is. */
function faultOf(exported: unknown): string | undefined {
  if (typeof exported !== "object" || exported === null) return "there is no such default export";
  const { name, load, requires, options } = exported as Readonly<Record<string, unknown>>;
  if (typeof name !== "string" || !isModuleName(name)) return `${JSON.stringify(name)} is not a name in kebab-case`;
  if (typeof load !== "function") return `"${name}" has no function load`;
  if (requires !== undefined && !(Array.isArray(requires) && requires.every((other) => typeof other === "string"))) {
    return `"requires" of "${name}" is not a list of names`;
  }
  const isSchema = typeof options === "object" && options !== null && "safeParse" in options;
  return options === undefined || isSchema ? undefined : `"options" of "${name}" is not a schema of zod`;
}

/** Returns the modules so that each comes after those it requires; otherwise in the order given. */
export function inOrder(modules: readonly FoundModule[], loaded: ReadonlySet<string>): readonly FoundModule[] {
  const byName = new Map<string, FoundModule>();
  for (const module of modules) {
    const { name } = module.definition;
    const other = byName.get(name);
    if (other !== undefined) {
      const message = `${describe(other)} and ${describe(module)} are both the module "${name}"`;
      throw new MorendoError("MORENDO_MODULE_TWICE", message);
    }
    if (loaded.has(name)) throw new MorendoError("MORENDO_MODULE_TWICE", `module "${name}" is loaded already`);
    byName.set(name, module);
  }
  const ordered = new Set<FoundModule>();
  const visit = (module: FoundModule, path: readonly string[]): void => {
    if (ordered.has(module)) return;
    const { name, requires = [] } = module.definition;
    if (path.includes(name)) {
      const circle = [...path.slice(path.indexOf(name)), name].join(" -> ");
      throw new MorendoError("MORENDO_MODULE_CYCLE", `modules require each other in a circle: ${circle}`);
    }
    for (const required of requires) {
      const other = byName.get(required);
      if (other !== undefined) visit(other, [...path, name]);
      else if (!loaded.has(required)) {
        const message = `module "${name}" requires module "${required}", which is neither loaded nor to be loaded`;
        throw new MorendoError("MORENDO_MODULE_MISSING", message);
      }
    }
    ordered.add(module);
  };
  for (const module of modules) visit(module, []);
  return [...ordered];
}

function describe({ definition, source }: FoundModule): string {
  return source === undefined ? `"${definition.name}"` : `"${source.entry}" (${fileURLToPath(source.url)})`;
}

/** Returns the module's options with its defaults; throws a MorendoError that names each bad one. */
export function checkOptions(definition: ModuleDefinition, given: Readonly<Record<string, unknown>>): unknown {
  let schema: z.ZodType = definition.options ?? z.strictObject({});
  // An option that nobody reads is a typing error, unless the author says otherwise with z.looseObject or a catchall.
  if (isPlainObject(schema)) schema = schema.strict();
  const result = parsed(schema, definition.name, given);
  if (result.success) return result.data;
  const faults = result.error.issues.flatMap((issue) => {
    const path = ["module", definition.name, ...issue.path].join(".");
    if (issue.code !== "unrecognized_keys") return [`${path}: ${issue.message}`];
    return issue.keys.map((key) => `${path}.${key}: there is no such option`);
  });
  throw new MorendoError("MORENDO_MODULE_OPTIONS", faults.join("; "));
}

/** A schema runs its module's code, which may throw, and may be one that has to be waited for. */
function parsed(schema: z.ZodType, name: string, given: unknown): z.ZodSafeParseResult<unknown> {
  try {
    return schema.safeParse(given);
  } catch (thrown) {
    const message = `module.${name}: its options cannot be checked: ${asError(thrown).message}`;
    throw new MorendoError("MORENDO_MODULE_OPTIONS", message, { cause: thrown });
  }
}

/** Asks for the kind and not for the class: a module from elsewhere brings its own copy of zod. */
function isPlainObject(schema: z.ZodType): schema is z.ZodObject {
  const def = schema.def as { readonly type?: unknown; readonly catchall?: unknown } | undefined;
  return def?.type === "object" && def.catchall === undefined && "strict" in schema;
}
