import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { OPERATION_NAMES } from "../../../src/config/operation-names.ts";

describe("docs/OPERATORS.md", () => {
  it("lists every operation, and none that there is not", () => {
    const text = readFileSync(new URL("../../../docs/OPERATORS.md", import.meta.url), "utf8");
    const section = text.slice(text.indexOf("### What can be asked for"));
    const table = section.slice(0, section.indexOf("\n## "));
    const listed = [...table.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, names = ""]) =>
      [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => name),
    );
    assert.deepEqual(new Set(listed), new Set(OPERATION_NAMES));
    assert.equal(listed.length, OPERATION_NAMES.length);
  });
});
