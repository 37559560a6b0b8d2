// Sees to it that an input that never ends is found: a worker thread looks at how far the fuzzer is, writes down the input
// that takes too long and ends the process, because nothing else can be done about a loop in the main thread.

import { Worker } from "node:worker_threads";
import { MAX_INPUT } from "./mutator.ts";

const HEAD = 3;

const SOURCE = `
const { workerData } = require("node:worker_threads");
const { mkdirSync, writeFileSync, writeSync } = require("node:fs");
const { head, bytes, folder, limitMs } = workerData;
const state = new Int32Array(head);
const input = new Uint8Array(bytes);
let last = -1;
let since = Date.now();
setInterval(() => {
  const beat = Atomics.load(state, 0);
  if (beat !== last || Atomics.load(state, 1) === 0) { last = beat; since = Date.now(); return; }
  if (Date.now() - since < limitMs) return;
  const found = Buffer.from(input.slice(0, Atomics.load(state, 2)));
  mkdirSync(folder, { recursive: true });
  const file = folder + "/hang-" + require("node:crypto").createHash("sha1").update(found).digest("hex").slice(0, 12);
  writeFileSync(file, found);
  writeSync(2, "\\nan input took longer than " + limitMs + " ms: " + file + "\\n");
  process.kill(process.pid, "SIGKILL");
}, 200);
`;

/** Watches over the inputs of one target. */
export class HangWatch {
  #state = new Int32Array(new SharedArrayBuffer(4 * HEAD));
  #input = new Uint8Array(new SharedArrayBuffer(MAX_INPUT));
  #worker: Worker;

  /** What hangs for `limitMs` is written into `folder`. */
  constructor(folder: string, limitMs: number) {
    const workerData = { head: this.#state.buffer, bytes: this.#input.buffer, folder, limitMs };
    this.#worker = new Worker(SOURCE, { eval: true, workerData, execArgv: [] });
    this.#worker.unref();
  }

  begin(input: Buffer): void {
    this.#input.set(input.subarray(0, MAX_INPUT));
    Atomics.store(this.#state, 2, Math.min(input.length, MAX_INPUT));
    Atomics.add(this.#state, 0, 1);
    Atomics.store(this.#state, 1, 1);
  }

  end(): void {
    Atomics.store(this.#state, 1, 0);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
