import assert from "node:assert/strict";
import { readManager, Systemd } from "../../../src/cli/systemd.ts";
import { PHASES, type PhaseName, POINT_OF_NO_RETURN } from "../../../src/server/phases.ts";
import { Lifecycle } from "../../../src/shutdown/lifecycle.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { silentLog } from "../../../src/util/log.ts";
import { systemRandom } from "../../../src/util/random.ts";

/** A server of whose life systemd is told, on a manual clock. */
class Scene {
  readonly clock = new ManualClock();
  readonly lifecycle = new Lifecycle<PhaseName>({
    plan: PHASES.map((name) => ({ name, floorMs: 0, ceilingMs: 60_000, optional: name === "announce" })),
    pointOfNoReturn: POINT_OF_NO_RETURN,
    clock: this.clock,
    random: systemRandom,
    log: silentLog,
    budgetMs: 60_000,
    hurryMs: 2_000,
  });
  readonly sent: string[] = [];
  readonly server: {
    lifecycle: Lifecycle<PhaseName>;
    isSuperfluous: boolean;
    passedTo: number | undefined;
    on: Lifecycle<PhaseName>["on"];
  };
  readonly systemd: Systemd;
  failure: Error | undefined;

  constructor({ isSuperfluous = false, isKept = false, watchdogMs = undefined as number | undefined } = {}) {
    const { lifecycle, clock } = this;
    this.server = { lifecycle, isSuperfluous, passedTo: undefined, on: lifecycle.on.bind(lifecycle) };
    this.systemd = new Systemd({
      environment: { NOTIFY_SOCKET: "@somewhere" },
      clock,
      log: silentLog,
      send: async (message) => {
        if (this.failure !== undefined) throw this.failure;
        this.sent.push(message);
      },
      server: this.server,
      manager: { watchdogMs, isUntold: false },
      isKept,
      graceMs: 5_000,
    });
  }

  /** The messages so far that begin with `text`. */
  all(text: string): readonly string[] {
    return this.sent.filter((message) => message.startsWith(text));
  }

  async start(): Promise<void> {
    await this.lifecycle.start(() => undefined);
    this.systemd.ready("serving a.test");
    await this.clock.advance(1_000);
  }
}

const STOP = { cause: "stop", reason: "a test", trigger: "test" } as const;

