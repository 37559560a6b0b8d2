// A server that has a keeper: lets the keeper start its successors. What the keeper does: keeper.ts.

import type { SendHandle } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KEPT, type KeeperRequest } from "./keeper.ts";
import { handoverError, isObject } from "./protocol.ts";
import { type ProcessEnd, type SpawnSuccessor, successorEnvironment } from "./successor-process.ts";

/** What a kept server needs of its own process; `process` satisfies it. */
export type KeptPort = Pick<NodeJS.Process, "send" | "connected" | "channel" | "on">;

/** Tells whether a keeper has started this process, which must then not become one itself. Ask before `keptSpawn`. */
export function isKept(environment: Readonly<Record<string, string | undefined>>): boolean {
  return environment[KEPT] !== undefined;
}

/**
 * Returns the way to start a successor when this process has a keeper, and undefined when it has none. The variable
 * that says so is removed from `environment`. Call it once, early.
 */
export function keptSpawn(environment: Record<string, string | undefined>, port: KeptPort): SpawnSuccessor | undefined {
  const hasKeeper = isKept(environment) && port.send !== undefined;
  delete environment[KEPT];
  return hasKeeper ? new Keeper(port).spawn : undefined;
}

class Keeper {
  #port: KeptPort;
  #nextId = 1;
  #spawns = new Map<number, (answer: Readonly<Record<string, unknown>>) => void>();
  #ends = new Map<number, (end: ProcessEnd) => void>();

  constructor(port: KeptPort) {
    this.#port = port;
    port.on("message", (message) => this.#onMessage(message));
    port.on("disconnect", () => this.#onGone());
    // What the keeper has to say does not keep a server from ending.
    port.channel?.unref();
  }

  readonly spawn: SpawnSuccessor = async ({ env, ...command }, listeners) => {
    const handles = listeners.map(({ name, handle }) => {
      if (handle === undefined) throw handoverError("GONE", `the listener ${name} cannot be passed to a keeper`);
      return handle;
    });
    const [near, far] = await socketPair();
    try {
      for (const handle of [handleOf(far), ...handles]) await this.#send({ type: "pass" }, handle);
      const id = this.#nextId++;
      const answer = new Promise<Readonly<Record<string, unknown>>>((resolve) => this.#spawns.set(id, resolve));
      const environment = successorEnvironment(env, listeners, process.pid);
      await this.#send({ type: "spawn", id, command: { ...command, env: environment } });
      const { pid, why } = await answer;
      if (typeof pid !== "number") throw handoverError("GONE", String(why));
      const exited = new Promise<ProcessEnd>((resolve) => this.#ends.set(pid, resolve));
      return {
        pid,
        channel: near,
        exited,
        kill: (signal) => this.#tell({ type: "kill", pid, signal: signal === "SIGKILL" ? signal : "SIGTERM" }),
        passedOn: () => this.#tell({ type: "passed-on", pid }),
        // The keeper's child it is, not ours.
        release: () => undefined,
      };
    } catch (thrown) {
      near.destroy();
      throw thrown;
    } finally {
      // The kernel has a copy in flight, or the successor has it by now.
      far.destroy();
    }
  };

  /** Sends what nobody waits for: when the keeper is gone, its end tells. */
  #tell(request: KeeperRequest): void {
    this.#send(request).catch(() => this.#onGone());
  }

  #send(request: KeeperRequest, handle?: unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      const port = this.#port;
      if (port.send === undefined || !port.connected) {
        reject(handoverError("GONE", "the keeper is gone"));
        return;
      }
      // Node passes bare handles as well as servers and sockets, and does not start to read or accept on those.
      port.send(request, handle as SendHandle, undefined, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  #onMessage(message: unknown): void {
    if (!isObject(message)) return;
    const { type, id, pid, code, signal } = message;
    if (type === "spawned" && typeof id === "number") {
      this.#spawns.get(id)?.(message);
      this.#spawns.delete(id);
    } else if (type === "exited" && typeof pid === "number") {
      const end = { code: typeof code === "number" ? code : null, signal: asSignal(signal) };
      this.#ends.get(pid)?.(end);
      this.#ends.delete(pid);
    }
  }

  #onGone(): void {
    for (const resolve of this.#spawns.values()) resolve({ why: "the keeper is gone" });
    for (const resolve of this.#ends.values()) {
      resolve({ code: null, signal: null, error: handoverError("GONE", "the keeper is gone") });
    }
    this.#spawns.clear();
    this.#ends.clear();
  }
}

function asSignal(value: unknown): NodeJS.Signals | null {
  return typeof value === "string" && value.startsWith("SIG") ? (value as NodeJS.Signals) : null;
}

/** Two ends of a connection within this process, the second one unread. Node has no socketpair(2). */
async function socketPair(): Promise<readonly [Socket, Socket]> {
  const folder = await mkdtemp(join(tmpdir(), "handover-"));
  try {
    const path = join(folder, "channel");
    return await new Promise((resolve, reject) => {
      const server = createServer({ pauseOnConnect: true }, (far) => {
        server.close();
        resolve([near, far]);
      });
      server.maxConnections = 1;
      server.once("error", reject);
      let near: Socket;
      server.listen(path, () => {
        near = connect(path);
        near.once("error", reject);
      });
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function handleOf(socket: Socket): unknown {
  return Reflect.get(socket, "_handle");
}
