// The server-to-server side of a node-xmpp-server host at its shutdown: its Router's queues get onto authenticated streams,
// then its listener closes, inbound streams are read to their end, and outgoing streams close with the full handshake.

import type { ObligationSink, PhaseContext } from "../../shutdown/types.ts";
import type { Clock } from "../../util/clock.ts";
import type { Logger } from "../../util/log.ts";
import { type Parting, sayFarewell } from "./farewell.ts";
import { type HostListener, type HostRouter, type HostSocket, type HostStream, listenerOf } from "./host-types.ts";
import { StreamBooks } from "./stream-books.ts";

export interface RouterSideOptions {
  readonly router: HostRouter;
  readonly obligations: ObligationSink;
  /** How long another server may take to answer a closing tag, in milliseconds. */
  readonly peerTimeoutMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How the streams ended: the section `streams` of the report. */
export interface ClosedHostStreams {
  readonly incoming: Record<Parting, number>;
  readonly outgoing: Record<Parting, number>;
}

const MAX_BLOCKERS = 5;
/** How much of the time is kept for the closing handshakes. */
const KEPT_SHARE = 0.4;

/** The Router of one host. */
export class RouterSide {
  readonly closed: ClosedHostStreams = {
    incoming: { answered: 0, unanswered: 0, cut: 0 },
    outgoing: { answered: 0, unanswered: 0, cut: 0 },
  };
  #options: RouterSideOptions;
  #books: StreamBooks;
  #listener: HostListener | undefined;
  /** The sockets accepted since we were attached: the Router keeps only those of authenticated streams. */
  #sockets = new Set<HostSocket>();
  #accepted = (accepted: unknown): void => {
    const socket = accepted as HostSocket;
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  };

  constructor(options: RouterSideOptions) {
    this.#options = options;
    this.#books = new StreamBooks(options.router, options.obligations);
    this.#listener = listenerOf(options.router._server);
    this.#listener?.on("connection", this.#accepted);
  }

  /** Starts to count what is owed: when a run begins. */
  begin(): void {
    this.#books.begin();
  }

  /** Phase `drain-s2s`. */
  async drain(context: PhaseContext): Promise<void> {
    await this.#queues(context);
    // Nobody needs to dial us back any more.
    if (this.#listener?.listening === true) {
      this.#listener.close((error) => {
        if (error !== undefined) this.#options.log.debug({ err: error }, "the Router's listener was closed already");
      });
    }
    const incoming = this.#inbound();
    const partings = await Promise.all(incoming.map((stream) => this.#close(stream, context)));
    for (const parting of partings) this.closed.incoming[parting]++;
    // What those stanzas caused is on its way by now; it may have opened further streams.
    await this.#queues(context);
    await Promise.all(
      this.#books.streams.map(async (out) => {
        const closing = this.#close(out.stream, context);
        out.isClosing = true;
        const parting = await closing;
        this.closed.outgoing[parting]++;
        if (parting === "answered") this.#books.proved(out);
      }),
    );
  }

  /** Ends the account and destroys what is still connected. */
  destroy(): void {
    this.#books.end();
    for (const { stream } of this.#books.streams) stream.socket?.destroy?.();
    for (const stream of this.#inbound()) stream.socket?.destroy?.();
    for (const socket of this.#sockets) socket.destroy?.();
    this.#listener?.removeListener("connection", this.#accepted);
  }

  /** Lets go of the Router. */
  detach(): void {
    this.#listener?.removeListener("connection", this.#accepted);
    this.#books.release();
  }

  #inbound(): HostStream[] {
    return Object.values(this.#options.router.ctxs).flatMap(({ s2sIn }) => Object.values(s2sIn));
  }

  /** Waits until no queue has anything in it, as long as there is time to close in order afterwards. */
  async #queues(context: PhaseContext): Promise<void> {
    const { clock } = this.#options;
    const limit = context.remaining() * (1 - KEPT_SHARE);
    const settled = new AbortController();
    let total = 0;
    const look = (): void => {
      const waiting = this.#books.streams.filter(({ queued }) => queued.length > 0);
      total = Math.max(total, waiting.length);
      const blockers = waiting.slice(0, MAX_BLOCKERS).map(({ remote }) => remote);
      context.progress({ done: total - waiting.length, total, blockers });
      if (waiting.length === 0) settled.abort();
    };
    this.#books.onChange = look;
    look();
    await clock.sleep(limit, AbortSignal.any([settled.signal, context.signal]));
    this.#books.onChange = () => undefined;
  }

  async #close(stream: HostStream, context: PhaseContext): Promise<Parting> {
    const { clock, peerTimeoutMs, log } = this.#options;
    if (stream.streamOpened !== true || stream.socket?.connecting === true) {
      // Never connected, or closed by the peer already.
      stream.socket?.destroy?.();
      return "cut";
    }
    try {
      return await sayFarewell(stream, {
        clock,
        timeoutMs: Math.min(peerTimeoutMs, context.remaining() / 2),
        signal: context.signal,
      });
    } catch (thrown) {
      log.warn({ err: thrown }, "a stream to another server could not be ended in order");
      stream.socket?.destroy?.();
      return "cut";
    }
  }
}
