// Loads modules in the order of what they require and unloads them in reverse. Finding and checking them is in
// module-finder.ts; what a module may do is in loaded-module.ts; what it does is its own business.

import { asError, MorendoError } from "../util/errors.ts";
import { type Element, xml } from "../xml/element.ts";
import { Announcements } from "./announcements.ts";
import { LoadedModule, type ModuleSurroundings } from "./loaded-module.ts";
import type { DiscoTarget, Handover, ModuleDefinition } from "./module-api.ts";
import { checkOptions, findModules, inOrder, type ModuleOptions } from "./module-finder.ts";

/** What the loader gives to modules, and where it finds them. */
export interface ModuleLoaderOptions extends Omit<ModuleSurroundings, "announcements"> {
  /** Folders with one folder per module, searched in order before the server's own. */
  readonly folders?: readonly URL[];
}

/** Loads and unloads modules. */
export class ModuleLoader {
  #surroundings: ModuleSurroundings;
  #folders: readonly URL[];
  #announcements = new Announcements();
  /** In the order in which they were loaded. */
  #loaded = new Map<string, LoadedModule>();

  constructor({ folders = [], ...surroundings }: ModuleLoaderOptions) {
    this.#folders = folders;
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
    await this.install(await findModules(names, this.#folders), options);
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

  /** Returns what the modules hand over, by name, in the order in which they were loaded. */
  *handovers(): Generator<readonly [string, Handover]> {
    for (const [name, { handedOver }] of this.#loaded) if (handedOver !== undefined) yield [name, handedOver];
  }

  /** Returns what the modules announce by service discovery. */
  announced(target: DiscoTarget): ReturnType<Announcements["announced"]> {
    return this.#announcements.announced(target);
  }

  /** Returns new elements for the stream features that modules offer to a client that has logged in. */
  streamFeatures(): Element[] {
    return this.#announcements.streamFeatures().map(({ namespace, name }) => xml(name, { xmlns: namespace }));
  }
}
