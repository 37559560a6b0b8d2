// Whoever connects while the server is replaced, and whoever asks for it: every connection gets a stream, or word that the
// server goes down; the control socket always answers; requests that come at a bad time are told why not.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { sleep } from "../../support/child.ts";
import { restarted, statusOf } from "../../support/control.ts";
import { Generations } from "../../support/generations.ts";
import { TSX } from "../../support/morendo.ts";

const CHILD = fileURLToPath(new URL("../../support/login-loop-child.ts", import.meta.url));

interface Loop {
  readonly good: number;
  readonly told: number;
  readonly faults: Readonly<Record<string, number>>;
}

/** A process that connects again and again. */
class Connecting {
  #child: ChildProcess;
  #output = "";

  constructor(...args: readonly string[]) {
    this.#child = spawn(process.execPath, ["--import", TSX, CHILD, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
  }

  async started(): Promise<void> {
    while (!this.#output.includes("ready") && this.#child.exitCode === null) await sleep(20);
  }

  async stop(): Promise<Loop> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin?.end();
    await ended;
    return JSON.parse(/\{.*\}/.exec(this.#output)?.[0] ?? "{}") as Loop;
  }
}

describe("while the server is replaced", function () {
  this.timeout(180_000);
  let generations: Generations | undefined;
  afterEach(() => generations?.end());

  it("every connection gets what it wants or word that the server goes down, through 10 restarts", async () => {
    generations = await Generations.start({ accounts: [{ jid: "romeo@a.test" }] });
    const { address, folder } = generations;
    const loops = ["header", "tls", "login"].map((wanted) => new Connecting(address, "a.test", "romeo", wanted));
    try {
      for (const loop of loops) await loop.started();
      for (let round = 0; round < 10; round++) await restarted(folder);
    } finally {
      const seen = await Promise.all(loops.map((loop) => loop.stop()));
      for (const { good, faults } of seen) {
        assert.deepEqual(faults, {});
        assert.ok(good > 50, `only ${good} connections`);
      }
    }
  });

  it("somebody answers at the control socket at any moment, and in the end the last one", async () => {
    generations = await Generations.start();
    const { folder } = generations;
    const pids = [generations.process.pid];
    const seen = new Set<number>();
    let isOver = false;
    let asked = 0;
    const asking = (async () => {
      while (!isOver) {
        seen.add((await statusOf(folder)).pid);
        asked++;
      }
    })();
    const restarting = (async () => {
      for (let round = 0; round < 5; round++) pids.push((await restarted(folder)).pid);
      isOver = true;
    })();
    await Promise.all([asking, restarting]);
    seen.add((await statusOf(folder)).pid);
    assert.ok(asked > 100, `asked ${asked} times`);
    const ascending = (one: number, other: number): number => one - other;
    assert.deepEqual([...seen].sort(ascending), [...pids].sort(ascending));
  });
});
