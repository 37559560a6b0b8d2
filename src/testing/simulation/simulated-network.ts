// The network of a simulation: every connection has two named parties and its own latency, cuts and mishaps, and
// everything that the server writes and reads on it goes down in the books. Not for: how bytes travel (memory-network.ts).

import type {
  Accepted,
  DialOptions,
  Listener,
  ListenOptions,
  Network,
  Transport,
  TransportEnd,
} from "../../net/transport.ts";
import type { Clock } from "../../util/clock.ts";
import { MemoryNetwork, type MemoryTransport } from "../memory-network.ts";
import type { Journal } from "./journal.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** The party that is being tested. */
export const SERVER_PARTY = "server";

/** A connection as the books have it. `near` is the end that dialled. */
export interface Connection {
  readonly number: number;
  readonly from: string;
  readonly to: string;
  readonly near: MemoryTransport;
  readonly far: MemoryTransport;
  /** The end that the server holds. */
  readonly serverEnd: MemoryTransport;
  /** What the server wrote, piece by piece, and when. */
  readonly written: string[];
  readonly writtenAt: number[];
  /** From which of those on the server counts what it writes to a client (XEP-0198). */
  countedFrom: number;
  /** When the server had said the last it says on it: its closing tag, or the end of the connection. */
  outputEndedAt: number | undefined;
  /** How many bytes the server has read. */
  bytesRead: number;
  /** What was sent to it, and how many bytes that is. */
  readonly toServer: string[];
  bytesToServer: number;
  /** How the server's end came to its end. */
  end: TransportEnd | undefined;
  /** What the scenario did to it. */
  mishap: string | undefined;
}

export interface SimulatedNetworkOptions {
  readonly clock: Clock;
  readonly random: SeededRandom;
  readonly journal: Journal;
  /** Names for which a certificate is trusted. */
  readonly trusted: ReadonlySet<string>;
  /** An address that swallows connections. */
  readonly silentAddress: string;
}

const CONNECT_TIMEOUT_MS = 130_000;

/** The network. */
export class SimulatedNetwork {
  readonly connections: Connection[] = [];
  #options: SimulatedNetworkOptions;
  #memory: MemoryNetwork;
  #dialling = new Map<DialOptions, { readonly party: string; readonly told: (connection: Connection) => void }>();
  #listening = new Map<string, string>();
  #listeners = new Map<string, Listener[]>();
  #killed = new Set<string>();

  constructor(options: SimulatedNetworkOptions) {
    this.#options = options;
    const { clock, random, trusted } = options;
    this.#memory = new MemoryNetwork({
      clock,
      random,
      trusted,
      shape: () => {
        const cuts = random.chance(0.15);
        const latencyMs = random.chance(0.05) ? random.between(200, 1_500) : random.pick([0, 1, 5, 20, 80]);
        return {
          latencyMs,
          jitterMs: random.pick([0, 1, 3, Math.ceil(latencyMs / 2)]),
          cuts,
          chunkBytes: cuts ? random.pick([48, 400, 2_000]) : 16_384,
          highWaterMark: random.chance(0.1) ? 2_000 : 65_536,
        };
      },
      connected: (dialled, near, far) => this.#connected(dialled, near, far),
    });
  }

  /** Returns the network as `party` sees it; `told` is called with each connection that it dials. */
  of(party: string, told: (connection: Connection) => void = () => undefined): Network {
    return {
      listen: async (options: ListenOptions, onConnection: (accepted: Accepted) => void): Promise<Listener> => {
        const key = `${options.host}:${options.port}`;
        const listener = await this.#memory.listen(options, onConnection);
        this.#listening.set(key, party);
        this.#listeners.set(party, [...(this.#listeners.get(party) ?? []), listener]);
        return listener;
      },
      dial: (options: DialOptions) => this.#dial(options, party, told),
    };
  }

  /** The connections that are open at the server's end. */
  get open(): Connection[] {
    return this.connections.filter(({ serverEnd }) => !serverEnd.isClosed);
  }

  /** Ends everything that `party` holds, as when its process is killed. */
  kill(party: string): void {
    this.#killed.add(party);
    for (const listener of this.#listeners.get(party) ?? []) void listener.close();
    for (const { from, to, near, far } of this.connections) {
      if (from === party) near.kill();
      else if (to === party) far.kill();
    }
  }

  async #dial(options: DialOptions, party: string, told: (connection: Connection) => void): Promise<Transport> {
    if (options.host === this.#options.silentAddress) {
      await this.#options.clock.sleep(CONNECT_TIMEOUT_MS, options.signal);
      throw Object.assign(new Error("connect ETIMEDOUT"), { code: "ETIMEDOUT" });
    }
    const own = { ...options };
    this.#dialling.set(own, { party, told });
    try {
      return await this.#memory.dial(own);
    } finally {
      this.#dialling.delete(own);
    }
  }

  #connected(dialled: DialOptions, near: MemoryTransport, far: MemoryTransport): void {
    const { journal } = this.#options;
    const dialler = this.#dialling.get(dialled);
    const from = dialler?.party ?? "";
    const to = this.#listening.get(`${dialled.host}:${dialled.port}`) ?? "";
    const serverEnd = from === SERVER_PARTY ? near : far;
    const connection: Connection = {
      number: this.connections.length,
      from,
      to,
      near,
      far,
      serverEnd,
      written: [],
      writtenAt: [],
      countedFrom: Number.POSITIVE_INFINITY,
      outputEndedAt: undefined,
      bytesRead: 0,
      toServer: [],
      bytesToServer: 0,
      end: undefined,
      mishap: undefined,
    };
    this.connections.push(connection);
    dialler?.told(connection);
    if (this.#killed.has(from)) return near.kill();
    const name = from === SERVER_PARTY ? `server c${connection.number} ${to}` : `server c${connection.number} ${from}`;
    journal.write(name, `connection from ${from} to ${to} port ${dialled.port}`);
    serverEnd.peer.tap = {
      wrote: (text) => {
        connection.toServer.push(text);
        connection.bytesToServer += Buffer.byteLength(text);
      },
    };
    serverEnd.tap = {
      wrote: (text) => {
        if (text.startsWith("<enabled") || text.startsWith("<resumed"))
          connection.countedFrom = connection.written.length;
        connection.written.push(text);
        connection.writtenAt.push(this.#options.clock.now());
        if (text.endsWith("</stream:stream>")) connection.outputEndedAt ??= this.#options.clock.now();
        journal.write(name, `> ${text}`);
      },
      read: (bytes) => {
        connection.bytesRead += bytes.length;
        if (journal.isKept) journal.write(name, `< ${bytes.toString()}`);
      },
      closed: (end) => {
        connection.end = end;
        connection.outputEndedAt ??= this.#options.clock.now();
        journal.write(
          name,
          `closed ${end.orderly ? "in order" : "out of order"}${end.error === undefined ? "" : `: ${end.error.message}`}`,
        );
      },
    };
  }
}
