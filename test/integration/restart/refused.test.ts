// When a restart is out of place: it is refused, and what is under way goes on. What fails midway: failures.test.ts.

import assert from "node:assert/strict";
import { startServer } from "../../../src/testing/start-server.ts";

const command = { command: process.execPath, args: ["--version"], cwd: process.cwd(), env: {} };
const REQUEST = { reason: "a test", trigger: "test", command };

describe("a restart is refused", () => {
  it("while the server goes down, and the stop goes on; and after that", async () => {
    await using server = await startServer();
    const stopped = server.stop();
    const during = await server.server.restart(REQUEST);
    assert.equal(during.ok === false && during.step, "refused");
    assert.match(during.ok ? "" : during.why, /stopping/);
    assert.equal((await stopped).outcome, "clean");
    const after = await server.server.restart(REQUEST);
    assert.match(after.ok ? "" : after.why, /stopped/);
  });
});
