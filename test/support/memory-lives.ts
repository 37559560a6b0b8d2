// The lives of one server, one after the other, on one disk, a clock moved by hand and a network in memory: started, stopped,
// or killed at any moment, in milliseconds. Not for: what only a real process shows (generations.ts).

import assert from "node:assert/strict";
import { MemoryStore } from "../../src/store/memory.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { MemoryNetwork } from "../../src/testing/memory-network.ts";
import type { RawClient, RawClientOptions } from "../../src/testing/raw-client.ts";
import { ScriptedPeer, type ScriptedPeerOptions } from "../../src/testing/scripted-peer.ts";
import { startServer, type TestConfig, type TestServer } from "../../src/testing/start-server.ts";

type Options = NonNullable<Parameters<typeof startServer>[1]>;

/** A server that lives several times. */
export class MemoryLives {
  readonly clock = new ManualClock();
  disk = new MemoryStore();
  readonly peers: ScriptedPeer[] = [];
  readonly network = new MemoryNetwork({ clock: this.clock });
  #config: TestConfig;
  #options: Options;
  #running: TestServer | undefined;
  #clients: RawClient[] = [];
  #isFilled = false;
  #nextPort = 50_000;

  constructor(config: TestConfig, options: Options) {
    this.#config = config;
    this.#options = options;
  }

  get server(): TestServer {
    assert.ok(this.#running !== undefined, "the server does not run");
    return this.#running;
  }

  /** Makes another server, before the first life. */
  async peer(options: ScriptedPeerOptions): Promise<ScriptedPeer> {
    const { clock, network } = this;
    const peer = await ScriptedPeer.start({ clock, network, trusting: true, port: this.#nextPort++, ...options });
    this.peers.push(peer);
    return peer;
  }

  /** Begins the next life with what is on the disk. */
  async start(options: Options = {}): Promise<void> {
    const { clock, network, peers } = this;
    if (this.#isFilled) this.disk = this.disk.afterCrash();
    const accounts = this.#isFilled ? [] : this.#options.accounts;
    const all = { ...this.#options, clock, network, peers, store: this.disk, ...options };
    this.#running = await this.pass(
      startServer(this.#config, { ...all, ...(accounts && { accounts }), checkLeaks: false }),
    );
    this.#isFilled = true;
  }

  /** The process is gone in the middle of whatever it does: the disk is as it was, every connection is broken. */
  crash(): void {
    this.disk = this.disk.afterCrash();
    const { server } = this;
    this.#running = undefined;
    for (const client of this.#clients) client.destroy();
    for (const { connections } of this.peers) for (const connection of connections) connection.destroy();
    this.#clients = [];
    // It writes to a disk that nobody reads any more. What it still does must not be seen by anybody.
    this.#dying.push(server);
  }

  #dying: TestServer[] = [];

  client(options: Partial<RawClientOptions> = {}): RawClient {
    const client = this.server.client({ security: "direct", mechanism: "PLAIN", ...options });
    this.#clients.push(client);
    return client;
  }

  /** Ends it all. */
  async end(): Promise<void> {
    if (this.#running !== undefined) await this.pass(this.#running.dispose(), 50);
    for (const server of this.#dying) await this.pass(server.dispose(), 50);
    for (const peer of this.peers) await this.pass(peer.stop(), 50);
  }

  /** Waits for `work` while time goes on. */
  async pass<T>(work: Promise<T>, stepMs = 1): Promise<T> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    work.then(over, over);
    for (let steps = 0; !isOver; steps++) {
      if (steps > 100_000) throw new Error("it does not come to an end");
      await this.clock.advance(stepMs);
    }
    return await work;
  }

  /** Lets time go on until `holds`; throws after `maxMs`. */
  async until(holds: () => boolean, what: string, maxMs = 120_000): Promise<void> {
    const end = this.clock.now() + maxMs;
    for (let step = 1; !holds(); step = Math.min(step * 2, 200)) {
      if (this.clock.now() > end) throw new Error(`it never came to this: ${what}`);
      await this.clock.advance(step);
    }
  }
}
