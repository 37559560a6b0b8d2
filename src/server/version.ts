// The version of this package, read from its package.json, which lies at the same place beside the sources and in the
// published package.

import { readFileSync } from "node:fs";

/** The version as in package.json. */
export const version: string = readVersion();

function readVersion(): string {
  // src/server/ in the source tree, dist/src/server/ when compiled.
  for (const up of ["../../package.json", "../../../package.json"]) {
    const file = new URL(up, import.meta.url);
    try {
      const found: unknown = JSON.parse(readFileSync(file, "utf8"));
      if (typeof found === "object" && found !== null && "version" in found) return String(found.version);
    } catch (thrown) {
      if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) throw thrown;
    }
  }
  throw new Error("package.json was not found");
}
