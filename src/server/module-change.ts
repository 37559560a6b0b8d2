// What a change of the configuration asks of modules: which of them leave, are loaded anew with other options, or come; and
// all that can be said against it before any of them is touched. Carrying it out: module-loader.ts.

import { isDeepStrictEqual } from "node:util";
import type { LifecycleState } from "../shutdown/types.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { ModuleDefinition } from "./module-api.ts";
import { checkOptions, type FoundModule, findModules, inOrder, type ModuleOptions } from "./module-finder.ts";
import type { Loaded } from "./module-loader.ts";
import type { ModulePlaces } from "./module-resolver.ts";
import { quoted } from "./module-successor.ts";

/** Which modules there are to be, and with which options. */
export interface ModuleSettings {
  readonly entries: readonly string[];
  readonly options: ModuleOptions;
}

/** What a change of the configuration did to modules, by their names. */
export interface ModuleChange {
  readonly unloaded: readonly string[];
  readonly reloaded: readonly string[];
  readonly loaded: readonly string[];
}

/** What a change is going to do; options are checked ones. */
export interface ChangePlan {
  /** The last loaded first. */
  readonly leaving: readonly Loaded[];
  readonly reloaded: readonly { readonly old: Loaded; readonly options: unknown }[];
  readonly coming: readonly { readonly found: FoundModule; readonly options: unknown }[];
}

/** What is there now, and where more is to be found. */
export interface ChangeScene {
  /** In the order in which they were loaded. */
  readonly loaded: readonly Loaded[];
  readonly places: ModulePlaces;
  readonly lifecycle: { readonly state: LifecycleState };
}

/** Plans a change. Rejects with a MorendoError that has a line for everything that is wrong with `to`; changes nothing. */
export async function planChange(
  { from, to }: { readonly from: ModuleSettings; readonly to: ModuleSettings },
  { loaded, places, lifecycle }: ChangeScene,
): Promise<ChangePlan> {
  const isGone = (entry: string): boolean => from.entries.includes(entry) && !to.entries.includes(entry);
  const isLoaded = (entry: string): boolean => loaded.some(({ found }) => found.source?.entry === entry);
  const leaving = loaded.filter(({ found }) => isGone(found.source?.entry ?? "")).reverse();
  const staying = loaded.filter((one) => !leaving.includes(one));
  const entries = to.entries.filter((entry) => !from.entries.includes(entry) && !isLoaded(entry));
  const found = await findModules(entries, places);
  const names = new Set(staying.map(({ module }) => module.name));
  const ordered = inOrder(found, names);
  const faults: string[] = [];
  for (const { definition } of ordered) names.add(definition.name);
  for (const { found, module } of staying) {
    const missing = (found.definition.requires ?? []).filter((name) => !names.has(name));
    if (missing.length > 0) faults.push(`module "${module.name}" requires ${quoted(missing)}, which is not to stay`);
  }
  const noting = (definition: ModuleDefinition): unknown => {
    try {
      return checkOptions(definition, to.options[definition.name] ?? {});
    } catch (thrown) {
      faults.push(asError(thrown).message);
      return undefined;
    }
  };
  const coming = ordered.map((one) => ({ found: one, options: noting(one.definition) }));
  const reloaded = staying
    .filter(({ module: { name } }) => !isDeepStrictEqual(from.options[name] ?? {}, to.options[name] ?? {}))
    .map((old) => ({ old, options: noting(old.found.definition) }));
  if (faults.length > 0) throw new MorendoError("MORENDO_MODULE_OPTIONS", faults.join("\n"));
  const plan = { leaving, reloaded, coming };
  const { state } = lifecycle;
  if (state !== "running" && [leaving, reloaded, coming].some(({ length }) => length > 0)) {
    throw new MorendoError("MORENDO_MODULE_STATE", `modules cannot be changed while the server is ${state}`);
  }
  return plan;
}

/** Returns what is told of a change. */
export function changeOf({ leaving, reloaded, coming }: ChangePlan): ModuleChange {
  return {
    unloaded: leaving.map(({ module }) => module.name),
    reloaded: reloaded.map(({ old }) => old.module.name),
    loaded: coming.map(({ found }) => found.definition.name),
  };
}
