// How `morendo module list` reads for people.

import assert from "node:assert/strict";
import { describeModules } from "../../../src/cli/commands/module.ts";
import type { ModuleInfo } from "../../../src/server/module-loader.ts";

const MODULE: ModuleInfo = {
  name: "knock",
  kind: "own",
  entry: "knock",
  requires: [],
  requiredBy: [],
  registrations: {},
  faults: {},
};

describe("describeModules", () => {
  it("counts one as one and more as more", () => {
    const kinds = ["features", "identities", "handovers", "streamFeatures", "participants", "commands"];
    const all = (count: number): ModuleInfo => ({
      ...MODULE,
      registrations: Object.fromEntries(kinds.map((kind) => [kind, count])),
    });
    assert.equal(
      describeModules([all(1)]),
      "knock  own; 1 feature, 1 identity, 1 handover, 1 stream feature, 1 participant in phases, 1 command",
    );
    assert.equal(
      describeModules([all(2)]),
      "knock  own; 2 features, 2 identities, 2 handovers, 2 stream features, 2 participants in phases, 2 commands",
    );
  });
});
