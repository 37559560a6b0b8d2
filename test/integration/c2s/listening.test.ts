// What the server says of where it listens.

import assert from "node:assert/strict";
import { startServer } from "../../../src/testing/start-server.ts";

describe("what a server listens for", function () {
  this.timeout(30_000);

  it("tells ports where TLS comes first from those with STARTTLS, by the names that units have for them", async () => {
    const running = await startServer();
    try {
      const { listening } = running.status;
      const names = listening.map((text) => text.split(" ")[0]);
      assert.deepEqual(names, ["c2s", "c2s-tls", "s2s"], listening.join());
      const { c2s, c2sTls, s2s } = running.ports;
      const ports = listening.map((text) => Number(text.split(":").at(-1)));
      assert.deepEqual(ports, [c2s, c2sTls, s2s]);
    } finally {
      await running.dispose();
    }
  });
});
