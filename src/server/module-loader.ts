// Loads modules in the order of what they require, unloads them in reverse, and reloads one in its place. Finding and
// checking them is in module-finder.ts, and for a change of the configuration in module-change.ts; what a module may do is
// in loaded-module.ts; what it does is its own business.

import { fileURLToPath } from "node:url";
import { asError, MorendoError } from "../util/errors.ts";
import { type Element, xml } from "../xml/element.ts";
import { Announcements } from "./announcements.ts";
import { LoadedModule, type Registrations } from "./loaded-module.ts";
import type { DiscoTarget, Handover, ModuleDefinition } from "./module-api.ts";
import { type ChangePlan, changeOf, type ModuleChange, type ModuleSettings, planChange } from "./module-change.ts";
import type { FaultCounts } from "./module-faults.ts";
import { checkOptions, type FoundModule, findModules, inOrder, type ModuleOptions } from "./module-finder.ts";
import { importInTime, LOAD_LIMIT_MS, untilLoaded } from "./module-patience.ts";
import { type ModuleKind, type ModulePlaces, resolveModule } from "./module-resolver.ts";
import { checkSuccessor, quoted } from "./module-successor.ts";
import type { ModuleSurroundings } from "./module-surroundings.ts";

/** What the loader gives to modules, and where it finds them. */
export interface ModuleLoaderOptions extends Omit<ModuleSurroundings, "announcements">, ModulePlaces {}

/** What is told of a loaded module. */
export interface ModuleInfo {
  readonly name: string;
  /** How it was asked for; the name for one that the program brought along. */
  readonly entry: string;
  readonly kind: ModuleKind | "built in";
  /** The file it came from, if it came from one. */
  readonly file?: string;
  readonly requires: readonly string[];
  readonly requiredBy: readonly string[];
  /** How many registrations of each kind it has at the moment. */
  readonly registrations: Registrations;
  /** What it did wrong so far. */
  readonly faults: FaultCounts;
}

/** A module in its place. */
export interface Loaded {
  readonly found: FoundModule;
  readonly options: unknown;
  readonly module: LoadedModule;
  /** Its place among all, which it keeps when it is reloaded. */
  readonly rank: number;
}

/** Modules whose faults are kept after they were unloaded. */
const MAX_REMEMBERED = 100;

/** Loads and unloads modules. What is asked for while something else is under way waits for its turn. */
export class ModuleLoader {
  #surroundings: ModuleSurroundings;
  #places: ModulePlaces;
  /** All that were given so far, also for modules that are not loaded: they may be later. */
  #options: ModuleOptions = {};
  #announcements = new Announcements();
  /** In the order in which they were loaded. */
  #loaded = new Map<string, Loaded>();
  #nextRank = 0;
  #edition = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** Of modules that have been unloaded. */
  #pastFaults = new Map<string, FaultCounts>();

  constructor({ folders, base, ...surroundings }: ModuleLoaderOptions) {
    this.#places = { ...(folders !== undefined && { folders }), ...(base !== undefined && { base }) };
    this.#surroundings = { ...surroundings, announcements: this.#announcements };
  }

