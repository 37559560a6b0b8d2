// The lives of one server, one after the other, on one disk, a clock moved by hand and a network in memory: started, stopped,
// or killed at any moment, in milliseconds. Not for: what only a real process shows (generations.ts).

import assert from "node:assert/strict";
import { MemoryStore } from "../../src/store/memory.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { MemoryNetwork, type MemoryNetworkOptions } from "../../src/testing/memory-network.ts";
import type { RawClient, RawClientOptions } from "../../src/testing/raw-client.ts";
import { ScriptedPeer, type ScriptedPeerOptions } from "../../src/testing/scripted-peer.ts";
import { startServer, type TestConfig, type TestServer } from "../../src/testing/start-server.ts";
import type { Element } from "../../src/xml/element.ts";
import { timePasses } from "./time-passes.ts";

type Options = NonNullable<Parameters<typeof startServer>[1]>;

type Wire = Omit<MemoryNetworkOptions, "clock">;

/** A server that lives several times. */
export class MemoryLives {
  clock: ManualClock;
  disk = new MemoryStore();
  /** The other servers as they are now: after a crash there are new ones with the same names and scripts. */
  peers: ScriptedPeer[] = [];
  #network: MemoryNetwork;
  #wire: Wire;
  #config: TestConfig;
  #options: Options;
  #running: TestServer | undefined;
  #made: ScriptedPeerOptions[] = [];
  #gone: ScriptedPeer[] = [];
  #isFilled = false;

  /** `wire` is how connections are: without delay unless told. `clock` is that of the first life. */
  constructor(config: TestConfig, options: Options, wire: Wire = {}, clock = new ManualClock()) {
    this.clock = clock;
    this.#config = config;
    this.#options = options;
    this.#wire = wire;
    this.#network = new MemoryNetwork({ ...wire, clock });
  }

  get server(): TestServer {
    assert.ok(this.#running !== undefined, "the server does not run");
    return this.#running;
  }

  /** Makes another server, before the first life. */
  async peer(options: Omit<ScriptedPeerOptions, "clock" | "network">): Promise<ScriptedPeer> {
    this.#made.push({ trusting: true, port: 50_000 + this.#made.length, ...options });
    return this.#startPeer(this.#made.length - 1);
  }

  /** The elements that have arrived at a domain in all lives so far. */
  arrivedAt(domain: string): Element[] {
    return [...this.#gone, ...this.peers].filter((peer) => peer.domain === domain).flatMap(({ stanzas }) => stanzas);
  }

  /** Begins the next life with what is on the disk. */
  async start(options: Options = {}): Promise<void> {
    if (this.#isFilled) this.disk = this.disk.afterCrash();
    const accounts = this.#isFilled ? [] : (this.#options.accounts ?? []);
    const { clock, peers } = this;
    const all = { ...this.#options, clock, network: this.#network, peers, store: this.disk, checkLeaks: false };
    this.#running = await this.pass(startServer(this.#config, { ...all, accounts, ...options }));
    this.#isFilled = true;
  }

  /**
   * The process is gone in the middle of whatever it does. Its clock stands still for ever and nobody hears its network, so
   * that whatever it still does has no effect; the disk is as it was.
   */
  async crash(downMs = 1_000): Promise<void> {
    this.disk = this.disk.afterCrash();
    this.#running = undefined;
    this.clock = new ManualClock(this.clock.wallTime() + downMs);
    this.#network = new MemoryNetwork({ ...this.#wire, clock: this.clock });
    this.#gone.push(...this.peers);
    this.peers = [];
    for (const index of this.#made.keys()) await this.#startPeer(index);
  }

  client(options: Partial<RawClientOptions> = {}): RawClient {
    return this.server.client({ security: "direct", mechanism: "PLAIN", ...options });
  }

  /** Ends it all. */
  async end(): Promise<void> {
    if (this.#running !== undefined) await this.pass(this.#running.dispose(), 50);
    this.#running = undefined;
    for (const peer of this.peers) await this.pass(peer.stop(), 50);
  }

  /** Waits for `work` while time goes on. */
  pass<T>(work: Promise<T>, stepMs = 1): Promise<T> {
    return timePasses(this, work, stepMs);
  }

  /** Lets time go on until `holds`; throws after `maxMs`. */
  async until(holds: () => boolean, what: () => string, maxMs = 120_000): Promise<void> {
    const end = this.clock.now() + maxMs;
    for (let step = 1; !holds(); step = Math.min(step * 2, 200)) {
      if (this.clock.now() > end) throw new Error(`it never came to this: ${what()}`);
      await this.clock.advance(step);
    }
  }

  async #startPeer(index: number): Promise<ScriptedPeer> {
    const options = this.#made[index];
    assert.ok(options !== undefined);
    const peer = await ScriptedPeer.start({ ...options, clock: this.clock, network: this.#network });
    this.peers.push(peer);
    return peer;
  }
}
