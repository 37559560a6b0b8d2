// Restarts that fail, with real processes: who serves, and what whoever asked for it is told.

import assert from "node:assert/strict";
import { ask, HandoverScene, isAlive, type PrintedOutcome } from "../../support/handover-scene.ts";

type Failure = Extract<PrintedOutcome, { ok: false }>;

const LISTEN = { listen: ["127.0.0.1:0"] };
// Short where nothing but the fault takes time; a successor's start may take long on a busy machine.
const SHORT = { freeze: 2_000, state: 1_500, prepared: 1_500, serving: 1_500 };

describe("a restart whose successor", function () {
  this.timeout(120_000);
  let scene: HandoverScene;
  afterEach(() => scene.end());

  const cases: readonly (readonly [what: string, fault: string, step: string, why: RegExp, rest?: Partial<Failure>])[] =
    [
      ["throws while it starts up", "crash@hello", "hello", /crashed at hello/, { exitCode: 1 }],
      ["exits while it starts up", "exit@hello", "hello", /it ended with exit code 7/, { exitCode: 7 }],
      ["is killed while it starts up", "kill@hello", "hello", /killed by SIGKILL/, { signal: "SIGKILL" }],
      [
        "reads another version of the state",
        "refuse@state",
        "hello",
        /state count is written in version 1, 2, .* reads version 9/,
      ],
      [
        "cannot use an item of the state",
        "invalid@state",
        "prepared",
        /item 0 of state items cannot be used: .* rotten/,
        { exitCode: 1 },
      ],
      ["throws when it has the state", "crash@state", "prepared", /crashed at state/, { exitCode: 1 }],
      ["is killed when it has the state", "kill@state", "prepared", /killed by SIGKILL/, { signal: "SIGKILL" }],
      ["hangs when it has the state", "hang@state", "prepared", /within 1500 ms/],
      ["throws after the consent", "crash@prepared", "serving", /crashed at prepared/],
      ["is killed after the consent", "kill@prepared", "serving", /killed by SIGKILL/],
      ["hangs after the consent", "hang@prepared", "serving", /within 1500 ms/],
      ["throws with its listeners open", "crash@listening", "serving", /crashed at listening/],
      ["hangs with its listeners open", "hang@listening", "serving", /within 1500 ms/],
    ];

  it("fails in any way leaves the predecessor serving with everything it had, and told why", async () => {
    const faults = cases.map(([, fault]) => fault);
    const settings = { ...LISTEN, items: 100, limits: SHORT, successorFaults: [...faults, ""] };
    scene = new HandoverScene({ settings });
    const { pid, addresses } = await scene.ready(1);
    const address = addresses[0] ?? "";
    let count = 0;
    for (const [what, fault, step, why, rest] of cases) {
      const outcome = await scene.restart(pid);
      const told = `${what}: ${JSON.stringify(outcome)}`;
      assert.ok(!outcome.ok, told);
      assert.match(outcome.why, why, told);
      // An item that cannot be used may be found while later ones are still being written.
      if (fault !== "invalid@state") assert.equal(outcome.step, step, told);
      const { exitCode, signal } = outcome;
      if (rest !== undefined)
        assert.deepEqual({ exitCode, signal }, { exitCode: undefined, signal: undefined, ...rest }, told);
      assert.ok(outcome.pid !== undefined && !isAlive(outcome.pid), `${what}: the successor lives`);
      assert.equal(await ask(address), `1 ${pid} ${++count} ping`, what);
    }
    const outcome = await scene.restart(pid);
    assert.equal(outcome.ok, true, JSON.stringify(outcome));
    await scene.ready(2);
    assert.equal(await ask(address), `2 ${outcome.pid} ${++count} ping`);
  });

  it("hangs while it starts up is killed, and the predecessor has served all the while", async () => {
    scene = new HandoverScene({ settings: { ...LISTEN, limits: { hello: 4_000 }, successorFaults: ["hang@hello"] } });
    const { pid, addresses } = await scene.ready(1);
    const restart = scene.restart(pid);
    await scene.line(2, "fault");
    assert.equal(await ask(addresses[0] ?? ""), `1 ${pid} 1 ping`);
    const outcome = await restart;
    assert.ok(!outcome.ok && outcome.step === "hello" && outcome.pid !== undefined && !isAlive(outcome.pid));
    assert.match(outcome.why, /no word from the successor that it has started up within 4000 ms/);
    assert.ok(!scene.lines.some(({ text }) => text === "thaw"), "there was nothing to undo");
  });

  it("is a file that is not there is told by name", async () => {
    scene = new HandoverScene({ settings: { ...LISTEN, successorArgs: ["/no/such/program.js"] } });
    const { pid } = await scene.ready(1);
    const outcome = await scene.restart(pid);
    assert.ok(!outcome.ok);
    assert.match(outcome.why, /Cannot find module '\/no\/such\/program\.js'/);
    assert.equal(outcome.exitCode, 1);
  });

  it("complains on standard error before it exits has its complaint told", async () => {
    const program = 'process.stderr.write("the key is not readable\\n"); process.exitCode = 2';
    scene = new HandoverScene({ settings: { ...LISTEN, successorArgs: ["-e", program] } });
    const { pid } = await scene.ready(1);
    const outcome = await scene.restart(pid);
    assert.ok(!outcome.ok);
    assert.deepEqual([outcome.step, outcome.exitCode, outcome.stderrTail], ["hello", 2, "the key is not readable\n"]);
  });

  it("speaks no protocol at all is told so", async () => {
    const program = 'require("node:fs").writeSync(3, "GET / HTTP/1.1\\n"); setInterval(() => {}, 1000)';
    scene = new HandoverScene({ settings: { ...LISTEN, successorArgs: ["-e", program] } });
    const { pid } = await scene.ready(1);
    const outcome = await scene.restart(pid);
    assert.ok(!outcome.ok && outcome.pid !== undefined && !isAlive(outcome.pid));
    assert.match(outcome.why, /does not speak our protocol: a line is not JSON .*GET \/ HTTP/);
  });
});

