import assert from "node:assert/strict";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { told } from "../../support/test-modules/slow-goodbye/index.ts";
import { waitUntil } from "../../support/wire.ts";

describe("a resource that several bind", () => {
  let running: TestServer;

  before(async () => {
    running = await startServer(
      { modules: ["presence", "roster", "offline", "slow-goodbye"] },
      { moduleFolders: [new URL("../../support/test-modules/", import.meta.url)] },
    );
  });

  after(() => running.dispose());

  /** No session was said to be bound after it began to end, nor while another had the resource. */
  function assertOrder(): void {
    const seen = new Set<string>();
    let present = "";
    for (const line of told) {
      const [what, id = ""] = line.split(" ");
      if (what === "bound") {
        assert.ok(!seen.has(id) && present === "", `${line} in ${told.join(", ")}`);
        present = id;
      } else if (what === "ended" && id === present) present = "";
      seen.add(id);
    }
  }

  beforeEach(() => {
    told.length = 0;
  });

  it("goes to one of them, and modules hear of each only when they have let go of the one before", async () => {
    const holder = await running.login("romeo", "same");
    const clients = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const client = running.client({ username: "romeo", resource: "same", security: "direct" });
        await client.connect();
        await client.authenticate();
        return client;
      }),
    );
    await Promise.allSettled(clients.map((client) => client.bind()));
    assert.equal((await holder.ended).streamError, "conflict");
    await waitUntil(() => running.status.connections === 1, "one to be left");
    assert.equal(running.status.sessions, 1);
    assertOrder();
    assert.ok(told.length > 2);
  });

  it("waits for modules to let go of a session whose connection broke", async () => {
    const broken = await running.login("juliet", "same");
    broken.destroy();
    await waitUntil(() => told.some((line) => line.startsWith("ending")), "the end of the session to begin");
    const next = await running.login("juliet", "same");
    assertOrder();
    assert.equal(next.jid, "juliet@a.test/same");
    await next.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
  });
});
