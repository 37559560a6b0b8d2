// From an entry of `modules` to the file that it means: one of the server's own modules, a path, or an npm package. Knows
// nothing of what is in the file; importing it is in module-finder.ts.

import { existsSync, statSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { asError, MorendoError } from "../util/errors.ts";

/** Where modules are looked for. */
export interface ModulePlaces {
  /** Folders with one folder per module, searched in order before the server's own. */
  readonly folders?: readonly URL[];
  /**
   * What paths are relative to and where packages are resolved from: the configuration file's folder. The working
   * directory unless given.
   */
  readonly base?: string;
}

/** `own`: found by its name in a folder of modules. */
export type ModuleKind = "own" | "path" | "package";

/** The file that an entry means. */
export interface ModuleSource {
  /** As it stands in the configuration. */
  readonly entry: string;
  readonly kind: ModuleKind;
  readonly url: URL;
}

/** `modules/` beside `src/`, in the source tree and in the compiled package alike. */
const OWN_MODULES = new URL("../../modules/", import.meta.url);
/** Compiled first: beside an index.js an index.ts is only its source. */
const INDEX_FILES = ["index.js", "index.ts"] as const;

const MODULE_NAME = /^[a-z0-9]+(-[a-z0-9]+)*$/;
/** A package as `import` takes it, with a path into it or without. */
const PACKAGE = /^(@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*(\/[^\\]+)?$/i;

/** Tells whether `text` can be a module's name: kebab-case. */
export function isModuleName(text: string): boolean {
  return MODULE_NAME.test(text);
}

/**
 * Finds the file that `entry` means. A path begins with `./`, `../` or `/` and is a file, or a folder with an index.js or
 * index.ts. `npm:NAME` is a package, and so are `@scope/name` and any other name that is not among the modules in the
 * folders and the server's own: those come first. Packages are resolved by Node's own rules for `import`, `exports`
 * included. Rejects with `MORENDO_MODULE_UNKNOWN`, which names the entry and where it was looked for.
 */
export async function resolveModule(entry: string, places: ModulePlaces): Promise<ModuleSource> {
  const base = resolve(places.base ?? ".");
  if (/^\.{0,2}\//.test(entry) || isAbsolute(entry)) {
    return { entry, kind: "path", url: resolvePath(entry, base) };
  }
  const isForced = entry.startsWith("npm:");
  const name = isForced ? entry.slice(4) : entry;
  const folders = [...(places.folders ?? []), OWN_MODULES];
  const mayBeOwn = !isForced && isModuleName(name);
  const own = mayBeOwn ? findOwn(name, folders) : undefined;
  if (own !== undefined) return { entry, kind: "own", url: own };
  if (!PACKAGE.test(name) || name.includes("/../")) {
    const message = `"${entry}" is neither a module's name (kebab-case), nor a path (./, ../ or /), nor a package (npm:NAME)`;
    throw new MorendoError("MORENDO_MODULE_UNKNOWN", message);
  }
  const resolved = await resolvePackage(name, base);
  if ("url" in resolved) return { entry, kind: "package", url: new URL(resolved.url) };
  const where = folders.map((folder) => fileURLToPath(folder)).join(", ");
  const first = mayBeOwn ? `there is no module "${entry}" in ${where}, and` : `module "${entry}":`;
  const message = `${first} no package "${name}" can be imported from ${base}: ${resolved.problem}`;
  throw new MorendoError("MORENDO_MODULE_UNKNOWN", message);
}

function findOwn(name: string, folders: readonly URL[]): URL | undefined {
  for (const folder of folders) {
    for (const file of INDEX_FILES) {
      const url = new URL(`${name}/${file}`, folder);
      if (existsSync(url)) return url;
    }
  }
  return undefined;
}

function resolvePath(entry: string, base: string): URL {
  const path = resolve(base, entry);
  const unknown = (why: string): MorendoError =>
    new MorendoError("MORENDO_MODULE_UNKNOWN", `module "${entry}": ${why} (paths are relative to ${base})`);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw unknown(`there is no ${path}`);
  if (!found.isDirectory()) return pathToFileURL(path);
  const index = INDEX_FILES.map((file) => join(path, file)).find((file) => existsSync(file));
  if (index === undefined) throw unknown(`there is no index.js or index.ts in ${path}`);
  return pathToFileURL(index);
}

/**
 * `import.meta.resolve` takes the place to resolve from only behind a flag, which a thread can have without the process.
 * So Node's own algorithm decides, and no copy of it here has to be kept up.
 */
const RESOLVER = `import { parentPort, workerData } from "node:worker_threads";
let answer;
try { answer = { url: import.meta.resolve(workerData.specifier, workerData.from) }; }
catch (thrown) { answer = { problem: String(thrown?.message ?? thrown) }; }
parentPort.postMessage(answer);`;

type Resolved = { readonly url: string } | { readonly problem: string };

async function resolvePackage(specifier: string, base: string): Promise<Resolved> {
  const answer = await askResolver(specifier, base);
  if ("problem" in answer) return answer;
  // A name such as "fs" is a part of Node, and none of a module.
  if (!answer.url.startsWith("file:")) return { problem: `it is ${answer.url}, which is not a file` };
  return existsSync(new URL(answer.url)) ? answer : { problem: `there is no ${fileURLToPath(answer.url)}` };
}

function askResolver(specifier: string, base: string): Promise<Resolved> {
  return new Promise((done) => {
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(RESOLVER)}`), {
      execArgv: ["--experimental-import-meta-resolve"],
      env: {},
      name: "module resolver",
      workerData: { specifier, from: pathToFileURL(join(base, "morendo.toml")).href },
    });
    worker.once("message", (answer: Resolved) => done(answer));
    worker.once("error", (thrown) => done({ problem: asError(thrown).message }));
    worker.once("exit", () => done({ problem: "the resolver ended without an answer" }));
  });
}
