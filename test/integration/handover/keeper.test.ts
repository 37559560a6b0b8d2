// A keeper with real processes: its process id stays, generations come and go below it, and nobody is left over.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { ask, HandoverScene, isAlive, openDescriptors } from "../../support/handover-scene.ts";
import { NODE, runnable } from "../../support/program.ts";
import { notPermitted } from "../../support/skip.ts";
import { waitUntil } from "../../support/wire.ts";

const KEEPER = runnable(new URL("../../support/keeper-child.ts", import.meta.url));

describe("a keeper", function () {
  this.timeout(120_000);
  let scene: HandoverScene | undefined;
  afterEach(() => scene?.end());

  it("starts the successors that its server asks for, and stays one process", async () => {
    scene = new HandoverScene({ settings: { listen: ["127.0.0.1:0", "127.0.0.1:0"] }, script: KEEPER });
    const { pid: keeper } = await scene.line(0, "keeper");
    let { pid, addresses } = await scene.ready(1);
    let most = 0;
    for (let generation = 2; generation <= 4; generation++) {
      const outcome = await scene.restart(pid);
      assert.ok(outcome.ok, JSON.stringify(outcome));
      const before = pid;
      ({ pid } = await scene.ready(generation));
      assert.equal(parentOf(pid), keeper);
      await scene.gone(before);
      assert.match(await ask(addresses[0] ?? ""), new RegExp(`^${generation} ${pid} `));
      assert.match(await ask(addresses[1] ?? ""), new RegExp(`^${generation} ${pid} `));
      if (generation === 2) most = openDescriptors(keeper);
    }
    assert.ok(isAlive(keeper));
    // The listening sockets and channels that went through it are closed: there are more of none after three restarts.
    await waitUntil(() => openDescriptors(keeper) <= most, `the keeper to have ${most} descriptors open`);
    process.kill(keeper, "SIGTERM");
    assert.deepEqual(await scene.exited, { code: 5, signal: null }, "the exit code is the last server's own");
    assert.ok(scene.lines.some(({ generation, text }) => generation === 4 && text === "SIGTERM"));
  });

  it("tells a server how its successor ended", async () => {
    const faults = ["exit@hello", "kill@hello", "crash@prepared"];
    scene = new HandoverScene({ settings: { listen: ["127.0.0.1:0"], successorFaults: faults }, script: KEEPER });
    const { pid, addresses } = await scene.ready(1);
    const exit = await scene.restart(pid);
    assert.ok(!exit.ok && exit.exitCode === 7, JSON.stringify(exit));
    const kill = await scene.restart(pid);
    assert.ok(!kill.ok && kill.signal === "SIGKILL", JSON.stringify(kill));
    const crash = await scene.restart(pid);
    assert.ok(!crash.ok && crash.step === "serving", JSON.stringify(crash));
    assert.equal(await ask(addresses[0] ?? ""), `1 ${pid} 1 ping`);
  });

  it("goes on with the successor when the server is killed in the middle of a restart", async () => {
    const settings = { listen: ["127.0.0.1:0"], items: 10, predecessorFault: "kill@step-prepared" };
    scene = new HandoverScene({ settings, script: KEEPER });
    const { pid: keeper } = await scene.line(0, "keeper");
    const { pid, addresses } = await scene.ready(1);
    process.kill(pid, "SIGUSR2");
    const successor = await scene.ready(2);
    assert.equal(await ask(addresses[0] ?? ""), `2 ${successor.pid} 1 ping`);
    process.kill(keeper, "SIGTERM");
    assert.deepEqual(await scene.exited, { code: 5, signal: null });
  });

  it("ends as the server does when a signal kills it", async () => {
    scene = new HandoverScene({ settings: { listen: ["127.0.0.1:0"] }, script: KEEPER });
    const { pid } = await scene.ready(1);
    process.kill(pid, "SIGKILL");
    assert.deepEqual(await scene.exited, { code: 137, signal: null });
  });

  it("is PID 1 of a container through restarts, and leaves no zombies there", async () => {
    const unshare = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"] as const;
    const probe = spawnSync(unshare[0], [...unshare.slice(1), "true"], { encoding: "utf8" });
    if (probe.status !== 0) {
      notPermitted("being PID 1", probe.stderr || String(probe.error?.message));
      return;
    }
    // Process ids in there are not ours; signals go by way of commands inside the namespace.
    const restart = "kill -USR2 1; ";
    scene = new HandoverScene({
      settings: { listen: ["127.0.0.1:0"] },
      script: KEEPER,
      command: [...unshare, ...NODE],
    });
    const { pid: keeper } = await scene.line(0, "keeper");
    assert.equal(keeper, 1);
    const { addresses } = await scene.ready(1);
    const inside = childOf(scene.child.pid ?? 0);
    for (let generation = 2; generation <= 4; generation++) {
      const told = spawnSync("nsenter", ["--target", String(inside), "--pid", "--mount", "sh", "-c", restart], {
        encoding: "utf8",
      });
      assert.equal(told.status, 0, told.stderr);
      const { pid } = await scene.ready(generation);
      assert.match(await ask(addresses[0] ?? ""), new RegExp(`^${generation} ${pid} `));
    }
    let states = "";
    do {
      const list = "for p in /proc/[0-9]*; do cut -d' ' -f1,3,4 $p/stat 2>/dev/null; done";
      states = spawnSync("nsenter", ["--target", String(inside), "--pid", "--mount", "sh", "-c", list], {
        encoding: "utf8",
      }).stdout;
    } while (states.split("\n").filter((line) => line.endsWith(" 1")).length > 1);
    assert.doesNotMatch(states, / Z /);
    process.kill(inside, "SIGTERM");
    assert.deepEqual(await scene.exited, { code: 5, signal: null });
  });
});

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** The one child of a process, as seen from here. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
}
