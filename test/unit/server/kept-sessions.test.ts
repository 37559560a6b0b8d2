// Sessions that go on after a stop and a start, on a clock moved by hand and a network in memory, with the real modules.

import assert from "node:assert/strict";
import { MemoryStore } from "../../../src/store/memory.ts";
import type { Store, Value } from "../../../src/store/store.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { MemoryNetwork } from "../../../src/testing/memory-network.ts";
import type { RawClient, RawClientOptions } from "../../../src/testing/raw-client.ts";
import { startServer, type TestConfig, type TestServer } from "../../../src/testing/start-server.ts";
import { SmClient } from "../../support/sm-client.ts";

const ACCOUNTS = ["romeo", "juliet", "nurse"];

/** One disk and one calendar for several lives of a server. */
class Lives {
  readonly clock = new ManualClock();
  readonly network = new MemoryNetwork({ clock: this.clock });
  readonly disk = new MemoryStore();
  config: TestConfig = {};
  #running: TestServer | undefined;
  #isFilled = false;

  get server(): TestServer {
    assert.ok(this.#running !== undefined);
    return this.#running;
  }

  async start(options: Parameters<typeof startServer>[1] = {}): Promise<void> {
    const { clock, network } = this;
    const store: Store = Object.assign(Object.create(this.disk) as Store, {});
    for (const name of ["get", "put", "delete", "batch", "range", "append", "flushed"] as const) {
      Object.assign(store, { [name]: (this.disk[name] as (...args: never[]) => unknown).bind(this.disk) });
    }
    // The disk outlives the process.
    Object.assign(store, { close: () => this.disk.flushed() });
    const accounts = this.#isFilled ? [] : ACCOUNTS;
    this.#isFilled = true;
    this.#running = await this.pass(
      startServer(this.config, { accounts, clock, network, store, checkLeaks: false, ...options }),
    );
    if (accounts.length === 0) return;
    for (const one of ACCOUNTS) {
      for (const other of ACCOUNTS) if (one !== other) await this.#befriend(one, other);
    }
  }

  async stop(): Promise<void> {
    await this.pass(this.server.stop(), 50);
    await this.pass(this.server.dispose(), 50);
    this.#running = undefined;
  }

  async close(): Promise<void> {
    if (this.#running !== undefined) await this.pass(this.#running.dispose(), 50);
  }

  client(options: Partial<RawClientOptions> = {}): RawClient {
    const { clock, network } = this;
    return this.server.client({ clock, network, security: "direct", mechanism: "PLAIN", ...options });
  }

  async start1(username: string, resource = "1", presence = "<presence/>"): Promise<SmClient> {
    const client = await this.pass(SmClient.start(this, username, resource));
    client.raw.presence(presence);
    await this.clock.advance(20);
    return client;
  }

  async plain(username: string, resource = "plain"): Promise<RawClient> {
    const client = this.client({ username, resource });
    await this.pass(client.login());
    client.presence();
    await this.clock.advance(20);
    return client;
  }

  async resume(client: SmClient): Promise<SmClient> {
    const back = await this.pass(SmClient.resume(this, client.identity));
    await this.clock.advance(50);
    return back;
  }

  kept(): Promise<readonly (readonly [readonly (string | number)[], Value])[]> {
    return this.disk.range("kept-sessions", []);
  }

  async pass<T>(work: Promise<T>, stepMs = 1): Promise<T> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    work.then(over, over);
    while (!isOver) await this.clock.advance(stepMs);
    return await work;
  }

  async #befriend(one: string, other: string): Promise<void> {
    const { Jid } = await import("../../../src/jid/jid.ts");
    await this.server.server.rosters.importItems(Jid.of(one, "a.test"), [
      { jid: `${other}@a.test`, subscription: "both", groups: [] },
    ]);
  }
}

const presences = (client: RawClient, from: string): string[] =>
  client.received
    .filter(({ xml }) => xml.startsWith("<presence") && xml.includes(`from="${from}"`))
    .map(({ xml }) => (/type="unavailable"/.test(xml) ? "unavailable" : "available"));

describe("sessions over a stop and a start", () => {
  let lives: Lives;

  beforeEach(() => {
    lives = new Lives();
  });

  afterEach(() => lives.close());

  describe('with shutdown.resumable = "end"', () => {
    beforeEach(() => lives.start());

    it("are resumed, with what waited for them, and their contacts see them again", async () => {
      const juliet = await lives.start1("juliet");
      const romeo = await lives.plain("romeo");
      juliet.answers = false;
      juliet.raw.stopReading();
      romeo.send("<message to='juliet@a.test/1' id='m1' type='chat'><body>m1</body></message>");
      await lives.clock.advance(20);
      await lives.stop();
      assert.deepEqual(presences(romeo, "juliet@a.test/1"), ["available", "unavailable"]);
      assert.equal((await lives.kept()).length > 0, true);
      await lives.start();
      assert.deepEqual(await lives.kept(), []);
      assert.equal(lives.server.status.hibernating, 1);
      const again = await lives.plain("romeo");
      assert.deepEqual(presences(again, "juliet@a.test/1"), []);
      const back = await lives.resume(juliet);
      back.resumed();
      assert.deepEqual(back.bodies, ["m1"]);
      assert.deepEqual(presences(again, "juliet@a.test/1"), ["available"]);
      assert.deepEqual(presences(back.raw, "romeo@a.test/plain"), ["available"]);
    });
  });
});
