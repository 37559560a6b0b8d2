// How programs of this repository are run in processes of their own: from source through tsx, or, where `MORENDO_BUILT` names
// the folder of a build, as compiled, which saves most of the time that it takes to start. Only who has just built it
// (`make test`) sets the variable: without it nothing depends on when `dist` was made.

import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The loader of TypeScript for a child process, wherever that one runs. */
export const TSX = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

const BUILT = process.env.MORENDO_BUILT;

/** What Node is called with to run a program of this repository. */
export const LOADER: readonly string[] = BUILT === undefined ? ["--import", TSX] : [];

/** Node with that. */
export const NODE = [process.execPath, ...LOADER] as const;

/** The path of what a source file of this repository, or a folder of them, is run as. */
export function runnable(source: URL): string {
  const path = fileURLToPath(source);
  return BUILT === undefined ? path : join(BUILT, relative(ROOT, path).replace(/\.ts$/, ".js"));
}

/** The `morendo` command. */
export const MAIN = runnable(new URL("../../src/cli/main.ts", import.meta.url));
