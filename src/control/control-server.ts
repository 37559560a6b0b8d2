// The server's end of the control socket: takes connections, reads requests, has operations performed and writes what they return.
// Owns the socket file. Knows nothing of what they do: see src/operations.
//
// The socket is made under another name beside its path and gets the path when it is ready, because a successor's socket
// takes the place of its predecessor's: `prepare` while the predecessor serves, `publish` once the service is ours. Whoever
// connects finds the one or the other at any moment. The predecessor goes on answering those who are connected to it, and
// its `close` leaves a path alone that is no longer its own.

import { chmod, link, lstat, rename, unlink } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import type { Operations } from "../operations/operations.ts";
import type { Clock } from "../util/clock.ts";
import { asError, codeOf, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import { connectControl } from "./control-client.ts";
import { ControlConnection } from "./control-connection.ts";
import { checkSocketPath, makingName, probeSocket, removeStale } from "./socket-path.ts";

/** How long a predecessor waits for its successor's socket at the path, and how often it looks. */
const REPLACED_MS = 2_000;
const LOOK_MS = 10;

/** More connections than this at a time are refused: a person and a few scripts need a handful. */
const MAX_CONNECTIONS = 32;

/** What the control socket is made of. */
export interface ControlServerOptions {
  /** The path of the Unix socket. */
  readonly path: string;
  readonly operations: Pick<Operations, "perform">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Listens on the control socket. */
export class ControlServer {
  #options: ControlServerOptions;
  #server: Server | undefined;
  /** The socket file, once it has been made: what is at the path may become somebody else's. */
  #inode: number | undefined;
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
    await this.prepare();
    const making = makingName(path);
    try {
      // Unlike a rename it fails when another server has come in between.
      await link(making, path);
    } catch (thrown) {
      if (codeOf(thrown) !== "EEXIST") throw thrown;
      throw new MorendoError("MORENDO_ALREADY_RUNNING", `Morendo is being started twice: ${path} has just been taken`);
    } finally {
      await removeIfThere(making);
    }
  }

  /** Makes the socket and listens, but not at the path yet: for a successor whose predecessor is still there. */
  async prepare(): Promise<void> {
    const { path } = this.#options;
    await checkSocketPath(path);
    const making = makingName(path);
    await removeIfThere(making);
    this.#server = await this.#listen(making);
    await chmod(making, 0o600);
    const { ino, mode, uid } = await lstat(making);
    // Some file systems take a mode and do not keep it.
    if ((mode & 0o077) !== 0 || (process.geteuid !== undefined && uid !== process.geteuid())) {
      const message = `control socket: ${path} cannot be kept from others there (uid ${uid}, mode ${(mode & 0o777).toString(8)})`;
      throw new MorendoError("MORENDO_CONTROL_PATH", message);
    }
    this.#inode = ino;
  }

  /** Puts the prepared socket at the path, in the place of whatever was there. */
  async publish(): Promise<void> {
    const { path } = this.#options;
    await rename(makingName(path), path);
  }

  /** Resolves when a successor's socket is at the path, after two seconds at the latest. */
  async replaced(): Promise<void> {
    for (let left = REPLACED_MS; left > 0 && (await this.#isAtPath()); left -= LOOK_MS) {
      await this.#options.clock.sleep(LOOK_MS);
    }
  }

  /**
   * Lets the requests under way end, at most for `limitMs`, then removes the socket if it is still ours. With `hasSuccessor`
   * it waits first until the successor's is at the path, so that there is always one. Late callers get the same promise.
   */
  close(limitMs = 1_000, { hasSuccessor = false }: { readonly hasSuccessor?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#close(limitMs, hasSuccessor);
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

  #listen(path: string): Promise<Server> {
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
    const { operations, clock, log } = this.#options;
    const connection = new ControlConnection({ socket, operations, clock, log });
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
  }

  async #close(limitMs: number, hasSuccessor: boolean): Promise<void> {
    const server = this.#server;
    const { clock } = this.#options;
    if (server === undefined) return;
    if (hasSuccessor) await this.replaced();
    // While the socket is open: once it is closed another one may get its inode.
    if (await this.#isAtPath()) await removeIfThere(this.#options.path);
    // Whoever found the socket before is taken in.
    await clock.turn();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await Promise.all([...this.#connections].map((connection) => connection.close(limitMs)));
    await closed;
  }

  /** Whether the socket's file is at the path, and not another server's. */
  async #isAtPath(): Promise<boolean> {
    const found = await lstat(this.#options.path).catch((thrown: unknown) => {
      if (codeOf(thrown) !== "ENOENT") throw thrown;
      return undefined;
    });
    return found !== undefined && found.ino === this.#inode;
  }
}

async function removeIfThere(path: string): Promise<void> {
  await unlink(path).catch((thrown: unknown) => {
    if (codeOf(thrown) !== "ENOENT") throw thrown;
  });
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
