// Which values count as stanza errors. How they are read and written is tested with the router and the modules.

import assert from "node:assert/strict";
import { StanzaError } from "../../../src/stanza/stanza-error.ts";

// Node keeps a copy of a file for each address it was asked for under, as it does for each way of loading it.
const again: string = "../../../src/stanza/stanza-error.ts?again";
const copy: typeof import("../../../src/stanza/stanza-error.ts") = await import(again);

describe("a stanza error", () => {
  it("is one for other copies of the package, too", () => {
    assert.notEqual(copy.StanzaError, StanzaError);
    assert.ok(new copy.StanzaError("forbidden") instanceof StanzaError);
    assert.ok(new StanzaError("forbidden") instanceof copy.StanzaError);
  });

  it("is nothing else that has a condition", () => {
    for (const value of [undefined, null, "forbidden", {}, { condition: "forbidden", type: "auth" }, StanzaError]) {
      assert.equal((value as unknown) instanceof StanzaError, false, typeof value);
    }
  });
});
