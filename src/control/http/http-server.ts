// The HTTP side of the server: listens, bounds what clients may send and how long they may take, and ends in order. What it
// answers is in routes.ts.
//
// At a restart the listening sockets go to the successor with those for clients. The predecessor lets go of its own copies
// when the successor serves; who connects in between waits in the backlog, so that nobody finds the port closed.

import { createServer, type IncomingMessage, type Server as NodeServer, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Config } from "../../config/schema.ts";
import type { InheritedListeners } from "../../net/inherited.ts";
import { listenError, passableSocket } from "../../net/tcp-listener.ts";
import type { ListenOptions, PassableSocket } from "../../net/transport.ts";
import type { Operations } from "../../operations/operations.ts";
import { splitAddress } from "../../server/address.ts";
import type { Clock } from "../../util/clock.ts";
import { asError, codeOf, MorendoError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import type { Random } from "../../util/random.ts";
import { rawRefusal, refuse } from "./answers.ts";
import { TokenFailures } from "./failures.ts";
import { hostCheck } from "./host-check.ts";
import { LoopLag } from "./loop-lag.ts";
import type { MeasuredServer } from "./metrics.ts";
import { Page } from "./page.ts";
import { Routes } from "./routes.ts";
import type { ObservedServer } from "./snapshot.ts";
import { Tokens } from "./tokens.ts";

const PURPOSE = "http";
/** How often it is looked whether everything has been answered, at the end. */
const LOOK_MS = 10;

/** How much and how long, all in milliseconds and bytes. */
export interface HttpLimits {
  /** The request line and the headers. */
  readonly headerBytes: number;
  readonly headers: number;
  readonly headersMs: number;
  readonly requestMs: number;
  readonly idleMs: number;
  /** How often the two times above are looked at. */
  readonly lookMs: number;
  /** Requests on one connection that have no answer yet: no honest client sends so many ahead. */
  readonly pipelined: number;
}

const LIMITS: HttpLimits = {
  headerBytes: 8 * 1024,
  headers: 64,
  headersMs: 10_000,
  requestMs: 20_000,
  idleMs: 30_000,
  lookMs: 5_000,
  pipelined: 8,
};

/** What the HTTP side is made of. */
export interface HttpServerOptions {
  /** Its values may change while the server runs; `prepareReload` is called then. */
  readonly config: Config;
  readonly server: MeasuredServer & ObservedServer;
  readonly operations: Pick<Operations, "perform">;
  readonly inherited: InheritedListeners;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly limits?: Partial<HttpLimits>;
}

function hostCheckOf({ http }: Config): (host: string | undefined) => boolean {
  return hostCheck([...http.names, ...http.listen.map((address) => splitAddress(address).host)]);
}

interface Open {
  readonly server: NodeServer;
  readonly options: ListenOptions;
  readonly passable: PassableSocket;
}

/** The HTTP side. */
export class HttpServer {
  #options: HttpServerOptions;
  #limits: HttpLimits;
  #log: Logger;
  #lag: LoopLag;
  #knowsHost: (host: string | undefined) => boolean;
  #routes: Routes | undefined;
  #tokens: Tokens | undefined;
  #claimed: (() => Promise<void>)[] = [];
  #open: Open[] = [];
  #unanswered = new Map<Socket, number>();
  #isClosing = false;
  #closing: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#log = options.log.child({ part: "http" });
    this.#lag = new LoopLag(options.clock);
    this.#knowsHost = hostCheckOf(options.config);
  }

  /**
   * Reads the tokens of another configuration and returns what puts them, and what else is computed from it, in force.
   * Rejects with `MORENDO_HTTP_TOKEN` as `start` does.
   */
  async prepareReload({ http }: Config): Promise<() => void> {
    const { config, random } = this.#options;
    const tokens = this.#tokens && (await Tokens.load({ data: config.data, tokens: http.tokens, random }));
    return () => {
      this.#knowsHost = hostCheckOf(config);
      if (tokens !== undefined) this.#tokens?.replaceBy(tokens);
      for (const { server } of this.#open) server.maxConnections = config.http.max_connections;
    };
  }

  /** Where it listens, as `host:port`. */
  get listening(): readonly string[] {
    return this.#open.flatMap(({ server }) => {
      const { address, port } = (server.address() ?? {}) as Partial<AddressInfo>;
      if (address === undefined) return [];
      return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
    });
  }

  /** What a successor needs to listen in our place. */
  get passable(): readonly PassableSocket[] {
    return this.#open.map(({ passable }) => passable);
  }

  /**
   * Reads the tokens and listens. Rejects with `MORENDO_PORT_TAKEN`, `MORENDO_PORT_FORBIDDEN` or `MORENDO_LISTEN_FAILED`, which name the
   * option, and with `MORENDO_HTTP_TOKEN`; nothing is open then.
   */
  async start(): Promise<void> {
    await this.prepare();
    await this.publish();
  }

  /**
   * Makes everything ready, and listens where no predecessor does: what it does listen on it still answers. Rejects as
   * `start` does.
   */
  async prepare(): Promise<void> {
    const { config, random, inherited } = this.#options;
    if (config.http.listen.length === 0) return;
    const tokens = await Tokens.load({ data: config.data, tokens: config.http.tokens, random });
    this.#tokens = tokens;
    this.#routes = new Routes({
      ...this.#options,
      tokens,
      log: this.#log,
      failures: new TokenFailures(this.#options.clock),
      page: await Page.load(),
      families: () => [this.#lag.family()],
    });
    this.#lag.start();
    try {
      for (const address of config.http.listen) {
        const options = { ...splitAddress(address), purpose: PURPOSE };
        const claimed = inherited.claim(options);
        if (claimed === undefined) await this.#listen(options);
        else this.#claimed.push(() => this.#listen(options, claimed.fd));
      }
    } catch (thrown) {
      this.destroy();
      throw thrown;
    }
  }

  /** Answers on the sockets that a predecessor passed on, or a service manager. Rejects as `start` does. */
  async publish(): Promise<void> {
    for (const listen of this.#claimed.splice(0)) await listen();
  }

  /** A successor has the sockets: takes no connection any more. Those there are go on. */
  passOn(): void {
    for (const { server } of this.#open) if (server.listening) server.close();
  }

  /**
   * Lets the requests under way have their answers, at most for `limitMs`, and closes everything. Late callers get the same
   * promise.
   */
  close(limitMs = 1_000): Promise<void> {
    this.#closing ??= this.#close(limitMs);
    return this.#closing;
  }

  /** Closes everything now. */
  destroy(): void {
    this.#isClosing = true;
    this.#lag.stop();
    for (const { server } of this.#open) {
      if (server.listening) server.close();
      server.closeAllConnections();
    }
  }

  async #close(limitMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#isClosing = true;
    // Whoever has connected, and whose request is on its way, is heard.
    await clock.turn();
    const closed = Promise.all(
      this.#open.map(
        ({ server }) =>
          new Promise<void>((resolve) => {
            // The error only says that it was closed before; its connections may still be there.
            server.close(() => resolve());
            server.closeIdleConnections();
          }),
      ),
    );
    for (let left = limitMs; left > 0 && this.#unanswered.size > 0; left -= LOOK_MS) await clock.sleep(LOOK_MS);
    this.destroy();
    await closed;
  }

  #listen(options: ListenOptions, fd?: number): Promise<void> {
    const { headerBytes, headers, headersMs, requestMs, idleMs, lookMs } = this.#limits;
    const server = createServer(
      {
        maxHeaderSize: headerBytes,
        headersTimeout: headersMs,
        requestTimeout: requestMs,
        keepAliveTimeout: idleMs,
        connectionsCheckingInterval: lookMs,
        requireHostHeader: true,
        noDelay: true,
      },
      (request, response) => this.#onRequest(request, response),
    );
    server.maxHeadersCount = headers;
    server.maxConnections = this.#options.config.http.max_connections;
    // An answer that was to come after another one never closes when its connection does.
    server.on("connection", (socket) => socket.once("close", () => this.#unanswered.delete(socket)));
    server.on("clientError", (error, socket) => this.#onClientError(error, socket as Socket));
    return new Promise((resolve, reject) => {
      const onError = (error: Error): void => reject(optionNamed(listenError(options, error)));
      server.once("error", onError);
      server.listen(fd === undefined ? { host: options.host, port: options.port } : { fd }, () => {
        server.off("error", onError);
        server.on("error", (error) => this.#log.warn({ err: error }, "a connection could not be accepted"));
        this.#open.push({ server, options, passable: passableSocket(server, options, () => server.close()) });
        resolve();
      });
    });
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const waiting = (this.#unanswered.get(socket) ?? 0) + 1;
    this.#unanswered.set(socket, waiting);
    response.once("close", () => {
      const left = (this.#unanswered.get(socket) ?? 1) - 1;
      if (left > 0) this.#unanswered.set(socket, left);
      else this.#unanswered.delete(socket);
    });
    if (waiting > this.#limits.pipelined) {
      socket.destroy();
      return;
    }
    if (this.#isClosing) response.setHeader("Connection", "close");
    if (!this.#knowsHost(request.headers.host)) {
      refuse(response, 421, "MORENDO_BAD_HOST", "this server is not known by that name; the option is http.names");
      return;
    }
    const routes = this.#routes;
    if (routes === undefined) return;
    routes.answer(request, response).catch((thrown: unknown) => this.#onFailure(response, thrown));
  }

  #onFailure(response: ServerResponse, thrown: unknown): void {
    if (response.destroyed) {
      this.#log.debug({ error: asError(thrown).message }, "a client went away before its answer");
      return;
    }
    this.#log.error({ err: asError(thrown) }, "a request failed");
    if (response.headersSent) response.destroy();
    else refuse(response, 500, "MORENDO_INTERNAL", "something went wrong; the log says what");
  }

  /** What came is no request, or did not come in time. */
  #onClientError(error: Error, socket: Socket): void {
    if (!socket.writable || socket.bytesWritten > 0) {
      socket.destroy();
      return;
    }
    const [status, message] = CLIENT_ERRORS[codeOf(error) ?? ""] ?? ["400 Bad Request", "this is not a request"];
    socket.end(rawRefusal(status, "MORENDO_BAD_REQUEST", message), () => socket.destroy());
  }
}

const CLIENT_ERRORS: Readonly<Record<string, readonly [string, string]>> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "the headers are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the request did not come in time"],
};

function optionNamed(error: MorendoError): MorendoError {
  return new MorendoError(error.code, `${error.message} (option http.listen)`, { cause: error });
}