  /** The names of the loaded modules, in the order in which they were loaded. */
  get names(): readonly string[] {
    return [...this.#loaded.keys()];
  }

  /**
   * Finds the modules that `entries` mean and loads them with their `options`, which are kept for `add` and `reload`. Rejects with a MorendoError that names the module when one is
   * not there, fails or has bad options; then none of `entries` stays loaded.
   */
  async load(entries: readonly string[], options: ModuleOptions = {}): Promise<void> {
    await this.#inTurn(async () => this.#install(await findModules(entries, this.#places), options));
  }

  /** Loads modules that are at hand already, by the same rules as `load`. */
  async install(definitions: readonly ModuleDefinition[], options: ModuleOptions = {}): Promise<void> {
    const found = definitions.map((definition) => ({ definition, source: undefined }));
    await this.#inTurn(() => this.#install(found, options));
  }

  /**
   * Loads one more module while the server runs, with its configured options, and resolves to its name. Sessions that
   * are bound already are not told to it. Rejects like `load`, with `MORENDO_STOPPING` when the server goes down, and
   * when the module has not loaded in half a minute.
   */
  add(entry: string): Promise<string> {
    return this.#inTurn(async () => {
      this.#mustServe(`module "${entry}" cannot be loaded`);
      const found = await this.#readAnew(entry);
      await this.#install([found], this.#only(found), LOAD_LIMIT_MS);
      return found.definition.name;
    });
  }

  /**
   * Unloads a module while the server runs. Rejects with `MORENDO_MODULE_UNKNOWN` when it is not loaded, with
   * `MORENDO_MODULE_REQUIRED` when others that are loaded require it, and with `MORENDO_STOPPING` when the server goes
   * down, which unloads it anyway when nobody needs it any more.
   */
  remove(name: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#mustServe(`module "${name}" cannot be unloaded`);
      this.#get(name);
      const others = this.#requiredBy(name);
      if (others.length > 0) {
        const message = `module "${name}" cannot be unloaded: it is required by ${quoted(others)}`;
        throw new MorendoError("MORENDO_MODULE_REQUIRED", message);
      }
      await this.unload(name);
    });
  }

  /**
   * Loads the code of a module anew and puts it into the place of the old, also when others require it; options and
   * place in the order stay. Between the two there is a moment without the module. Whatever is wrong with the new code
   * is told by a rejection with a MorendoError, and the old module serves on: it was not touched, or, when the new one
   * failed only while it loaded, it is loaded again.
   *
   * Only the module's own file is read anew; the files that this one imports are as they were first read. Node keeps
   * what it has read, so each reload costs the memory of the code.
   */
  reload(name: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#mustServe(`module "${name}" cannot be reloaded`);
      const old = this.#get(name);
      const { source } = old.found;
      if (source === undefined) {
        throw new MorendoError(
          "MORENDO_MODULE_MISUSE",
          `module "${name}" was not loaded from a file: it cannot be reloaded`,
        );
      }
      const found = await this.#readAnew(source.entry);
      const options = checkSuccessor(name, found, { loaded: this.#loaded, options: this.#options });
      await old.module.unload();
      this.#remember(old);
      try {
        await this.#begin({ found, options, rank: old.rank }, LOAD_LIMIT_MS);
      } catch (thrown) {
        await this.#putBack(old, asError(thrown));
      }
    });
  }

  /** Rejects with everything that is wrong with `to`, a line for each, as `change` would; changes nothing. */
  checkChange(from: ModuleSettings, to: ModuleSettings): Promise<ModuleChange> {
    return this.#inTurn(async () => changeOf(await this.#planChange(from, to)));
  }

  /**
   * Goes over from one configuration to another while the server runs: unloads the modules whose entries are gone, reloads
   * those whose options differ, with the code they have, and loads those that are new. Modules that were loaded or unloaded
   * by hand stay as they are. Rejects as `checkChange` does, and when a module fails to load: then every module is as it was.
   */
  change(from: ModuleSettings, to: ModuleSettings): Promise<ModuleChange> {
    return this.#inTurn(async () => {
      const plan = await this.#planChange(from, to);
      const undo: (() => Promise<void>)[] = [];
      try {
        for (const old of plan.leaving) {
          undo.push(() => this.#restore(old));
          await old.module.unload();
          this.#remember(old);
        }
        for (const { old, options } of plan.reloaded) {
          undo.push(() => this.#restore(old));
          await old.module.unload();
          this.#remember(old);
          await this.#begin({ found: old.found, options, rank: old.rank }, LOAD_LIMIT_MS);
        }
        for (const old of plan.leaving) this.#loaded.delete(old.module.name);
        for (const { found, options } of plan.coming) {
          undo.push(() => this.unload(found.definition.name));
          await this.#begin({ found, options, rank: this.#nextRank++ }, LOAD_LIMIT_MS);
        }
      } catch (thrown) {
        throw await this.#takenBack(asError(thrown), undo);
      }
      this.#options = to.options;
      return changeOf(plan);
    });
  }

  /** Undoes everything the module registered, last first, then lets it tidy up. What fails is logged under its name. */
  async unload(name: string, limitMs?: number): Promise<void> {
    const loaded = this.#loaded.get(name);
    if (loaded === undefined) return;
    this.#loaded.delete(name);
    await loaded.module.unload(limitMs);
    this.#remember(loaded);
  }

  /**
   * Unloads all modules in the reverse order of loading, for good: none is loaded any more. With `remaining` (the
   * milliseconds left) none of them may take more than half of what is left when its turn comes.
   */
  async unloadAll(remaining?: () => number): Promise<void> {
    this.#isClosed = true;
    for (const name of this.names.toReversed()) {
      await (remaining === undefined ? this.unload(name) : this.unload(name, remaining() / 2));
    }
  }

  /** Returns what there is to tell of every loaded module, in the order in which they were loaded. */
  list(): readonly ModuleInfo[] {
    return Array.from(this.#loaded, ([name, { found, module }]) => {
      const { definition, source } = found;
      return {
        name,
        entry: source?.entry ?? name,
        kind: source?.kind ?? "built in",
        ...(source !== undefined && { file: fileURLToPath(source.url) }),
        requires: definition.requires ?? [],
        requiredBy: this.#requiredBy(name),
        registrations: module.registrations,
        faults: module.faults.counts,
      };
    });
  }

  /** Returns what modules did wrong, by name; those that did nothing wrong are left out. */
  faults(): Readonly<Record<string, FaultCounts>> {
    const all = new Map(this.#pastFaults);
    for (const [name, { module }] of this.#loaded) addFaults(all, name, module.faults.counts);
    return Object.fromEntries(all);
  }

  /** Records a fault of a module that was found and logged elsewhere; tells whether to log more of them. */
  blame(name: string, what: string): boolean {
    return this.#loaded.get(name)?.module.faults.count(what) ?? true;
  }

  /** Returns what the modules hand over, by name, in the order in which they were loaded. */
  *handovers(): Generator<readonly [string, Handover]> {
    for (const [name, { module }] of this.#loaded) if (module.handedOver !== undefined) yield [name, module.handedOver];
  }

  /** Returns what the modules announce by service discovery. */
  announced(target: DiscoTarget): ReturnType<Announcements["announced"]> {
    return this.#announcements.announced(target);
  }

  /** Returns new elements for the stream features that modules offer to a client that has logged in. */
  streamFeatures(): Element[] {
    return this.#announcements.streamFeatures().map(({ namespace, name }) => xml(name, { xmlns: namespace }));
  }

  async #install(modules: readonly FoundModule[], options: ModuleOptions, limitMs?: number): Promise<void> {
    const ordered = inOrder(modules, new Set(this.#loaded.keys()));
    // All options are checked before anything is loaded: a typing error must not leave half a server.
    const checked = ordered.map(({ definition }) => checkOptions(definition, options[definition.name] ?? {}));
    for (const name of Object.keys(options)) {
      if (this.#loaded.has(name) || ordered.some(({ definition }) => definition.name === name)) continue;
      this.#surroundings.log.warn({ module: name }, `[module.${name}] has options, but the module is not loaded`);
    }
    this.#options = { ...this.#options, ...options };
    const begun: string[] = [];
    for (const [index, found] of ordered.entries()) {
      begun.push(found.definition.name);
      try {
        await this.#begin({ found, options: checked[index], rank: this.#nextRank++ }, limitMs);
      } catch (thrown) {
        for (const name of begun.reverse()) await this.unload(name);
        throw thrown;
      }
    }
  }

  /** Lets a module register what it does. When that fails the module is still to be unloaded. */
  async #begin(place: Omit<Loaded, "module">, limitMs?: number): Promise<void> {
    const { definition } = place.found;
    const { name } = definition;
    if (this.#isClosed)
      throw new MorendoError("MORENDO_STOPPING", `module "${name}" cannot be loaded: the server stops`);
    const module = new LoadedModule(name, this.#surroundings, place.rank);
    this.#loaded.set(name, { ...place, module });
    try {
      await untilLoaded(module, module.run(definition, place.options), this.#surroundings, limitMs);
    } catch (thrown) {
      const message = `module "${name}" failed to load: ${asError(thrown).message}`;
      throw new MorendoError("MORENDO_MODULE_FAILED", message, { cause: thrown });
    }
  }

  /** Loads the old module again after the new one has failed, and throws what is to be told. */
  async #putBack(old: Loaded, failure: Error): Promise<never> {
    const { name } = old.found.definition;
    const broken = this.#loaded.get(name);
    if (broken !== undefined && broken !== old) {
      await broken.module.unload();
      this.#remember(broken);
    }
    try {
      await this.#begin({ found: old.found, options: old.options, rank: old.rank }, LOAD_LIMIT_MS);
    } catch (thrown) {
      await this.unload(name);
      const others = this.#requiredBy(name);
      const needed = others.length === 0 ? "" : `, and ${quoted(others)} must do without it`;
      const message = `${failure.message}; the old one does not load again either (${asError(thrown).message}): it is not loaded any more${needed}`;
      this.#surroundings.log.error({ err: thrown, module: name }, message);
      throw new MorendoError("MORENDO_MODULE_FAILED", message, { cause: failure });
    }
    const message = `${failure.message}; the old one is loaded again`;
    throw new MorendoError("MORENDO_MODULE_FAILED", message, { cause: failure });
  }

  #planChange(from: ModuleSettings, to: ModuleSettings): Promise<ChangePlan> {
    const { lifecycle } = this.#surroundings;
    return planChange({ from, to }, { loaded: [...this.#loaded.values()], places: this.#places, lifecycle });
  }

  /** Puts a module back as it was, in its place. */
  async #restore({ found, options, rank, module }: Loaded): Promise<void> {
    const present = this.#loaded.get(module.name);
    if (present !== undefined && present.module !== module) await present.module.unload();
    await this.#begin({ found, options, rank }, LOAD_LIMIT_MS);
  }

  /** Takes the steps of a change back, the last first, and returns the error that tells of it. */
  async #takenBack(failure: Error, undo: readonly (() => Promise<void>)[]): Promise<MorendoError> {
    const lost: string[] = [];
    for (const one of [...undo].reverse()) {
      try {
        await one();
      } catch (thrown) {
        lost.push(asError(thrown).message);
      }
    }
    // The order of loading is the order of what modules require, and what was put back may have come out of it.
    this.#loaded = new Map([...this.#loaded].sort(([, a], [, b]) => a.rank - b.rank));
    if (lost.length === 0) return new MorendoError("MORENDO_MODULE_FAILED", failure.message, { cause: failure });
    const message = `${failure.message}; not everything could be put back: ${lost.join("; ")}`;
    this.#surroundings.log.error({ err: failure }, message);
    return new MorendoError("MORENDO_MODULE_FAILED", message, { cause: failure });
  }

  #mustServe(what: string): void {
    const { state } = this.#surroundings.lifecycle;
    if (state === "running" && !this.#isClosed) return;
    throw new MorendoError("MORENDO_STOPPING", `${what} now: the server is ${this.#isClosed ? "stopping" : state}`);
  }

  #get(name: string): Loaded {
    const loaded = this.#loaded.get(name);
    if (loaded !== undefined) return loaded;
    const message = `module "${name}" is not loaded; loaded are ${this.names.join(", ")}`;
    throw new MorendoError("MORENDO_MODULE_UNKNOWN", message);
  }

  #requiredBy(name: string): string[] {
    const others: string[] = [];
    for (const [other, { found }] of this.#loaded) if (found.definition.requires?.includes(name)) others.push(other);
    return others;
  }

  /** The configured options of one module, and no others. */
  #only({ definition }: FoundModule): ModuleOptions {
    const options = this.#options[definition.name];
    return options === undefined ? {} : { [definition.name]: options };
  }

  async #readAnew(entry: string): Promise<FoundModule> {
    return importInTime(await resolveModule(entry, this.#places), ++this.#edition, this.#surroundings);
  }

  #remember({ module }: Loaded): void {
    if (this.#pastFaults.size < MAX_REMEMBERED) addFaults(this.#pastFaults, module.name, module.faults.counts);
  }

  /** Runs `work` when everything that was asked for before is over. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }
}

function addFaults(all: Map<string, FaultCounts>, name: string, more: FaultCounts): void {
  const sum: Record<string, number> = { ...all.get(name) };
  for (const [what, count] of Object.entries(more)) sum[what] = (sum[what] ?? 0) + count;
  if (Object.keys(sum).length > 0) all.set(name, sum);
}
