// Finds modules, checks their options, loads them in the order of what they require and unloads them in reverse. What a
// module may do is in loaded-module.ts; what it does is its own business.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { asError, MorendoError } from "../util/errors.ts";
import { type Element, xml } from "../xml/element.ts";
import { Announcements } from "./announcements.ts";
import { LoadedModule, type ModuleSurroundings } from "./loaded-module.ts";
import type { DiscoTarget, ModuleDefinition } from "./module-api.ts";

/** What the loader gives to modules, and where it finds them. */
export interface ModuleLoaderOptions extends Omit<ModuleSurroundings, "announcements"> {
  /** Folders with one folder per module, searched in order before the server's own. */
  readonly folders?: readonly URL[];
}

/** The options of modules as the configuration has them: `[module.NAME]` by name. */
export type ModuleOptions = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** `modules/` beside `src/`, in the source tree and in the compiled package alike. */
const OWN_MODULES = new URL("../../modules/", import.meta.url);

/** Loads and unloads modules. */
export class ModuleLoader {
  #surroundings: ModuleSurroundings;
  #folders: readonly URL[];
  #announcements = new Announcements();
  /** In the order in which they were loaded. */
  #loaded = new Map<string, LoadedModule>();

  constructor({ folders = [], ...surroundings }: ModuleLoaderOptions) {
    this.#folders = [...folders, OWN_MODULES];
    this.#surroundings = { ...surroundings, announcements: this.#announcements };
  }

  /** The names of the loaded modules, in the order in which they were loaded. */
  get names(): readonly string[] {
    return [...this.#loaded.keys()];
  }

  /**
   * Finds the modules by name in the folders and loads them. Rejects with a MorendoError that names the module when one is
   * not there, fails or has bad options; then none of `names` stays loaded.
   */
  async load(names: readonly string[], options: ModuleOptions = {}): Promise<void> {
    const definitions: ModuleDefinition[] = [];
    for (const name of new Set(names)) definitions.push(await this.#import(name));
    await this.install(definitions, options);
  }

  /** Loads modules that are at hand already, by the same rules as `load`. */
  async install(definitions: readonly ModuleDefinition[], options: ModuleOptions = {}): Promise<void> {
    const ordered = inOrder(definitions, new Set(this.#loaded.keys()));
    // All options are checked before anything is loaded: a typing error must not leave half a server.
    const checked = ordered.map((definition) => checkOptions(definition, options[definition.name] ?? {}));
    for (const name of Object.keys(options)) {
      if (this.#loaded.has(name) || ordered.some((definition) => definition.name === name)) continue;
      this.#surroundings.log.warn({ module: name }, `[module.${name}] has options, but the module is not loaded`);
    }
    const begun: string[] = [];
    for (const [index, definition] of ordered.entries()) {
      const loaded = new LoadedModule(definition.name, this.#surroundings);
      this.#loaded.set(definition.name, loaded);
      begun.push(definition.name);
      try {
        await loaded.run(definition, checked[index]);
      } catch (thrown) {
        for (const name of begun.reverse()) await this.unload(name);
        const message = `module "${definition.name}" failed to load: ${asError(thrown).message}`;
        throw new MorendoError("MORENDO_MODULE_FAILED", message, { cause: thrown });
      }
    }
  }

  /** Undoes everything the module registered, last first, then lets it tidy up. What fails is logged under its name. */
  async unload(name: string): Promise<void> {
    const loaded = this.#loaded.get(name);
    this.#loaded.delete(name);
    await loaded?.unload();
  }

  /** Unloads all modules in the reverse order of loading. */
  async unloadAll(): Promise<void> {
    for (const name of this.names.toReversed()) await this.unload(name);
  }

  /** Returns what the modules announce by service discovery. */
  announced(target: DiscoTarget): ReturnType<Announcements["announced"]> {
    return this.#announcements.announced(target);
  }

  /** Returns new elements for the stream features that modules offer to a client that has logged in. */
  streamFeatures(): Element[] {
    return this.#announcements.streamFeatures().map(({ namespace, name }) => xml(name, { xmlns: namespace }));
  }

  async #import(name: string): Promise<ModuleDefinition> {
    if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) {
      throw new MorendoError("MORENDO_MODULE_UNKNOWN", `"${name}" is not a module name: expected kebab-case`);
    }
    const file = this.#find(name);
    if (file === undefined) {
      const where = this.#folders.map((folder) => fileURLToPath(folder)).join(", ");
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

  #find(name: string): URL | undefined {
    for (const folder of this.#folders) {
      // Compiled first: beside an index.js an index.ts is only its source.
      for (const file of ["index.js", "index.ts"]) {
        const url = new URL(`${name}/${file}`, folder);
        if (existsSync(url)) return url;
      }
    }
    return undefined;
  }
}

function isDefinition(value: unknown): value is ModuleDefinition {
  if (typeof value !== "object" || value === null) return false;
  return "name" in value && typeof value.name === "string" && "load" in value && typeof value.load === "function";
}

/** Returns the definitions so that each comes after those it requires; otherwise in the order given. */
function inOrder(definitions: readonly ModuleDefinition[], loaded: ReadonlySet<string>): readonly ModuleDefinition[] {
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

function checkOptions(definition: ModuleDefinition, given: Readonly<Record<string, unknown>>): unknown {
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
