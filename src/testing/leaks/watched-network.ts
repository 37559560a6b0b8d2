// A network that knows which of its listeners and connections are still there. Everything passes through unchanged.

import type { Accepted, DialOptions, Listener, ListenOptions, Network, Transport } from "../../net/transport.ts";
import type { Leftover } from "./leftover.ts";

/** Both networks of the project can say it of their connections. */
type Closable = Transport & { readonly isClosed?: boolean };

/** How many connections may be over before they are forgotten. */
const SWEEP_AT = 1_000;

/** A network whose listeners and connections are watched. */
export class WatchedNetwork implements Network {
  #network: Network;
  #listeners = new Set<Listener>();
  #connections = new Map<Closable, string>();
  #sweepAt = SWEEP_AT;

  constructor(network: Network) {
    this.#network = network;
  }

  async listen(options: ListenOptions, onConnection: (accepted: Accepted) => void): Promise<Listener> {
    const listener = await this.#network.listen(options, (accepted) => {
      this.#note(accepted.transport, "from");
      onConnection(accepted);
    });
    this.#listeners.add(listener);
    const close = listener.close.bind(listener);
    listener.close = async () => {
      await close();
      this.#listeners.delete(listener);
    };
    return listener;
  }

  async dial(options: DialOptions): Promise<Transport> {
    const transport = await this.#network.dial(options);
    this.#note(transport, "to");
    return transport;
  }

  /** The listeners and connections that are still open. */
  leftovers(): Leftover[] {
    this.#sweep();
    return [
      ...Array.from(
        this.#listeners,
        ({ host, port }): Leftover => ({ kind: "handle", what: `listener ${host}:${port}` }),
      ),
      ...Array.from(this.#connections.values(), (what): Leftover => ({ kind: "handle", what })),
    ];
  }

  #note(transport: Closable, direction: string): void {
    if (this.#connections.size >= this.#sweepAt) {
      this.#sweep();
      this.#sweepAt = SWEEP_AT + 2 * this.#connections.size;
    }
    const ends = `${transport.localAddress}:${transport.localPort} ${direction} ${transport.remoteAddress}:${transport.remotePort}`;
    this.#connections.set(transport, `connection ${ends}`);
  }

  #sweep(): void {
    for (const transport of this.#connections.keys()) {
      if (transport.isClosed !== false) this.#connections.delete(transport);
    }
  }
}
