// Whoever connects while the server is replaced, and whoever asks for it: every connection gets a stream, or word that the
// server goes down; the control socket always answers; requests that come at a bad time are told why not.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { sleep } from "../../support/child.ts";
import { restarted, statusOf } from "../../support/control.ts";
import { Generations } from "../../support/generations.ts";
import { NODE, runnable } from "../../support/program.ts";

const CHILD = runnable(new URL("../../support/login-loop-child.ts", import.meta.url));

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
    this.#child = spawn(NODE[0], [...NODE.slice(1), CHILD, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
  }

  /** Waits until so many more connections have got what they wanted, or it has ended. */
  async more(count: number): Promise<void> {
    const good = (): number => this.#output.split("good\n").length - 1;
    const enough = good() + count;
    while (good() < enough && this.#child.exitCode === null) await sleep(20);
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
      for (let round = 0; round < 10; round++) {
        await Promise.all(loops.map((loop) => loop.more(6)));
        await restarted(folder);
      }
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
      try {
        while (!isOver) {
          seen.add((await statusOf(folder)).pid);
          asked++;
        }
      } finally {
        isOver = true;
      }
    })();
    const restarting = (async () => {
      try {
        for (let round = 0; round < 5; round++) {
          const enough = asked + 21;
          while (asked < enough && !isOver) await sleep(5);
          pids.push((await restarted(folder)).pid);
        }
      } finally {
        isOver = true;
      }
    })();
    await Promise.all([asking, restarting]);
    seen.add((await statusOf(folder)).pid);
    assert.ok(asked > 100, `asked ${asked} times`);
    const ascending = (one: number, other: number): number => one - other;
    assert.deepEqual([...seen].sort(ascending), [...pids].sort(ascending));
  });
});
