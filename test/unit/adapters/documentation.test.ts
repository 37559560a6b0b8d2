import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { HOST_PLAN } from "../../../src/adapters/node-xmpp-server/options.ts";
import { formatDuration } from "../../../src/util/units.ts";
import { EXAMPLE } from "../../support/node-xmpp-host.ts";

const PAGE = readFileSync(new URL("../../../docs/node-xmpp-server.md", import.meta.url), "utf8");

describe("docs/node-xmpp-server.md", () => {
  it("shows the example as it is, which the integration tests run", () => {
    const shown = /```js\n([\s\S]*?)```/.exec(PAGE)?.[1];
    assert.equal(shown, readFileSync(EXAMPLE, "utf8"));
  });

  it("names the phases in their order, and the least deadline", () => {
    const table = PAGE.slice(PAGE.indexOf("## What happens"));
    const named = [...table.matchAll(/^\| `([a-z0-9-]+)` \|/gm)].map((match) => match[1]);
    assert.deepEqual(
      named,
      HOST_PLAN.map(({ name }) => name),
    );
    const least = HOST_PLAN.reduce((sum, { floorMs }) => sum + floorMs, 0);
    assert.ok(PAGE.includes(`at least ${formatDuration(least).replace("s", " s")}`), formatDuration(least));
  });
});
