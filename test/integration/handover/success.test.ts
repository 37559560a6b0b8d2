// Restarts that succeed, with real processes: nobody is refused, state arrives, and no generation has more than the last.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { connect } from "node:net";
import { HandoverScene, openDescriptors } from "../../support/handover-scene.ts";
import { TSX } from "../../support/morendo.ts";

const LOOP = new URL("../../support/connect-loop-child.ts", import.meta.url).pathname;

interface LoopResult {
  readonly good: number;
  readonly faults: Record<string, number>;
  readonly processes: number;
}

/** Connects in a loop, from a process of its own. */
class ConnectLoop {
  #child: ChildProcess;
  #output = "";
  #changed: () => void = () => undefined;

  constructor(host: string, port: number) {
    this.#child = spawn(process.execPath, ["--import", TSX, LOOP, host, String(port)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
      this.#changed();
    });
  }

  async #outputHas(pattern: RegExp): Promise<string> {
    for (;;) {
      const match = pattern.exec(this.#output);
      if (match !== null) return match[0];
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  async started(): Promise<void> {
    await this.#outputHas(/ready/);
  }

  async stop(): Promise<LoopResult> {
    this.#child.stdin?.end();
    return JSON.parse(await this.#outputHas(/\{.*\}/)) as LoopResult;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** Asks a listener who it is. */
function ask(address: string): Promise<string> {
  const cut = address.lastIndexOf(":");
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ host: address.slice(0, cut), port: Number(address.slice(cut + 1)) });
    socket.setEncoding("utf8").on("error", reject);
    socket.on("data", (chunk: string) => {
      if (text === "") socket.write("ping\n");
      text += chunk;
    });
    socket.on("end", () => resolve(text.split("\n")[1] ?? ""));
  });
}

describe("handing over to a successor", function () {
  this.timeout(180_000);
  let scene: HandoverScene;
  const loops: ConnectLoop[] = [];
  afterEach(async () => {
    for (const loop of loops.splice(0)) loop.kill();
    await scene.end();
  });

  for (const [host, restarts] of [
    ["127.0.0.1", 20],
    ["::1", 5],
    ["0.0.0.0", 5],
  ] as const) {
    it(`refuses and resets nobody on ${host} through ${restarts} restarts`, async () => {
      scene = new HandoverScene({ settings: { listen: [`${host}:0`] } });
      let { pid, addresses } = await scene.ready(1);
      const port = Number(addresses[0]?.slice(addresses[0].lastIndexOf(":") + 1));
      const target = host === "0.0.0.0" ? "127.0.0.1" : host;
      loops.push(...[1, 2, 3].map(() => new ConnectLoop(target, port)));
      await Promise.all(loops.map((loop) => loop.started()));
      for (let generation = 2; generation <= restarts + 1; generation++) {
        const outcome = await scene.restart(pid);
        assert.equal(outcome.ok, true, JSON.stringify(outcome));
        ({ pid, addresses } = await scene.ready(generation));
        assert.equal(pid, outcome.pid);
        assert.deepEqual(addresses, [`${host}:${port}`]);
      }
      const results = await Promise.all(loops.map((loop) => loop.stop()));
      for (const { good, faults, processes } of results) {
        assert.deepEqual(faults, {});
        assert.ok(good > 100, `only ${good} connections`);
        assert.ok(processes > restarts / 2, `only ${processes} generations were seen`);
      }
      if (process.env.MORENDO_TELL !== undefined) process.stderr.write(`${JSON.stringify(results)}\n`);
    });
  }

  it("carries the state across, and ten generations have no more descriptors open than the second", async () => {
    scene = new HandoverScene({ settings: { listen: ["127.0.0.1:0", "127.0.0.1:0"], items: 1_000 } });
    let { pid, addresses } = await scene.ready(1);
    assert.equal(await ask(addresses[0] ?? ""), `1 ${pid} 1 ping`);
    const counts: number[] = [];
    for (let generation = 2; generation <= 11; generation++) {
      const outcome = await scene.restart(pid);
      assert.equal(outcome.ok, true, JSON.stringify(outcome));
      ({ pid } = await scene.ready(generation));
      assert.equal(await ask(addresses[0] ?? ""), `${generation} ${pid} ${generation} ping`);
      counts.push(openDescriptors(pid));
    }
    assert.ok(Math.max(...counts.slice(1)) <= (counts[0] ?? 0) + 1, `descriptors: ${counts.join(" ")}`);
    assert.equal((await scene.exited).code, 0);
  });
});
