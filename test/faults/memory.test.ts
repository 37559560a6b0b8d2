// Memory near its configured ceiling: whoever is new is told to come again later, whoever is there goes on, other servers get
// and send what is under way, and a stop is as good as any other.

import assert from "node:assert/strict";
import offline from "../../modules/offline/index.ts";
import ping from "../../modules/ping/index.ts";
import presence from "../../modules/presence/index.ts";
import roster from "../../modules/roster/index.ts";
import type { RawClient } from "../../src/testing/raw-client.ts";
import { MemoryLives } from "../support/memory-lives.ts";

const MAX = 100 * 1024 ** 2;

describe("A server with too much memory in use", () => {
  let lives: MemoryLives;
  let used: number;
  let romeo: RawClient;

  beforeEach(async () => {
    used = MAX / 2;
    lives = new MemoryLives(
      { s2s: { require_tls: false }, limits: { max_memory: "100MiB" } },
      { accounts: ["romeo", "juliet"], modules: [roster, presence, offline, ping], memoryUsed: () => used },
    );
    await lives.peer({ domain: "b.test" });
    await lives.peer({ domain: "new.test" });
    await lives.start();
    romeo = lives.client({ username: "romeo", resource: "1" });
    await lives.pass(romeo.login());
    romeo.presence();
    romeo.send("<message to='x@b.test' id='first' type='chat'><body>hi</body></message>");
    await lives.until(
      () => lives.arrivedAt("b.test").length === 1,
      () => "the first message",
    );
    used = MAX + 1;
    await lives.clock.advance(3_000);
  });

  afterEach(() => lives.end());

  /** What a client hears that tries to log in. */
  const tried = async (): Promise<string | undefined> => {
    const juliet = lives.client({ username: "juliet", resource: "1" });
    try {
      await lives.pass(juliet.login());
      return "let in";
    } catch {
      return (await lives.pass(juliet.ended)).streamError;
    }
  };

  it("refuses new clients and new servers, and goes on with those that are there", async () => {
    assert.equal(await tried(), "resource-constraint");
    const [known, stranger] = lives.peers;
    known?.send("<message from='x@b.test' to='romeo@a.test' id='in' type='chat'><body>back</body></message>");
    await lives.pass(romeo.waitFor((xml) => xml.includes('id="in"') || xml.includes("id='in'")));
    stranger?.send("<message from='x@new.test' to='romeo@a.test' id='no' type='chat'><body>no</body></message>");
    await lives.until(
      () => stranger?.history().includes("resource-constraint") === true,
      () => stranger?.history() ?? "",
    );
    assert.ok(!romeo.received.some(({ xml }) => xml.includes("<body>no</body>")));
  });

  it("lets everybody in again when there is clearly less", async () => {
    used = MAX - 1;
    await lives.clock.advance(3_000);
    assert.equal(await tried(), "resource-constraint", "just below is not enough");
    used = MAX * 0.9;
    await lives.clock.advance(3_000);
    assert.equal(await tried(), "let in");
  });

  it("goes down as well as ever, with everything delivered and proved", async () => {
    romeo.send("<message to='x@b.test' id='last' type='chat'><body>hi</body></message>");
    romeo.send("<message to='x@new.test' id='cold' type='chat'><body>hi</body></message>");
    await lives.clock.advance(1);
    const report = await lives.pass(lives.server.stop(), 10);
    assert.equal(report.outcome, "clean", JSON.stringify(report.obligations));
    assert.equal(lives.arrivedAt("b.test").length, 2);
    assert.equal(lives.arrivedAt("new.test").length, 1);
  });
});