describe("what systemd is told", () => {
  it("is that the server starts, serves, and stops, in this order and once each", async () => {
    const scene = new Scene();
    await scene.start();
    const stopped = scene.lifecycle.stop(STOP);
    await scene.clock.advance(1_000);
    await stopped;
    await scene.systemd.end();
    const kinds = scene.sent.map((message) => message.split("=", 1)[0]).filter((kind) => kind !== "STATUS");
    assert.deepEqual(kinds, ["READY", "STOPPING"]);
    assert.equal(scene.sent[0], "STATUS=starting");
    assert.equal(scene.clock.pendingTimers, 0);
  });

  it("is nothing of a stop that can be cancelled but a status, because systemd would not let the server come back", async () => {
    const scene = new Scene();
    await scene.start();
    scene.lifecycle.attach("stop-accepting", {
      name: "slow",
      run: ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
    });
    void scene.lifecycle.stop(STOP);
    await scene.clock.advance(2_000);
    assert.deepEqual(scene.all("STOPPING"), []);
    assert.ok(scene.all("STATUS=stopping: a test").length === 1 || scene.all("STATUS=stop-accepting").length > 0);
    const cancelling = scene.lifecycle.cancel({ reason: "a mistake", trigger: "test" });
    await scene.clock.advance(5_000);
    assert.equal((await cancelling).cancelled, true);
    assert.equal(scene.sent.at(-1), "STATUS=serving a.test");
    assert.deepEqual(scene.all("STOPPING"), []);
  });

  it("is to wait longer only when something has moved on", async () => {
    const scene = new Scene();
    await scene.start();
    let done = 0;
    let finish: () => void = () => undefined;
    scene.lifecycle.attach("drain-s2s", {
      name: "slow",
      run: (context) => {
        finish = context.lease("slow").release;
        const step = (): void => context.progress({ done: ++done, total: 9 });
        scene.clock.setTimer(2_000, step);
        scene.clock.setTimer(4_000, step);
      },
    });
    const stopped = scene.lifecycle.stop(STOP);
    await scene.clock.advance(6_000);
    const told = scene.all("EXTEND_TIMEOUT_USEC=").length;
    assert.ok(told >= 2, scene.sent.join());
    await scene.clock.advance(20_000);
    assert.equal(scene.all("EXTEND_TIMEOUT_USEC=").length, told, "nothing moved any more");
    // Until the deadline and the watchdog's grace.
    const first = Number(scene.all("EXTEND_TIMEOUT_USEC=")[0]?.split("=")[1]);
    assert.ok(first > 50_000_000 && first <= 65_000_000, String(first));
    finish();
    await scene.clock.advance(1_000);
    await stopped;
  });

  it("is nothing by a successor before it serves, or that never does", async () => {
    const scene = new Scene({ isSuperfluous: true });
    const stopped = scene.lifecycle.stop(STOP);
    await scene.lifecycle.start(() => undefined);
    await scene.clock.advance(10_000);
    await stopped;
    await scene.systemd.end();
    assert.deepEqual(scene.sent, []);
  });

  it("is the main process's new number by a predecessor, and nothing after that", async () => {
    const scene = new Scene({ watchdogMs: 2_000 });
    await scene.start();
    assert.equal(await scene.systemd.whyNotRestart(), undefined);
    scene.server.passedTo = 4711;
    const stopped = scene.lifecycle.stop({ ...STOP, cause: "restart" });
    scene.systemd.passedOn(4711);
    await scene.clock.advance(10_000);
    await stopped;
    await scene.systemd.end();
    assert.equal(scene.sent.at(-1), "MAINPID=4711");
    assert.deepEqual(scene.all("STOPPING"), []);
  });

  it("is no new number where there is a keeper", async () => {
    const scene = new Scene({ isKept: true });
    await scene.start();
    scene.server.passedTo = 4711;
    scene.systemd.passedOn(4711);
    await scene.systemd.end();
    assert.deepEqual(scene.all("MAINPID"), []);
  });

  it("is that a restart has failed, and that the server goes on", async () => {
    const scene = new Scene();
    await scene.start();
    assert.equal(await scene.systemd.whyNotRestart(), undefined);
    scene.systemd.goesOn("bad configuration");
    await scene.systemd.end();
    assert.equal(scene.sent.at(-1), "STATUS=serving a.test; the last restart failed: bad configuration");
  });

  it("has to reach it, or there is no restart", async () => {
    const scene = new Scene();
    await scene.start();
    scene.failure = new Error("nobody listens");
    assert.match((await scene.systemd.whyNotRestart()) ?? "", /systemd cannot be told .*nobody listens/);
    scene.failure = undefined;
    assert.equal(await scene.systemd.whyNotRestart(), undefined);
  });

  it("is that the server is alive, twice in the time that it wants to hear it", async () => {
    const scene = new Scene({ watchdogMs: 4_000 });
    await scene.start();
    await scene.clock.advance(20_000);
    const count = scene.all("WATCHDOG=1").length;
    assert.ok(count >= 10 && count <= 12, String(count));
    await scene.systemd.end();
    await scene.clock.advance(20_000);
    assert.equal(scene.all("WATCHDOG=1").length, count);
  });
});

describe("what systemd says in the environment", () => {
  it("is read for the process that is named, and for its successors", () => {
    const environment: Record<string, string | undefined> = { WATCHDOG_USEC: "3000000", WATCHDOG_PID: "7" };
    assert.equal(readManager(environment, { pid: 7, isSuccessor: false }).watchdogMs, 3_000);
    assert.deepEqual(environment, { WATCHDOG_USEC: "3000000" });
    assert.equal(readManager(environment, { pid: 8, isSuccessor: true }).watchdogMs, 3_000);
  });

  it("is for nobody else, and makes sense", () => {
    for (const environment of [
      { WATCHDOG_USEC: "3000000", WATCHDOG_PID: "7" },
      { WATCHDOG_USEC: "3000000" },
      { WATCHDOG_USEC: "soon", WATCHDOG_PID: "8" },
      { WATCHDOG_USEC: "0", WATCHDOG_PID: "8" },
      {},
    ]) {
      assert.equal(readManager({ ...environment }, { pid: 8, isSuccessor: false }).watchdogMs, undefined);
    }
  });

  it("tells whether this is a main process whose place nobody can take", () => {
    const who = { pid: 8, isSuccessor: false };
    assert.equal(readManager({ SYSTEMD_EXEC_PID: "8" }, who).isUntold, true);
    assert.equal(readManager({ SYSTEMD_EXEC_PID: "7" }, who).isUntold, false);
    assert.equal(readManager({ SYSTEMD_EXEC_PID: "8", NOTIFY_SOCKET: "/run/notify" }, who).isUntold, false);
    assert.equal(readManager({}, who).isUntold, false);
  });
});