describe("a restart whose predecessor is killed", function () {
  this.timeout(120_000);
  let scene: HandoverScene;
  afterEach(() => scene.end());

  const cases = [
    ["while the successor starts up", "kill@step-hello", "incomplete", 0],
    ["while it makes the snapshot", "kill@freeze", "incomplete", 0],
    ["in the middle of the state", "kill@items", "incomplete", 0],
    ["when the state is written", "kill@step-prepared", "complete 200", 1],
    ["before its consent", "kill@step-serving", "complete 200", 1],
  ] as const;
  for (const [when, fault, state, count] of cases) {
    it(`${when} leaves a successor that serves on the same listeners, with state ${state}`, async () => {
      const settings = { ...LISTEN, items: 200, itemBytes: 10_000, predecessorFault: fault };
      scene = new HandoverScene({ settings });
      const { pid, addresses } = await scene.ready(1);
      const address = addresses[0] ?? "";
      assert.equal(await ask(address), `1 ${pid} 1 ping`);
      process.kill(pid, "SIGUSR2");
      assert.equal((await scene.exited).signal, "SIGKILL");
      // Nobody is there now, and nobody is refused: who connects waits until the successor serves.
      const answer = ask(address);
      const successor = await scene.ready(2);
      assert.equal(await answer, `2 ${successor.pid} ${count + 1} ping`);
      assert.equal((await scene.line(2, "state")).text, `state ${state}`);
      assert.equal((await scene.line(2, "prepared")).text, "prepared orphaned");
      const outcome = await scene.restart(successor.pid);
      assert.equal(outcome.ok, true, `the orphan can be restarted: ${JSON.stringify(outcome)}`);
    });
  }

  it("after its consent leaves a successor that serves", async () => {
    const faults = { predecessorFault: "kill-soon@step-serving", successorFaults: ["slow@prepared"] };
    scene = new HandoverScene({ settings: { ...LISTEN, ...faults } });
    const { pid, addresses } = await scene.ready(1);
    process.kill(pid, "SIGUSR2");
    assert.equal((await scene.exited).signal, "SIGKILL");
    const successor = await scene.ready(2);
    assert.equal((await scene.line(2, "prepared")).text, "prepared agreed");
    assert.equal((await scene.line(2, "serving")).text, "serving orphaned");
    assert.equal(await ask(addresses[0] ?? ""), `2 ${successor.pid} 1 ping`);
  });
});
