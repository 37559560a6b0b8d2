// Suspending and resuming: who is asked in which order, what becomes of those who are late, and what may come in between.

import assert from "node:assert/strict";
import type {
  LifecycleOptions,
  ResumeResult,
  StopRequest,
  SuspendParticipant,
  SuspendReport,
  SuspendRequest,
} from "../../../src/shutdown/index.ts";
import type { ManualClock } from "../../../src/testing/manual-clock.ts";
import { type LifecycleScene, type LifecycleSceneOptions, never, startingLifecycle } from "../../support/lifecycle.ts";

type Phase = "listen" | "close" | "quit";

const STOP: StopRequest = { cause: "stop", reason: "a stop", trigger: "test" };
const BACK = { reason: "enough", trigger: "somebody" };

function asked(more: Partial<SuspendRequest> = {}): SuspendRequest {
  const { mode = "hold", timeoutMs = 10_000, onTimeout = "back" } = more;
  return { cause: "suspend", reason: "a test", trigger: "test", ...more, mode, timeoutMs, onTimeout };
}

interface Scene extends LifecycleScene<Phase> {
  readonly seen: string[];
  /** A participant that notes what it is asked and takes `ms` for each. */
  part(name: string, ms?: number, more?: Partial<SuspendParticipant>): () => void;
}

const PLAN: Pick<LifecycleOptions<Phase>, "plan" | "pointOfNoReturn"> = {
  plan: [
    { name: "listen", floorMs: 1_000, ceilingMs: 60_000 },
    { name: "close", floorMs: 1_000, ceilingMs: 60_000 },
    { name: "quit", floorMs: 1_000, ceilingMs: 5_000 },
  ],
  pointOfNoReturn: "close",
};

function starting(options: Partial<LifecycleSceneOptions<Phase>> = {}): Scene {
  const seen: string[] = [];
  const { clock, lifecycle } = startingLifecycle<Phase>({ ...PLAN, ...options });
  lifecycle.on("state", ({ state }) => seen.push(state));
  for (const phase of ["listen", "close"] as const) {
    lifecycle.attach(phase, { name: phase, run: () => void seen.push(`phase ${phase}`) });
  }
  const part: Scene["part"] = (name, ms = 0, more = {}) =>
    lifecycle.onSuspend({
      name,
      prepare: async ({ signal }) => {
        seen.push(`${name} prepares`);
        if (ms > 0) await clock.sleep(ms, signal);
      },
      suspend: async ({ signal }) => {
        seen.push(`${name} suspends`);
        if (ms > 0) await clock.sleep(ms, signal);
      },
      resume: () => void seen.push(`${name} resumes`),
      ...more,
    });
  return { clock, lifecycle, seen, part };
}

function running(options: Partial<LifecycleSceneOptions<Phase>> = {}): Scene {
  const scene = starting(options);
  scene.lifecycle.started();
  scene.seen.length = 0;
  return scene;
}

/** A scene in which one participant has suspended. */
async function suspended(request = asked()): Promise<Scene & { readonly report: SuspendReport }> {
  const scene = running();
  scene.part("one");
  const report = scene.lifecycle.suspend(request);
  await scene.clock.advance(0);
  scene.seen.length = 0;
  return { ...scene, report: await report };
}

async function settled<Value>(clock: ManualClock, promise: Promise<Value>, ms = 0): Promise<Value> {
  await clock.advance(ms);
  return await promise;
}

