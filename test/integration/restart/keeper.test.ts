// `morendo start` as a keeper: the process that was started stays, whatever generations of the server come and go below it.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { ACCOUNTS, Conversation } from "../../support/conversation.ts";
import { Generations } from "../../support/generations.ts";
import { runnable } from "../../support/program.ts";
import { notPermitted } from "../../support/skip.ts";

const MISBEHAVE = runnable(new URL("../../support/bad-modules/misbehave/index.ts", import.meta.url));

describe("morendo start --keeper", function () {
  this.timeout(120_000);
  let generations: Generations | undefined;
  afterEach(() => generations?.end());

  /** A restart; the conversation goes on. Returns the process that serves now. */
  async function restart(scene: Generations, talk: Conversation): Promise<number> {
    await talk.say();
    const mark = talk.mark;
    const { code, output } = await scene.restart();
    assert.equal(code, 0, output);
    talk.complete(mark);
    await talk.resume();
    await talk.say();
    talk.complete();
    return (await scene.status())?.pid ?? 0;
  }

  it("stays the same process through restarts, passes SIGTERM on, and ends as the last server does", async () => {
    // A module that fails in the shutdown makes the exit code one that nothing else does.
    const settings = { modules: [MISBEHAVE], extra: '[module.misbehave]\nhow = "reject"' };
    generations = await Generations.start({ accounts: ACCOUNTS, settings, args: ["--keeper"] });
    const keeper = generations.process.pid;
    const talk = await Conversation.begin(generations);
    const seen = new Set([keeper, (await generations.status())?.pid ?? 0]);
    for (let time = 1; time <= 3; time++) {
      const pid = await restart(generations, talk);
      seen.add(pid);
      assert.equal(parentOf(pid), keeper);
      await generations.alone(keeper, pid);
    }
    assert.equal(seen.size, 5);
    generations.process.signal("SIGTERM");
    const { code, signal } = await generations.process.exited;
    assert.deepEqual({ code, signal }, { code: 4, signal: null }, generations.process.log);
    assert.deepEqual(generations.pids, []);
    assert.match(generations.process.log, /stop \(SIGTERM: received SIGTERM\): incomplete, exit code 4/);
  });

  it("tells why a successor failed, and ends with the server when that is killed", async () => {
    generations = await Generations.start({ accounts: ACCOUNTS, args: ["--keeper"] });
    const { files } = generations;
    const pid = (await generations.status())?.pid ?? 0;
    generations.configure({ module: "throw at handover" });
    const thrown = await generations.restart();
    assert.equal(thrown.code, 1);
    assert.match(thrown.output, /not restarted, process \d+ goes on: .*thrown on purpose/s);
    generations.program('fault("commit", "kill");');
    generations.configure();
    const killed = await generations.restart();
    assert.equal(killed.code, 1);
    assert.match(killed.output, /killed by SIGKILL/);
    await generations.alone(generations.process.pid, pid);
    await generations.haveFiles(files, "files");
    process.kill(pid, "SIGKILL");
    assert.equal((await generations.process.exited).code, 137);
  });

  it("refuses the sockets of a service manager, which it could not pass on", async () => {
    const program = 'process.env.LISTEN_PID = String(process.pid); process.env.LISTEN_FDS = "1";';
    generations = await Generations.launch({ args: ["--keeper"], program });
    assert.equal((await generations.process.exited).code, 1);
    assert.match(generations.process.log, /a keeper cannot pass the sockets of a service manager on/);
  });

  it("is what process 1 of a container does without being asked", async () => {
    const unshare = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"] as const;
    const probe = spawnSync(unshare[0], [...unshare.slice(1), "true"], { encoding: "utf8" });
    if (probe.status !== 0) {
      notPermitted("being PID 1", probe.stderr || String(probe.error?.message));
      return;
    }
    const command = (program: readonly string[]) => [...unshare, process.execPath, ...program] as const;
    generations = await Generations.start({ accounts: ACCOUNTS, command });
    const talk = await Conversation.begin(generations);
    // Process ids in there are not ours.
    for (let time = 1; time <= 3; time++) assert.notEqual(await restart(generations, talk), 1);
    const inside = childOf(generations.process.pid);
    assert.match(readFileSync(`/proc/${inside}/status`, "utf8"), /^NSpid:\s*\d+\s+1$/m);
    process.kill(inside, "SIGTERM");
    const { code } = await generations.process.exited;
    assert.equal(code, 0, generations.process.log);
  });
});

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** The one child of a process, as seen from here. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
}
