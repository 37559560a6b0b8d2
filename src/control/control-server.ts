// The server's end of the control socket: takes connections, reads requests, runs actions and writes what they return.
// Owns the socket file. Knows nothing of what the actions do: see actions.ts.

import { chmod, unlink } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../util/clock.ts";
import { asError, codeOf, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { ActionTable } from "./action.ts";
import { connectControl } from "./control-client.ts";
import { ControlConnection } from "./control-connection.ts";
import { checkSocketPath, probeSocket, removeStale } from "./socket-path.ts";

/** More connections than this at a time are refused: a person and a few scripts need a handful. */
const MAX_CONNECTIONS = 32;

/** What the control socket is made of. */
export interface ControlServerOptions {
  /** The path of the Unix socket. */
  readonly path: string;
  readonly actions: ActionTable;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Listens on the control socket. */
export class ControlServer {
  #options: ControlServerOptions;
  #server: Server | undefined;
  #connections = new Set<ControlConnection>();
  #closing: Promise<void> | undefined;

  constructor(options: ControlServerOptions) {
    this.#options = options;
  }

  /**
   * Makes the socket, readable by its owner only. Rejects with `MORENDO_ALREADY_RUNNING` when a live server answers at
   * the path, and with `MORENDO_CONTROL_PATH` when the path will not do.
   */
  async start(): Promise<void> {
    const { path } = this.#options;
    await checkSocketPath(path);
    await this.#makeRoom();
    this.#server = await this.#listen();
    await chmod(path, 0o600);
  }

  /** Lets the requests under way end, at most for `limitMs`, then removes the socket. Late callers get the same promise. */
  close(limitMs = 1_000): Promise<void> {
    this.#closing ??= this.#close(limitMs);
    return this.#closing;
  }

  /** Removes the socket and drops every connection now. */
  destroy(): void {
    for (const connection of this.#connections) connection.destroy();
    void this.close(0).catch((thrown: unknown) => {
      this.#options.log.warn({ error: asError(thrown).message }, "the control socket could not be closed");
    });
  }

  async #makeRoom(): Promise<void> {
    const { path, log, clock } = this.#options;
    const found = await probeSocket(path);
    if (found === "other") {
      throw new MorendoError("MORENDO_CONTROL_PATH", `control socket: ${path} is there already and is not a socket`);
    }
    if (found === "live") {
      const who = await ownerOf(path, clock);
      throw new MorendoError("MORENDO_ALREADY_RUNNING", `Morendo is running already${who}: it answers at ${path}`);
    }
    if (found === "stale") {
      log.info({ path }, "removing the control socket of a server that is gone");
      await removeStale(path);
    }
  }

  #listen(): Promise<Server> {
    const { path } = this.#options;
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    server.maxConnections = MAX_CONNECTIONS;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.once("listening", () => {
        server.off("error", reject);
        server.on("error", (error) => this.#options.log.error({ error: error.message }, "control socket failed"));
        resolve(server);
      });
      // The socket must never be open to others, not even for the moment before chmod; `listen` binds at once.
      const mask = process.umask(0o177);
      try {
        server.listen(path);
      } finally {
        process.umask(mask);
      }
    });
  }

  #accept(socket: Socket): void {
    const { actions, clock, log } = this.#options;
    const connection = new ControlConnection({ socket, actions, clock, log });
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
  }

  async #close(limitMs: number): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    // Closing the server also removes the socket's file.
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await Promise.all([...this.#connections].map((connection) => connection.close(limitMs)));
    await closed;
    await unlink(this.#options.path).catch((thrown: unknown) => {
      if (codeOf(thrown) !== "ENOENT") throw thrown;
    });
  }
}

/** Returns ` (pid 123)` for the server that answers at `path`, or nothing when it does not say. */
async function ownerOf(path: string, clock: Clock): Promise<string> {
  try {
    const client = await connectControl({ path, clock, timeoutMs: 2_000 });
    try {
      const status = await client.request("status");
      const pid = typeof status === "object" && status !== null && "pid" in status ? status.pid : undefined;
      return typeof pid === "number" ? ` (pid ${pid})` : "";
    } finally {
      client.close();
    }
  } catch (thrown) {
    return ` (it does not say its pid: ${asError(thrown).message})`;
  }
}
