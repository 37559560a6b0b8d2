// What HTTP answers where nothing is, and where something is that wants another method.

import assert from "node:assert/strict";
import { HttpScene } from "../../support/http.ts";

describe("paths of the HTTP side", function () {
  this.timeout(30_000);

  it("tells an operation that does not exist from one that is asked for in the wrong way", async () => {
    await using scene = await HttpScene.start();
    const cases = [
      ["GET", "/api/explode", 404],
      ["DELETE", "/api/explode", 404],
      ["GET", "/api/", 404],
      ["GET", "/api/constructor", 404],
      ["POST", "/api/explode", 404],
      ["GET", "/api/stop", 405],
      ["DELETE", "/api/status", 405],
      ["POST", "/live", 405],
    ] as const;
    for (const [method, path, status] of cases) {
      const response = await scene.ask(path, { method });
      await response.arrayBuffer();
      assert.equal(response.status, status, `${method} ${path}`);
    }
    for (const path of ["/api/explode", "/nowhere"]) {
      const response = await scene.ask(path, { authorization: null });
      await response.arrayBuffer();
      assert.equal(response.status, 401, "whoever may not ask learns nothing");
    }
  });
});
