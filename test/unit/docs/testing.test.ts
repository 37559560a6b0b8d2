// Keeps docs/testing.md true: its example is the one that an outside project runs (test/integration/cli/package.test.ts), and
// it names every step, every act and everything that is exported.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as kit from "../../../src/testing/index.ts";

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
const guide = read("docs/testing.md");

/** The first column of the table that follows `heading` in the guide. */
function firstColumn(heading: RegExp): string[] {
  const rest = guide.slice(guide.search(heading));
  const rows = rest.slice(0, rest.indexOf("\n\n")).split("\n").slice(2);
  return rows.map((row) => /^\| `?([^`|]*?)`? \|/.exec(row)?.[1] ?? "");
}

/** The names in a list or a union of words in the source of the script. */
function words(name: string): string[] {
  const source = read("src/testing/peer/script.ts");
  const union = new RegExp(`(?:const|export type) ${name} =([^;]*);`).exec(source)?.[1] ?? "";
  return [...union.matchAll(/"([a-z-]+)"/g)].map((match) => match[1] ?? "");
}

describe("the guide for testers", () => {
  it("shows the example that an outside project runs", () => {
    const shown = /```ts file=shutdown\.test\.ts\n(.*?)```/s.exec(guide)?.[1];
    assert.equal(shown, read("docs/examples/testing/shutdown.test.ts"));
  });

  it("tells of every step of a script, and of every act", () => {
    assert.deepEqual(firstColumn(/\| step \|/), words("STEPS"));
    assert.deepEqual(firstColumn(/\| act \|/), [...words("Act"), "{ say: text }", "a function"]);
  });

  it("names everything that the kit exports", () => {
    const silent = Object.keys(kit).filter((name) => !guide.includes(name));
    assert.deepEqual(silent, []);
  });
});
