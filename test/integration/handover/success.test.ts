// Restarts that succeed, with real processes: nobody is refused, state arrives, and no generation has more than the last.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, rename, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import {
  ask,
  CHILD,
  HandoverScene,
  openDescriptors,
  outcomeOf,
  type PrintedOutcome,
} from "../../support/handover-scene.ts";
import { NODE, runnable } from "../../support/program.ts";
import { skip } from "../../support/skip.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { waitUntil } from "../../support/wire.ts";

const LOOP = runnable(new URL("../../support/connect-loop-child.ts", import.meta.url));

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
    this.#child = spawn(NODE[0], [...NODE.slice(1), LOOP, host, String(port)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
      this.#changed();
    });
  }

  async #outputIs(enough: () => boolean): Promise<void> {
    while (!enough()) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  /** Waits until so many more connections have been answered. */
  async more(count: number): Promise<void> {
    const good = (): number => this.#output.split("good\n").length - 1;
    const wanted = good() + count;
    await this.#outputIs(() => good() >= wanted);
  }

  async stop(): Promise<LoopResult> {
    this.#child.stdin?.end();
    await this.#outputIs(() => this.#output.endsWith("}\n"));
    return JSON.parse(this.#output.slice(this.#output.indexOf("{"))) as LoopResult;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

function cannotListen(host: string): Promise<string | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", (error) => resolve(error.message));
    server.listen(0, host, () => server.close(() => resolve(undefined)));
  });
}

describe("handing over to a successor", function () {
  this.timeout(180_000);
  let scene: HandoverScene | undefined;
  const loops: ConnectLoop[] = [];
  afterEach(async () => {
    for (const loop of loops.splice(0)) loop.kill();
    await scene?.end();
  });

  for (const [host, restarts] of [
    ["127.0.0.1", 20],
    ["::1", 5],
    ["0.0.0.0", 5],
  ] as const) {
    it(`refuses and resets nobody on ${host} through ${restarts} restarts`, async function () {
      const missing = await cannotListen(host);
      if (missing !== undefined) skip(this, `no ${host} here: ${missing}`);
      scene = new HandoverScene({ settings: { listen: [`${host}:0`] } });
      let { pid, addresses } = await scene.ready(1);
      const port = Number(addresses[0]?.slice(addresses[0].lastIndexOf(":") + 1));
      const target = host === "0.0.0.0" ? "127.0.0.1" : host;
      loops.push(...[1, 2, 3].map(() => new ConnectLoop(target, port)));
      await Promise.all(loops.map((loop) => loop.more(1)));
      for (let generation = 2; generation <= restarts + 1; generation++) {
        const outcome: PrintedOutcome = await scene.restart(pid);
        assert.equal(outcome.ok, true, JSON.stringify(outcome));
        ({ pid, addresses } = await scene.ready(generation));
        assert.equal(pid, outcome.pid);
        assert.deepEqual(addresses, [`${host}:${port}`]);
        await Promise.all(loops.map((loop) => loop.more(Math.ceil(101 / restarts))));
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
    let most = 0;
    for (let generation = 2; generation <= 11; generation++) {
      const outcome: PrintedOutcome = await scene.restart(pid);
      assert.equal(outcome.ok, true, JSON.stringify(outcome));
      ({ pid } = await scene.ready(generation));
      assert.equal(await ask(addresses[0] ?? ""), `${generation} ${pid} ${generation} ping`);
      if (generation === 2) most = openDescriptors(pid) + 1;
      await waitUntil(() => openDescriptors(pid) <= most, `generation ${generation} to have ${most} descriptors open`);
    }
    assert.equal((await scene.exited).code, 0);
  });

  it("leaves nothing of what it inherited to the processes it starts", async () => {
    scene = new HandoverScene({ settings: { listen: ["127.0.0.1:0"], looksAtGrandchild: true } });
    const { pid } = await scene.ready(1);
    assert.equal((await scene.restart(pid)).ok, true);
    const before = await scene.line(1, "grandchild");
    const after = await scene.line(2, "grandchild");
    assert.match(after.text, /not told/);
    assert.equal(after.text, before.text);
  });

  it("starts what a swapped symlink leads to, also from a process that was itself started by a restart", async () => {
    const folder = await temporaryFolder();
    const link = join(folder.path, "current");
    for (const version of ["v1", "v2", "v3"]) {
      await mkdir(join(folder.path, version));
      const program = `console.log("program ${version}"); await import(${JSON.stringify(CHILD)});`;
      await writeFile(join(folder.path, version, "main.mjs"), program);
    }
    await symlink("v1", link);
    scene = new HandoverScene({ settings: { listen: ["127.0.0.1:0"] }, script: join(link, "main.mjs") });
    let { pid } = await scene.ready(1);
    for (const [generation, version] of [
      [2, "v2"],
      [3, "v3"],
    ] as const) {
      await symlink(version, `${link}.new`);
      await rename(`${link}.new`, link);
      const outcome: PrintedOutcome = await scene.restart(pid);
      assert.equal(outcome.ok, true, JSON.stringify(outcome));
      ({ pid } = await scene.ready(generation));
      assert.match(scene.other, new RegExp(`program ${version}`));
    }
    await folder.remove();
  });

  it("hands over a state of many megabytes", async () => {
    scene = new HandoverScene({ settings: { listen: ["127.0.0.1:0"], items: 200, itemBytes: 200_000 } });
    const { pid } = await scene.ready(1);
    assert.equal((await scene.restart(pid)).ok, true);
    assert.equal((await scene.line(2, "state")).text, "state complete 200");
  });

  it("refuses a second restart while one is under way, and once the service has been passed on", async () => {
    scene = new HandoverScene({ settings: { listen: ["127.0.0.1:0"] } });
    const { pid } = await scene.ready(1);
    const first = scene.restart(pid);
    await scene.line(1, "step hello");
    const second = await scene.restart(pid);
    assert.ok(!second.ok && second.step === "refused");
    assert.match(second.why, /under way for .* \(step hello\)/);
    assert.deepEqual(await first, second, "the first line is the refusal");
    const refused = scene.lines.findIndex(({ text }) => text.startsWith("outcome"));
    const last = outcomeOf(await scene.line(1, "outcome", refused + 1));
    assert.equal(last.ok, true, JSON.stringify(last));
  });
});
