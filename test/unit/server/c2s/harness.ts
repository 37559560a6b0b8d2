// A whole server on a clock moved by hand and a network in memory, and clients with stream management on it.

import { MemoryStore } from "../../../../src/store/memory.ts";
import { ManualClock } from "../../../../src/testing/manual-clock.ts";
import { MemoryNetwork } from "../../../../src/testing/memory-network.ts";
import type { RawClient, RawClientOptions } from "../../../../src/testing/raw-client.ts";
import { startServer, type TestConfig, type TestServer } from "../../../../src/testing/start-server.ts";
import { timePasses } from "../../../support/time-passes.ts";

/** A server, its clock and its network. */
export class Scene {
  readonly clock: ManualClock;
  readonly network: MemoryNetwork;
  readonly #running: TestServer;

  private constructor(clock: ManualClock, network: MemoryNetwork, running: TestServer) {
    this.clock = clock;
    this.network = network;
    this.#running = running;
  }

  /** Starts a server with these accounts; those that `store` has already are not to be named. */
  static async open(
    accounts: readonly string[],
    c2s: NonNullable<TestConfig["c2s"]> = {},
    store = new MemoryStore(),
    shutdown: NonNullable<TestConfig["shutdown"]> = {},
  ): Promise<Scene> {
    const clock = new ManualClock();
    const network = new MemoryNetwork({ clock });
    const running = await timePasses({ clock }, startServer({ c2s, shutdown }, { accounts, clock, network, store }));
    return new Scene(clock, network, running);
  }

  get server(): TestServer["server"] {
    return this.#running.server;
  }

  /** A client that has not connected yet. */
  client(options: Partial<RawClientOptions> = {}): RawClient {
    const { clock, network } = this;
    return this.#running.client({ clock, network, security: "direct", mechanism: "PLAIN", ...options });
  }

  /** Waits for `work` while time goes on. */
  pass<T>(work: Promise<T>): Promise<T> {
    return timePasses(this, work);
  }

  /** Moves time on until `holds`; rejects after ten simulated minutes. */
  async until(holds: () => boolean, what: string): Promise<void> {
    for (let ms = 0; !holds(); ms += 50) {
      if (ms > 600_000) throw new Error(`waited in vain for: ${what}`);
      await this.clock.advance(50);
    }
  }

  /** Stops the server as an operator does. */
  async stop(): Promise<void> {
    await timePasses(this, this.#running.stop(), 50);
  }

  async close(): Promise<void> {
    await timePasses(this, this.#running.dispose(), 50);
  }
}
