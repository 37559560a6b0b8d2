import assert from "node:assert/strict";
import { InProcessServer } from "../../support/in-process-server.ts";
import { told } from "../../support/test-modules/slow-goodbye/index.ts";
import { waitUntil } from "../../support/wire.ts";

describe("a resource that several bind", () => {
  let running: InProcessServer;

  before(async () => {
    running = await InProcessServer.start({
      moduleFolders: [new URL("../../support/test-modules/", import.meta.url)],
      config: { modules: ["presence", "roster", "offline", "slow-goodbye"] },
    });
  });

  after(() => running.dispose());

  it("goes to the last, and modules hear of no session that it is bound after it has ended", async () => {
    const holder = await running.login("romeo", "same");
    const clients = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const client = running.client({ username: "romeo", resource: "same", security: "direct" });
        await client.connect();
        await client.authenticate();
        return client;
      }),
    );
    // All of them wait for the holder to be gone, and then go on in the same moment.
    await Promise.allSettled(clients.map((client) => client.bind()));
    assert.equal((await holder.ended).streamError, "conflict");
    await waitUntil(() => running.server.status().connections === 1, "one to be left");
    assert.equal(running.server.status().sessions, 1);
    const bound = new Set<string>();
    const ended = new Set<string>();
    for (const line of told) {
      const [what, id = ""] = line.split(" ");
      if (what === "bound") {
        assert.ok(!ended.has(id), `${id} was bound after it had ended: ${told.join(", ")}`);
        bound.add(id);
      } else ended.add(id);
    }
    assert.ok(bound.size >= 2);
  });

  it("may have any priority that there is; others count as 0", async () => {
    const [wrong, right] = [await running.login("juliet", "wrong"), await running.login("juliet", "right")];
    right.presence("<presence><priority>5</priority></presence>");
    for (const priority of ["1000", "1e3", "0x7f", "Infinity"]) {
      wrong.presence(`<presence><priority>${priority}</priority></presence>`);
      await wrong.iq("get", "<query xmlns='jabber:iq:roster'/>");
      await right.iq("get", "<query xmlns='jabber:iq:roster'/>");
      const heard = right.received.length;
      wrong.send("<message to='juliet@a.test'><body>who?</body></message>");
      await right.waitFor((xml) => xml.startsWith("<message"), { since: heard });
    }
  });
});
