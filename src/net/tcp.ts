// The real network: TCP sockets of the operating system. Listening is in tcp-listener.ts, what happens on a connection in
// tcp-transport.ts. How many connections are allowed, and from whom, is for those who listen to say.

import { createConnection } from "node:net";
import type { Clock } from "../util/clock.ts";
import type { Logger } from "../util/log.ts";
import type { InheritedListeners } from "./inherited.ts";
import { listenOn } from "./tcp-listener.ts";
import { KEEP_ALIVE_MS, TcpTransport, type TransportSurroundings } from "./tcp-transport.ts";
import type { Accepted, DialOptions, Listener, ListenOptions, Network, Transport } from "./transport.ts";
import { WriteBatch } from "./write-batch.ts";

export interface TcpNetworkOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** How much may wait on one transport before its `write` returns false; 64 KiB unless told. */
  readonly highWaterMark?: number;
  /** Sockets that are listened on already, to be used rather than bound anew. */
  readonly inherited?: InheritedListeners;
}

/** A network of TCP sockets. All its transports flush what they gathered at the end of the turn. */
export class TcpNetwork implements Network {
  #surroundings: TransportSurroundings;
  #log: Logger;
  #inherited: InheritedListeners | undefined;

  constructor(options: TcpNetworkOptions) {
    this.#log = options.log;
    this.#inherited = options.inherited;
    this.#surroundings = {
      clock: options.clock,
      batch: new WriteBatch(options.clock),
      highWaterMark: options.highWaterMark ?? 64 * 1024,
    };
  }

  listen(options: ListenOptions, onConnection: (accepted: Accepted) => void): Promise<Listener> {
    return listenOn(options, onConnection, this.#surroundings, this.#log, this.#inherited?.claim(options));
  }

  dial(options: DialOptions): Promise<Transport> {
    const { host, port, signal } = options;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const socket = createConnection({
        host,
        port,
        allowHalfOpen: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_MS,
      });
      const settled = (): void => {
        signal?.removeEventListener("abort", onAbort);
        socket.off("connect", onConnect).off("error", onError);
      };
      const onAbort = (): void => {
        settled();
        socket.on("error", ignoreAfterAbort);
        socket.destroy();
        reject(abortError(signal));
      };
      const onError = (error: Error): void => {
        settled();
        socket.on("error", ignoreAfterAbort);
        reject(error);
      };
      const onConnect = (): void => {
        settled();
        socket.pause();
        resolve(new TcpTransport(socket, this.#surroundings));
      };
      socket.on("connect", onConnect).on("error", onError);
      signal?.addEventListener("abort", onAbort);
    });
  }
}

function ignoreAfterAbort(): void {
  // The dial has had its answer; a socket must never be without an error listener all the same.
}

function abortError(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new DOMException("The dial was aborted", "AbortError");
}
