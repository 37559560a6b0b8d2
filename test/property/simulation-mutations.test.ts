// Bugs planted in the server on purpose: simulated runs must find each of them, or they prove nothing.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { plant } from "../support/mutated-tree.ts";
import { MUTATIONS, type Mutation } from "../support/mutations.ts";
import type { Findings } from "../support/simulation-child.ts";

/** The first of these seeds that breaks the rule will do; without the bug all of them break none. */
const SEEDS = 3_000;
/** Processes at a time. */
const AT_ONCE = 2;

describe("planted bugs", function () {
  this.timeout(300_000);
  const found = new Map<Mutation, Promise<Findings>>();

  before(() => {
    let last: Promise<unknown>[] = Array.from({ length: AT_ONCE }, () => Promise.resolve());
    for (const [index, mutation] of MUTATIONS.entries()) {
      const search = (last[index % AT_ONCE] ?? Promise.resolve()).then(() => hunt(mutation));
      found.set(mutation, search);
      last = last.with(
        index % AT_ONCE,
        search.catch(() => undefined),
      );
    }
  });

  for (const mutation of MUTATIONS) {
    it(`are found: ${mutation.name}`, async () => {
      const findings = await found.get(mutation);
      const rules = new Set(findings?.bad.flatMap(({ violations }) => violations.map(({ rule }) => rule)));
      assert.ok(
        mutation.breaks.some((rule) => rules.has(rule)),
        `${findings?.played} runs broke ${[...rules].join(", ") || "nothing"}, expected ${mutation.breaks.join(" or ")}`,
      );
    });
  }
});

async function hunt(mutation: Mutation): Promise<Findings> {
  const tree = await plant(mutation);
  try {
    const args = ["--import=tsx", "test/support/simulation-child.ts", "1", String(SEEDS), mutation.breaks.join(",")];
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      cwd: tree.path,
      maxBuffer: 64 * 1024 * 1024,
    });
    return JSON.parse(stdout) as Findings;
  } finally {
    await tree.remove();
  }
}
