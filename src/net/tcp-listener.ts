// A listening TCP socket that can be closed without resetting those who wait in the accept backlog, and passed on to
// another process. Not for: the connections themselves (tcp-transport.ts).

import { createServer, isIP, type Server, type Socket } from "node:net";
import { codeOf, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import { type ClaimedListener, listenerName } from "./inherited.ts";
import { KEEP_ALIVE_MS, TcpTransport, type TransportSurroundings } from "./tcp-transport.ts";
import type { Accepted, Listener, ListenOptions, PassableSocket, TlsInfo } from "./transport.ts";

/** How many connections the kernel keeps for us; also how many are taken in at most after `close` was called. */
const BACKLOG = 1024;
/** How many connections may wait while accepting is paused. */
const MAX_HELD = 4096;
const QUIET_TURNS = 2;
const COMPLAIN_EVERY_MS = 5_000;

const NO_TLS: Promise<TlsInfo | undefined> = Promise.resolve(undefined);

/** Starts listening, on the socket `claimed` if there is one. Rejects with `MORENDO_PORT_TAKEN`, `MORENDO_PORT_FORBIDDEN` or `MORENDO_LISTEN_FAILED`. */
export function listenOn(
  options: ListenOptions,
  onConnection: (accepted: Accepted) => void,
  surroundings: TransportSurroundings,
  log: Logger,
  claimed?: ClaimedListener,
): Promise<Listener> {
  const server = createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  });
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => reject(listenError(options, error));
    server.once("error", onError);
    const { host, port } = options;
    server.listen(
      claimed === undefined ? { host, port, backlog: BACKLOG } : { fd: claimed.fd, backlog: BACKLOG },
      () => {
        server.off("error", onError);
        resolve(new TcpListener(server, options, onConnection, surroundings, log, claimed?.isAsAsked ?? true));
      },
    );
  });
}

class TcpListener implements Listener {
  readonly host: string;
  readonly port: number;
  readonly passable: PassableSocket;
  #server: Server;
  #options: ListenOptions;
  #onConnection: (accepted: Accepted) => void;
  #surroundings: TransportSurroundings;
  #log: Logger;
  #accepted = 0;
  #isPaused = false;
  #held: Socket[] = [];
  #closing: Promise<void> | undefined;
  #complainedAt = Number.NEGATIVE_INFINITY;

  constructor(
    server: Server,
    options: ListenOptions,
    onConnection: (accepted: Accepted) => void,
    surroundings: TransportSurroundings,
    log: Logger,
    isAsAsked: boolean,
  ) {
    const address = server.address();
    this.#server = server;
    this.#options = options;
    this.#onConnection = onConnection;
    this.#surroundings = surroundings;
    this.#log = log;
    const actual = typeof address === "object" && address !== null ? address : undefined;
    // A socket that came from elsewhere knows best; but a name that was asked for is not turned into its address.
    this.host = actual === undefined || (isAsAsked && isIP(options.host) === 0) ? options.host : actual.address;
    this.port = actual?.port ?? options.port;
    this.passable = passableSocket(server, options, () => this.#release());
    server.on("connection", (socket) => this.#take(socket));
    // One connection could not be taken; the socket still listens. Of EMFILE nothing is heard here: libuv turns away those
    // who wait, by a descriptor it keeps for that, and neither stops nor spins.
    server.on("error", (error) => this.#complain("a connection could not be accepted", error));
  }

  close(): Promise<void> {
    this.#closing ??= this.#drainAndClose();
    return this.#closing;
  }

  /**
   * Node has no way to stop accepting on a listening socket. So connections are accepted and then left alone, unread and
   * unknown to the server, until `resume`: to the peer it looks the same as waiting in the backlog.
   */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    const held = this.#held;
    this.#held = [];
    for (const socket of held) this.#report(socket);
  }

  #release(): void {
    if (this.#closing !== undefined) return;
    this.#closing = Promise.resolve();
    this.resume();
    this.#server.close();
  }

  async #drainAndClose(): Promise<void> {
    this.resume();
    const atStart = this.#accepted;
    // A turn includes one whole poll for input unless it was asked for during one: two quiet ones are proof. Those who
    // connect after the call cannot hold it up for ever: the backlog is served in order.
    for (let quiet = 0; quiet < QUIET_TURNS && this.#accepted - atStart <= BACKLOG; ) {
      const before = this.#accepted;
      await this.#surroundings.clock.turn();
      quiet = this.#accepted === before ? quiet + 1 : 0;
    }
    this.resume();
    // The listening socket is closed when this returns; the callback would wait for the connections too.
    this.#server.close();
  }

  #take(socket: Socket): void {
    this.#accepted++;
    if (!this.#isPaused) {
      this.#report(socket);
    } else if (this.#held.length < MAX_HELD) {
      socket.on("error", ignoreWhileHeld);
      this.#held.push(socket);
    } else {
      socket.destroy();
      this.#complain("too many connections wait while accepting is paused; turned one away");
    }
  }

  #report(socket: Socket): void {
    const transport = new TcpTransport(socket, this.#surroundings);
    socket.off("error", ignoreWhileHeld);
    let ready = NO_TLS;
    if (this.#options.tls !== undefined) {
      ready = transport.startTls(this.#options.tls);
      ready.catch(failureIsToldByTheTransport);
    }
    this.#onConnection({ transport, ready });
  }

  #complain(message: string, error?: Error): void {
    const now = this.#surroundings.clock.now();
    if (now - this.#complainedAt < COMPLAIN_EVERY_MS) return;
    this.#complainedAt = now;
    this.#log.warn({ address: addressOf(this.host, this.port), error: error?.message }, message);
  }
}

/** Returns what it takes to pass on the socket on which `server` listens, as `options` say. */
export function passableSocket(server: Server, options: ListenOptions, release: () => void): PassableSocket {
  return {
    name: listenerName(options),
    get fd() {
      return descriptorOf(handleOf(server));
    },
    get handle() {
      return handleOf(server);
    },
    release,
  };
}

/** What is behind a server. Node has no other way to its descriptor; the names have been the same in 20 to 26. */
function handleOf(server: Server): unknown {
  return Reflect.get(server, "_handle") ?? undefined;
}

function descriptorOf(handle: unknown): number | undefined {
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined;
  return typeof fd === "number" && fd >= 0 ? fd : undefined;
}

function ignoreWhileHeld(): void {
  // Told again, or told by the close event, once somebody owns the socket.
}

function failureIsToldByTheTransport(): void {
  // Whoever does not wait for `ready` learns of it by `onClose`.
}

function addressOf(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Returns why nobody can listen where `options` say. */
export function listenError(options: ListenOptions, cause: Error): MorendoError {
  const address = addressOf(options.host, options.port);
  switch (codeOf(cause)) {
    case "EADDRINUSE":
      return new MorendoError("MORENDO_PORT_TAKEN", `${address} is in use by another program`, { cause });
    case "EACCES":
      return new MorendoError("MORENDO_PORT_FORBIDDEN", `${address} may not be listened on by this user`, { cause });
    default:
      return new MorendoError("MORENDO_LISTEN_FAILED", `cannot listen on ${address}: ${cause.message}`, { cause });
  }
}
