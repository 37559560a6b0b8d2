// Says that a data folder is in use, so that no second server begins there: not by another control socket, and not in another
// container. Each process that has the folder open listens on a Unix socket of its own in `locks`; the kernel answers for it
// exactly as long as the process lives, kill -9 included, whatever number it has where the other one looks from. During a
// restart there are two, because a successor does not ask. File systems that machines share cannot say that: lmdb is not for
// those either.

import { type FileHandle, mkdir, open, readdir, unlink } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import type { Clock } from "../util/clock.ts";
import { asError, codeOf, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";

const FOLDER = "locks";
const NAME = /^[0-9a-f]{8}$/;
const NAME_LENGTH = 8;
/** How long whoever has the folder may take to say its number: it is the answer of the kernel that counts. */
const PID_MS = 500;
const PATIENCE_MS = 3_000;
const LOOK_MS = 100;

/** What a lock is made of. */
export interface DataLockOptions {
  /** The data folder, which is there. */
  readonly data: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** How long another one is waited for that may be about to end: `morendo stop` returns before the process is gone. */
  readonly patienceMs?: number;
}

/** A data folder that is in use by this process. */
export class DataLock {
  #options: DataLockOptions;
  #name: string;
  #server: Server;
  #folder: FileHandle;

  private constructor(options: DataLockOptions, name: string, server: Server, folder: FileHandle) {
    this.#options = options;
    this.#name = name;
    this.#server = server;
    this.#folder = folder;
  }

  /**
   * Takes the folder. Rejects with `MORENDO_DATA_IN_USE` when another process has it; a successor, whose predecessor has it,
   * does not ask. Undefined, with a warning in the log, where the file system knows no sockets: then nobody guards it.
   */
  static async take(options: DataLockOptions, { isSuccessor = false } = {}): Promise<DataLock | undefined> {
    const { data, random, log, patienceMs = PATIENCE_MS } = options;
    const name = random.bytes(NAME_LENGTH / 2).toString("hex");
    let folder: FileHandle | undefined;
    let server: Server;
    try {
      await mkdir(join(data, FOLDER), { recursive: true, mode: 0o700 });
      folder = await open(join(data, FOLDER), "r");
      server = await listen(inside(folder, data, name));
    } catch (thrown) {
      await folder?.close();
      log.warn({ err: asError(thrown), data }, "nothing keeps a second server out of the data folder");
      return undefined;
    }
    const lock = new DataLock(options, name, server, folder);
    try {
      for (let left = patienceMs; !isSuccessor; left -= LOOK_MS) {
        const owner = await lock.#otherOwner();
        if (owner === undefined) break;
        if (left <= 0) {
          const message = `the data folder ${data} is in use by another Morendo${owner === "" ? "" : ` (pid ${owner})`}`;
          throw new MorendoError("MORENDO_DATA_IN_USE", message);
        }
        await options.clock.sleep(LOOK_MS);
      }
    } catch (thrown) {
      await lock.release();
      throw thrown;
    }
    return lock;
  }

  /** Removes what other processes have left that were killed: at a restart nobody else looks. Never rejects. */
  async sweep(): Promise<void> {
    const { clock, log } = this.#options;
    // A process that is being killed may still answer.
    await clock.sleep(LOOK_MS);
    try {
      await this.#otherOwner();
    } catch (thrown) {
      log.warn(
        { err: asError(thrown) },
        "what a process that was killed has left in the data folder could not be removed",
      );
    }
  }

  /** Lets go of the folder. */
  async release(): Promise<void> {
    // Closing removes the socket, which is found by way of the folder.
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#folder.close();
  }

  /**
   * Returns the number of another process that has the folder, empty when it does not say, and removes what dead ones have
   * left. Ours is there before we look, so that of two that begin at the same time at least one sees the other.
   */
  async #otherOwner(): Promise<string | undefined> {
    const { data, clock } = this.#options;
    let owner: string | undefined;
    for (const name of await readdir(join(data, FOLDER))) {
      if (name === this.#name || !NAME.test(name)) continue;
      const found = await askOwner(inside(this.#folder, data, name), clock);
      owner ??= found;
      if (found !== undefined) continue;
      await unlink(join(data, FOLDER, name)).catch((thrown: unknown) => {
        if (codeOf(thrown) !== "ENOENT") throw thrown;
      });
    }
    return owner;
  }
}

/** The path of a socket may have some hundred bytes only, and that of the folder may have more. */
function inside(folder: FileHandle, data: string, name: string): string {
  return process.platform === "linux" ? `/proc/self/fd/${folder.fd}/${name}` : join(data, FOLDER, name);
}

function listen(path: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.end(`${process.pid}\n`);
  });
  // It is for others to see, and keeps nobody here.
  server.unref();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => resolve(server));
    const mask = process.umask(0o177);
    try {
      server.listen(path);
    } finally {
      process.umask(mask);
    }
  });
}

/** Resolves to the number of the process behind a socket, empty when it does not say, or undefined when it is dead. */
function askOwner(path: string, clock: Clock): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let text = "";
    const timer = clock.setTimer(PID_MS, () => socket.destroy());
    let isAlive = false;
    socket.once("connect", () => {
      isAlive = true;
    });
    socket.on("data", (data) => {
      if (text.length < 32) text += data.toString();
    });
    socket.once("error", (error) => {
      const code = codeOf(error);
      // Anything but "nobody listens" leaves it open, and then it is to be taken for alive.
      isAlive = code !== "ECONNREFUSED" && code !== "ENOENT";
    });
    socket.once("close", () => {
      timer.cancel();
      resolve(isAlive ? (/^\d+/.exec(text)?.[0] ?? "") : undefined);
    });
  });
}
