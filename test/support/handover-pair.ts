// A predecessor and whatever stands for its successor within one process, on a clock of the test's own.

import { Duplex } from "node:stream";
import { Handover, type HandoverOptions, type HandoverPlan, type ProcessEnd } from "../../src/handover/index.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { silentLog } from "../../src/util/log.ts";

/** One end of a pipe both ways in memory; each write arrives in a later turn. */
class PipeEnd extends Duplex {
  other: PipeEnd | undefined;

  override _read(): void {
    // What arrives is pushed as it comes.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    setImmediate(() => {
      if (this.other?.readableEnded === false && !this.other.destroyed) this.other.push(chunk);
      done();
    });
  }

  override _final(done: () => void): void {
    setImmediate(() => {
      if (this.other?.destroyed === false) this.other.push(null);
      done();
    });
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    setImmediate(() => {
      if (this.other?.destroyed === false && !this.other.readableEnded) this.other.push(null);
    });
    done(error);
  }
}

/** Two ends that belong together. */
export function pipe(): readonly [Duplex, Duplex] {
  const [one, two] = [new PipeEnd(), new PipeEnd()];
  one.other = two;
  two.other = one;
  return [one, two];
}

/** A predecessor whose successors are puppets. */
export class HandoverPair {
  readonly clock = new ManualClock();
  /** What happened on the predecessor's side, in order. */
  readonly events: string[] = [];
  readonly handover: Handover;
  /** The successor's end of the channel of the last attempt. */
  channel: Duplex = pipe()[1];
  /** Everything the predecessor has said on it. */
  heard = "";
  /** Whether a SIGKILL ends the successor. */
  dies = true;
  #end: (end: ProcessEnd) => void = () => undefined;

  constructor(options: Partial<HandoverOptions> = {}) {
    this.handover = new Handover({
      clock: this.clock,
      log: silentLog,
      spawn: async () => {
        const [near, far] = pipe();
        this.channel = far;
        this.heard = "";
        far.on("data", (chunk: Buffer) => {
          this.heard += chunk.toString();
        });
        const exited = new Promise<ProcessEnd>((resolve) => {
          this.#end = resolve;
        });
        return {
          pid: 4711,
          channel: near,
          exited,
          kill: (signal) => {
            this.events.push(`kill ${signal}`);
            if (this.dies) this.end({ code: null, signal });
          },
          release: () => void this.events.push("release"),
        };
      },
      ...options,
    });
  }

  plan(changes: Partial<HandoverPlan> = {}): HandoverPlan {
    return {
      command: { command: "node", args: [], cwd: "/", env: {} },
      listeners: [],
      offers: [{ name: "count", versions: [1, 2], required: true }],
      freeze: (versions) => {
        this.events.push(`freeze ${[...versions].join(" ")}`);
        return [{ name: "count", items: [1, 2, 3] }];
      },
      thaw: () => void this.events.push("thaw"),
      onStep: (step) => void this.events.push(`step ${step}`),
      ...changes,
    };
  }

  /** Says something to the predecessor, and lets it arrive. */
  async say(message: object | string): Promise<void> {
    this.channel.write(typeof message === "string" ? message : `${JSON.stringify(message)}\n`);
    await this.settle();
  }

  /** Ends the successor; what is on its way to it is still recorded. */
  end(end: ProcessEnd): void {
    const { channel } = this;
    this.#end(end);
    setImmediate(() => setImmediate(() => channel.destroy()));
  }

  /** Lets everything that is under way arrive. */
  async settle(): Promise<void> {
    for (let round = 0; round < 5; round++) await this.clock.advance(0);
  }
}

/** What a successor says first. */
export const HELLO = { type: "hello", protocol: 1, pid: 4711, sections: { count: { versions: [1], required: true } } };
