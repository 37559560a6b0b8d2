// Starts and commands the load generator (load.ts).

import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { TSX } from "../support/program.ts";

/** The server to load. */
export interface Target {
  readonly host: string;
  readonly domain: string;
}

/** What the load generator can be told to do. */
export type LoadTask =
  | { op: "login"; target: Target; first: number; count: number; concurrency: number; presence: boolean }
  | { op: "churn"; target: Target; accounts: number; count: number; concurrency: number }
  | { op: "messages"; pairs: number; window: number; seconds: number }
  | { op: "close" };

export type LoadCommand = LoadTask & { id: number };
export type LoadReply = { id: number; result: Record<string, number> } | { id: number; error: string };

/** A running load generator. */
export class LoadProcess {
  #child: ChildProcess;
  #ids = 0;
  #waiting = new Map<number, { resolve(result: Record<string, number>): void; reject(error: Error): void }>();

  constructor() {
    this.#child = fork(fileURLToPath(new URL("load.ts", import.meta.url)), [], {
      execArgv: ["--import", TSX],
    });
    this.#child.on("message", (reply: LoadReply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if ("error" in reply) waiting?.reject(new Error(reply.error));
      else waiting?.resolve(reply.result);
    });
    this.#child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the load generator ended"));
    });
  }

  /** Does one task and returns its numbers. */
  run(task: LoadTask): Promise<Record<string, number>> {
    const id = ++this.#ids;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ ...task, id });
    });
  }

  /** Ends the process. */
  stop(): void {
    this.#child.kill("SIGKILL");
  }
}
