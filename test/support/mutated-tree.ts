// A copy of the sources with one bug planted in it, in a temporary folder, ready to be run by tsx.

import assert from "node:assert/strict";
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mutation } from "./mutations.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A folder with mutated sources. */
export interface MutatedTree {
  readonly path: string;
  readonly remove: () => Promise<void>;
}

/** Copies what a simulation needs and plants the bug. Fails unless the place to plant it is there exactly once. */
export async function plant(mutation: Mutation): Promise<MutatedTree> {
  const { path, remove } = await temporaryFolder();
  await mkdir(join(path, "test/support"), { recursive: true });
  for (const name of ["src", "modules", "package.json", "tsconfig.json", "test/support/simulation-child.ts"]) {
    await cp(join(ROOT, name), join(path, name), { recursive: true });
  }
  await symlink(join(ROOT, "node_modules"), join(path, "node_modules"));
  const file = join(path, mutation.file);
  const parts = (await readFile(file, "utf8")).split(mutation.find);
  assert.equal(parts.length, 2, `${mutation.file} has this ${parts.length - 1} times: ${mutation.find}`);
  await writeFile(file, parts.join(mutation.replace));
  return { path, remove };
}
