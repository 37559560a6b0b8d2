// A Network without sockets, for unit tests of streams and for simulation: every event is a timer of the given clock, and
// every choice comes from the given randomness, so that a run can be repeated exactly.

import type { Accepted, DialOptions, Listener, ListenOptions, Network, Transport } from "../net/transport.ts";
import type { Clock } from "../util/clock.ts";
import { type Random, systemRandom } from "../util/random.ts";
import { MemoryTransport, type MemoryWire } from "./memory-transport.ts";

export { MemoryTransport } from "./memory-transport.ts";

/** What a network in memory is made of; all but the clock may be left out. */
export type MemoryNetworkOptions = {
  readonly clock: Clock;
  readonly random?: Random;
  /** What is different about one connection, decided when it is dialled. */
  readonly shape?: (dialled: DialOptions) => Partial<MemoryWire>;
  /** Told of both ends of a connection before anybody else sees them. */
  readonly connected?: (dialled: DialOptions, near: MemoryTransport, far: MemoryTransport) => void;
} & Partial<MemoryWire>;

const ANY = new Set(["0.0.0.0", "::", ""]);

/** A network in memory. Names are not resolved: the host that is dialled is the host that was listened on, or `0.0.0.0`. */
export class MemoryNetwork implements Network {
  #options: MemoryNetworkOptions;
  #wire: MemoryWire;
  #listeners = new Map<string, MemoryListener>();
  #nextPort = 40_000;

  constructor(options: MemoryNetworkOptions) {
    this.#options = options;
    this.#wire = {
      random: systemRandom,
      latencyMs: 0,
      jitterMs: 0,
      chunkBytes: 16_384,
      cuts: false,
      highWaterMark: 65_536,
      trusted: new Set(),
      ...options,
    };
  }

  /** Returns both ends of a connection that nobody dialled. */
  pair(): [MemoryTransport, MemoryTransport] {
    const one = { address: "192.0.2.1", port: this.#nextPort++ };
    return MemoryTransport.pair(this.#wire, one, { address: "192.0.2.2", port: this.#nextPort++ });
  }

  async listen(options: ListenOptions, onConnection: (accepted: Accepted) => void): Promise<Listener> {
    const port = options.port === 0 ? this.#nextPort++ : options.port;
    const key = `${options.host}:${port}`;
    if (this.#listeners.has(key)) {
      throw Object.assign(new Error(`${key} is taken`), { code: "MORENDO_PORT_TAKEN" });
    }
    const listener = new MemoryListener({ ...options, port }, onConnection, () => this.#listeners.delete(key));
    this.#listeners.set(key, listener);
    return listener;
  }

  async dial(options: DialOptions): Promise<Transport> {
    const shape = this.#options.shape?.(options);
    const wire = shape === undefined ? this.#wire : { ...this.#wire, ...shape };
    const { clock, latencyMs } = wire;
    await clock.sleep(2 * latencyMs, options.signal);
    if (options.signal?.aborted) throw Object.assign(new Error("aborted"), { code: "ABORT_ERR" });
    const listener = this.#find(options.host, options.port);
    if (listener === undefined) {
      const text = `connect ECONNREFUSED ${options.host}:${options.port}`;
      throw Object.assign(new Error(text), { code: "ECONNREFUSED" });
    }
    const here = { address: "192.0.2.1", port: this.#nextPort++ };
    const [near, far] = MemoryTransport.pair(wire, here, { address: options.host, port: options.port });
    this.#options.connected?.(options, near, far);
    listener.take(far);
    return near;
  }

  #find(host: string, port: number): MemoryListener | undefined {
    const exact = this.#listeners.get(`${host}:${port}`);
    if (exact !== undefined) return exact;
    for (const listener of this.#listeners.values()) {
      if (listener.port === port && ANY.has(listener.host)) return listener;
    }
    return undefined;
  }
}

class MemoryListener implements Listener {
  readonly host: string;
  readonly port: number;
  #options: ListenOptions;
  #onConnection: (accepted: Accepted) => void;
  #onClosed: () => void;
  #backlog: MemoryTransport[] = [];
  #isPaused = false;

  constructor(options: ListenOptions, onConnection: (accepted: Accepted) => void, onClosed: () => void) {
    this.host = options.host;
    this.port = options.port;
    this.#options = options;
    this.#onConnection = onConnection;
    this.#onClosed = onClosed;
  }

  /** Puts a connection into the backlog, from where it is accepted at once unless the listener is paused. */
  take(transport: MemoryTransport): void {
    this.#backlog.push(transport);
    if (!this.#isPaused) this.#accept();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#accept();
  }

  async close(): Promise<void> {
    this.#accept();
    this.#onClosed();
  }

  #accept(): void {
    for (const transport of this.#backlog.splice(0)) {
      const ready =
        this.#options.tls === undefined ? Promise.resolve(undefined) : transport.startTls(this.#options.tls);
      this.#onConnection({ transport, ready });
    }
  }
}