describe("a suspension", () => {
  it("prepares everybody in order, then suspends in order, and resumes in reverse", async () => {
    const { clock, lifecycle, seen, part } = running();
    part("late comer", 10, { when: "after" });
    part("one", 10);
    part("two", 10);
    part("first of all", 10, { when: "before" });
    const report = await settled(clock, lifecycle.suspend(asked()), 100);
    assert.equal(lifecycle.state, "suspended");
    const order = ["first of all", "one", "two", "late comer"];
    assert.deepEqual(seen, [
      "suspending",
      ...order.map((name) => `${name} prepares`),
      ...order.map((name) => `${name} suspends`),
      "suspended",
    ]);
    assert.equal(report.suspended, true);
    assert.equal(report.outcome, "suspended");
    assert.equal(report.durationMs, 80);
    assert.deepEqual(report.late, []);
    assert.deepEqual(
      report.participants.map(({ name, step, outcome, durationMs }) => `${name} ${step} ${outcome} ${durationMs}`),
      [...order.map((name) => `${name} prepare done 10`), ...order.map((name) => `${name} suspend done 10`)],
    );
    assert.deepEqual(lifecycle.suspension, report);
    seen.length = 0;
    await clock.advance(5_000);
    assert.deepEqual(await settled(clock, lifecycle.resume(BACK)), { resumed: true, failed: [] });
    assert.deepEqual(seen, [...order.toReversed().map((name) => `${name} resumes`), "running"]);
    assert.equal(lifecycle.suspension, undefined);
    assert.equal(lifecycle.lastSuspension?.ended?.reason, "enough");
    assert.ok((lifecycle.lastSuspension?.ended?.heldMs ?? 0) >= 5_000);
    assert.equal(lifecycle.lastSuspension?.suspended, false);
    assert.equal(clock.pendingTimers, 0, "a timer is left");
  });

  it("asks those alone who take part in its mode, and tells them mode, cause and reason", async () => {
    const { clock, lifecycle, seen, part } = running();
    part("holder", 0, { modes: ["hold"] });
    part("other", 0, { modes: ["refuse"] });
    lifecycle.onSuspend({
      name: "all",
      suspend: ({ mode, cause, reason, phase, remaining }) =>
        void seen.push(`${phase} ${cause} ${mode} ${reason} ${remaining()}`),
      resume: ({ mode, reason }) => void seen.push(`${mode} ${reason}`),
    });
    await settled(clock, lifecycle.suspend(asked({ mode: "refuse" })));
    await settled(clock, lifecycle.resume(BACK));
    assert.deepEqual(seen, [
      "suspending",
      "other prepares",
      "other suspends",
      "suspend suspend refuse a test 10000",
      "suspended",
      "refuse enough",
      "other resumes",
      "running",
    ]);
  });

  it("waits for leases, and tells of progress and blockers by name", async () => {
    const { clock, lifecycle } = running();
    const told: string[] = [];
    lifecycle.on("progress", ({ phase, done, total, blockers }) =>
      told.push(`${phase} ${done}/${total} ${blockers.join()}`),
    );
    let release = (): void => undefined;
    lifecycle.onSuspend({
      name: "holder",
      suspend: (context) => {
        const lease = context.lease("upload of juliet");
        context.progress({ done: 1, total: 2 });
        release = () => lease.release();
      },
    });
    const report = lifecycle.suspend(asked());
    await clock.advance(1_000);
    assert.equal(lifecycle.state, "suspending");
    assert.ok(told.includes("suspend 1/2 upload of juliet"), told.join("\n"));
    release();
    assert.equal((await settled(clock, report)).outcome, "suspended");
  });

  it("is called off when somebody refuses to prepare, and those who had prepared resume", async () => {
    const { clock, lifecycle, seen, part } = running();
    part("one");
    part("two", 0, {
      prepare: () => {
        throw new Error("in the middle of something");
      },
    });
    part("three");
    const report = await settled(clock, lifecycle.suspend(asked({ onTimeout: "stay" })));
    assert.equal(report.suspended, false);
    assert.equal(report.outcome, "refused");
    assert.equal(report.why, "two refused: in the middle of something");
    assert.deepEqual(seen, ["suspending", "one prepares", "two resumes", "one resumes", "running"]);
    assert.deepEqual(lifecycle.lastSuspension?.outcome, "refused");
    assert.equal(clock.pendingTimers, 0);
  });

  it("goes back when somebody is late, and names who", async () => {
    const { clock, lifecycle, seen, part } = running();
    part("one");
    part("slow", 0, { suspend: never });
    part("three");
    const report = await settled(clock, lifecycle.suspend(asked()), 20_000);
    assert.equal(report.outcome, "timed-out");
    assert.equal(report.suspended, false);
    assert.deepEqual(report.late, ["slow"]);
    assert.match(report.why ?? "", /slow/);
    assert.equal(lifecycle.state, "running");
    assert.deepEqual(seen.slice(-4), ["three resumes", "slow resumes", "one resumes", "running"]);
    assert.ok(!seen.includes("three suspends"));
    assert.equal(clock.pendingTimers, 0);
  });

  it("stays suspended all the same if that is wanted, and lets those have a moment who had no turn", async () => {
    const { clock, lifecycle, seen, part } = running();
    part("slow", 0, { suspend: never });
    part("own limit", 0, { suspend: never, timeoutMs: 100 });
    part("failing", 0, { suspend: () => Promise.reject(new Error("no")) });
    part("last", 500);
    const report = await settled(clock, lifecycle.suspend(asked({ onTimeout: "stay", timeoutMs: 3_000 })), 10_000);
    assert.equal(report.outcome, "late");
    assert.equal(report.suspended, true);
    assert.deepEqual(report.late, ["slow", "own limit", "failing"]);
    assert.equal(lifecycle.state, "suspended");
    assert.ok(seen.includes("last suspends"));
    const resumed = await settled(clock, lifecycle.resume(BACK), 5_000);
    assert.deepEqual(resumed, { resumed: true, failed: [] });
    assert.equal(lifecycle.state, "running");
  });

  it("goes on without who fails to resume, and names it", async () => {
    const { clock, lifecycle, part, seen } = running();
    part("one");
    part("broken", 0, {
      resume: () => {
        throw new Error("cannot");
      },
    });
    part("hanging", 0, { resume: never });
    await settled(clock, lifecycle.suspend(asked()));
    const result = (await settled(clock, lifecycle.resume(BACK), 30_000)) as ResumeResult & { resumed: true };
    assert.deepEqual(
      result.failed.map(({ name, error }) => `${name}: ${error.split("\n")[0]}`),
      ["hanging: out of time", "broken: Error: cannot"],
    );
    assert.deepEqual(seen.slice(-2), ["one resumes", "running"]);
    assert.equal(clock.pendingTimers, 0);
  });

  it("does not resume who has been taken out meanwhile", async () => {
    const { clock, lifecycle, seen, part } = running();
    const takeOut = part("module");
    part("one");
    await settled(clock, lifecycle.suspend(asked()));
    takeOut();
    seen.length = 0;
    await settled(clock, lifecycle.resume(BACK));
    assert.deepEqual(seen, ["one resumes", "running"]);
  });

  describe("asked for again", () => {
    it("in the same mode is the same one, while it is under way and afterwards", async () => {
      const { clock, lifecycle, part } = running();
      part("slow", 1_000);
      const first = lifecycle.suspend(asked());
      assert.equal(lifecycle.suspend(asked({ reason: "another" })), first);
      await clock.advance(5_000);
      assert.equal(lifecycle.suspend(asked()), first);
      assert.equal((await first).reason, "a test");
    });

    it("in another mode, or for another cause, is refused with why, and changes nothing", async () => {
      const { clock, lifecycle, part } = running();
      part("slow", 1_000);
      const first = lifecycle.suspend(asked());
      for (const state of ["suspending", "suspended"]) {
        assert.equal(lifecycle.state, state);
        const others = [asked({ mode: "refuse" }), asked({ cause: "evacuate" })];
        for (const other of others) {
          const refused = await lifecycle.suspend(other);
          assert.equal(refused.outcome, "refused");
          assert.equal(refused.why, `the server is ${state} in mode "hold"; resume it first`);
        }
        await clock.advance(5_000);
      }
      assert.equal((await first).suspended, true);
    });
  });

  describe("and resume", () => {
    it("while it is under way calls it off: whoever is at it is told, and everybody begun resumes", async () => {
      const { clock, lifecycle, seen, part } = running();
      part("one");
      part("slow", 60_000);
      part("three");
      const report = lifecycle.suspend(asked());
      await clock.advance(1_000);
      const result = lifecycle.resume(BACK);
      assert.equal(lifecycle.resume({ ...BACK, reason: "again" }), result, "asked twice");
      assert.deepEqual(await settled(clock, result), { resumed: true, failed: [] });
      assert.equal((await report).outcome, "called-off");
      assert.equal((await report).why, "enough");
      assert.deepEqual(seen, ["suspending", "one prepares", "slow prepares", "slow resumes", "one resumes", "running"]);
      assert.equal(clock.pendingTimers, 0);
    });

    it("when there is nothing to resume is refused with why", async () => {
      const { lifecycle } = running();
      assert.deepEqual(await lifecycle.resume(BACK), { resumed: false, why: "the server is running" });
    });

    it("lets nobody suspend anew until it is over", async () => {
      const { clock, lifecycle, part } = running();
      part("one", 0, { resume: () => clock.sleep(1_000) });
      await settled(clock, lifecycle.suspend(asked()));
      const back = lifecycle.resume(BACK);
      const refused = await lifecycle.suspend(asked());
      assert.equal(refused.why, "the suspension before is being taken back");
      await settled(clock, back, 2_000);
      assert.equal((await settled(clock, lifecycle.suspend(asked()))).suspended, true);
    });
  });

  describe("during the start and the end", () => {
    it("is refused during the start", async () => {
      const { lifecycle } = starting();
      assert.equal((await lifecycle.suspend(asked())).why, "the server is starting");
      assert.deepEqual(await lifecycle.resume(BACK), { resumed: false, why: "the server is starting" });
    });

    it("can be what a start ends in, without the state being `running` at any time", async () => {
      const { clock, lifecycle, seen, part } = starting();
      part("one");
      const runs = lifecycle.start(
        () => undefined,
        () => asked(),
      );
      await clock.advance(0);
      assert.equal(await runs, true);
      assert.deepEqual(seen, ["suspending", "one prepares", "one suspends", "suspended"]);
      await settled(clock, lifecycle.resume(BACK));
      assert.equal(lifecycle.state, "running");
    });

    it("does not come to be when a stop was asked for during that start", async () => {
      const { clock, lifecycle, seen, part } = starting();
      part("one");
      const runs = lifecycle.start(
        () => void lifecycle.stop(STOP),
        () => asked(),
      );
      await clock.advance(0);
      assert.equal(await runs, false);
      assert.deepEqual(seen, ["stopping", "phase listen", "phase close", "stopped"]);
    });

    it("is refused once the server stops", async () => {
      const { clock, lifecycle } = running();
      lifecycle.attach("listen", { name: "slow", run: ({ signal }) => clock.sleep(1_000, signal) });
      const stopped = lifecycle.stop(STOP);
      await clock.advance(10);
      assert.equal((await lifecycle.suspend(asked())).why, "the server is stopping");
      await settled(clock, stopped, 5_000);
      assert.equal((await lifecycle.suspend(asked())).why, "the server is stopped");
    });
  });

  describe("that a stop comes upon", () => {
    it("is taken back first, and the state is not `running` in between", async () => {
      const { clock, lifecycle, seen } = await suspended();
      const report = await settled(clock, lifecycle.stop(STOP), 100);
      assert.deepEqual(seen, ["stopping", "one resumes", "phase listen", "phase close", "stopped"]);
      assert.equal(report.outcome, "clean");
      const { suspension } = report.sections as { suspension: SuspendReport };
      assert.equal(suspension.mode, "hold");
      assert.equal(suspension.ended?.reason, "stop: a stop");
      assert.deepEqual(await lifecycle.resume(BACK), { resumed: false, why: "the server is stopped" });
      assert.equal(clock.pendingTimers, 0);
    });

    it("while it is under way is called off, and its asker learns of it", async () => {
      const { clock, lifecycle, seen, part } = running();
      part("one");
      part("slow", 60_000);
      const asking = lifecycle.suspend(asked());
      await clock.advance(1_000);
      const stopped = lifecycle.stop(STOP);
      await clock.advance(100);
      assert.equal((await asking).outcome, "called-off");
      assert.equal((await stopped).outcome, "clean");
      assert.deepEqual(seen.slice(3), [
        "stopping",
        "slow resumes",
        "one resumes",
        "phase listen",
        "phase close",
        "stopped",
      ]);
    });

    it("while it is being resumed lets that end, and does not run in between", async () => {
      const { clock, lifecycle, seen, part } = running();
      part("one", 0, {
        resume: async () => {
          await clock.sleep(1_000);
          seen.push("one resumes");
        },
      });
      await settled(clock, lifecycle.suspend(asked()));
      seen.length = 0;
      const back = lifecycle.resume(BACK);
      const stopped = lifecycle.stop(STOP);
      await clock.advance(5_000);
      assert.equal((await back).resumed, true);
      await stopped;
      assert.deepEqual(seen, ["stopping", "one resumes", "phase listen", "phase close", "stopped"]);
    });

    it("takes no more of its time than the phases can spare", async () => {
      const { clock, lifecycle, seen, part } = running({ budgetMs: 5_000 });
      part("hanging", 0, { resume: never });
      await settled(clock, lifecycle.suspend(asked()));
      const stopped = lifecycle.stop(STOP);
      await clock.advance(6_000);
      const report = await stopped;
      assert.ok(seen.includes("phase close"));
      assert.ok(report.durationMs <= 5_000, `${report.durationMs}`);
      const { suspension } = report.sections as { suspension: SuspendReport };
      assert.equal(suspension.ended?.participants[0]?.outcome, "timed-out");
    });

    it("hurries when the second signal comes, and the third goes straight to the end", async () => {
      const { clock, lifecycle, seen, part } = running({ hurryMs: 500 });
      part("hanging", 0, { resume: never });
      await settled(clock, lifecycle.suspend(asked()));
      const stopped = lifecycle.stop(STOP);
      await clock.advance(10);
      lifecycle.hurry("SIGTERM");
      lifecycle.skipToEnd("SIGTERM");
      await clock.advance(1_000);
      const report = await stopped;
      assert.ok(report.durationMs < 1_000, `${report.durationMs}`);
      assert.ok(!seen.includes("phase close"));
      assert.equal(lifecycle.state, "stopped");
    });

    it("is gone for good when that stop is cancelled: the server runs, and the answer says so", async () => {
      const { clock, lifecycle, seen } = await suspended();
      lifecycle.attach("listen", { name: "slow", run: ({ signal }) => clock.sleep(10_000, signal) });
      const stopped = lifecycle.stop(STOP);
      await clock.advance(1_000);
      const cancelled = await settled(clock, lifecycle.cancel(BACK));
      assert.deepEqual(cancelled, {
        cancelled: true,
        failed: [],
        note: "the server was suspended before the stop, and is not any more",
      });
      assert.equal((await stopped).outcome, "cancelled");
      assert.equal(lifecycle.state, "running");
      assert.equal(lifecycle.suspension, undefined);
      assert.deepEqual(seen, ["stopping", "one resumes", "phase listen", "running"]);
      assert.equal((await settled(clock, lifecycle.suspend(asked()))).suspended, true);
    });

    it("is gone as well when the stop is cancelled while it is being taken back", async () => {
      const { clock, lifecycle, seen, part } = running();
      part("slow", 0, { resume: () => clock.sleep(1_000) });
      await settled(clock, lifecycle.suspend(asked()));
      seen.length = 0;
      const stopped = lifecycle.stop(STOP);
      const cancelled = lifecycle.cancel(BACK);
      await clock.advance(5_000);
      assert.equal((await cancelled).cancelled, true);
      assert.equal((await stopped).outcome, "cancelled");
      assert.deepEqual(seen, ["stopping", "running"]);
    });

    it("because of a fatal error is taken back like any other", async () => {
      const { clock, lifecycle, seen } = await suspended();
      const report = await settled(clock, lifecycle.stop({ ...STOP, error: new Error("disk full") }), 100);
      assert.equal(report.outcome, "fatal");
      assert.deepEqual(seen, ["stopping", "one resumes", "phase listen", "phase close", "stopped"]);
    });
  });
});
