// The way back: what a cancel undoes, when it is too late, and what else may come in between.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type CancelledContext,
  type DrainReport,
  type Lifecycle,
  type LifecycleOptions,
  listenToSignals,
  MorendoError,
  type Participant,
  type StopRequest,
  silentLog,
  type Watchdog,
} from "../../../src/shutdown/index.ts";
import type { ManualClock } from "../../../src/testing/manual-clock.ts";
import {
  type LifecycleScene,
  type LifecycleSceneOptions,
  never,
  runningLifecycle,
  startingLifecycle,
} from "../../support/lifecycle.ts";

type Phase = "announce" | "listen" | "close" | "quit";

const REQUEST: StopRequest = { cause: "stop", reason: "a test", trigger: "test", include: ["announce"] };
const BACK = { reason: "a mistake", trigger: "somebody" };
const nothing = (): void => undefined;

const PLAN: Pick<LifecycleOptions<Phase>, "plan" | "pointOfNoReturn"> = {
  plan: [
    { name: "announce", floorMs: 0, ceilingMs: 60_000, optional: true },
    { name: "listen", floorMs: 1_000, ceilingMs: 60_000 },
    { name: "close", floorMs: 1_000, ceilingMs: 60_000 },
    { name: "quit", floorMs: 1_000, ceilingMs: 5_000 },
  ],
  pointOfNoReturn: "close",
};

const starting = (options: Partial<LifecycleSceneOptions<Phase>> = {}): LifecycleScene<Phase> =>
  startingLifecycle<Phase>({ ...PLAN, ...options });
const running = (options: Partial<LifecycleSceneOptions<Phase>> = {}): LifecycleScene<Phase> =>
  runningLifecycle<Phase>({ ...PLAN, ...options });

/** A participant that notes what it does and works for `ms`, unless it is told to stop. */
function worker(clock: ManualClock, seen: string[], name: string, ms: number): Participant<Phase> {
  return {
    name,
    run: async ({ signal }) => {
      seen.push(`${name} begins`);
      await clock.sleep(ms, signal);
      seen.push(`${name} ${signal.aborted ? "stops" : "ends"}`);
    },
    cancelled: () => void seen.push(`${name} takes back`),
  };
}

describe("a stop that is cancelled", () => {
  it("is taken back by those who had begun, the last first, and nobody else", async () => {
    const { clock, lifecycle } = running();
    const seen: string[] = [];
    lifecycle.attach("listen", { ...worker(clock, seen, "later", 100), when: "after" });
    lifecycle.attach("listen", worker(clock, seen, "listener", 10_000));
    lifecycle.attach("announce", worker(clock, seen, "announcer", 10));
    lifecycle.attach("close", worker(clock, seen, "closer", 10));
    lifecycle.on("state", ({ state }) => seen.push(state));
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(1_000);
    const cancelled = lifecycle.cancel(BACK);
    await clock.advance(0);
    assert.deepEqual(await cancelled, { cancelled: true, failed: [] });
    assert.deepEqual(seen, [
      "stopping",
      "announcer begins",
      "announcer ends",
      "listener begins",
      "listener stops",
      "listener takes back",
      "announcer takes back",
      "running",
    ]);
    const report = await stopped;
    assert.equal(report.outcome, "cancelled");
    assert.equal(report.exitCode, 0);
    assert.equal(report.cancelled?.atMs, 1_000);
    assert.deepEqual(
      report.phases.map(({ name, outcome, skipped }) => [name, outcome, skipped]),
      [
        ["announce", "done", undefined],
        ["listen", "skipped", "cancelled"],
        ["close", "skipped", "cancelled"],
        ["quit", "skipped", "cancelled"],
      ],
    );
    assert.equal(lifecycle.state, "running");
    assert.equal(lifecycle.request, undefined);
    assert.equal(lifecycle.report, undefined);
    assert.equal(lifecycle.progress, undefined);
    assert.equal(clock.pendingTimers, 0, "a timer was left behind");
  });

  it("tells `cancelled` and not `report`, so that a program which leaves at its report stays", async () => {
    const { clock, lifecycle } = running();
    const told: string[] = [];
    lifecycle.on("report", () => told.push("report"));
    lifecycle.on("cancelled", ({ outcome }) => told.push(`cancelled: ${outcome}`));
    lifecycle.attach("listen", { name: "x", run: ({ signal }) => clock.sleep(5_000, signal) });
    void lifecycle.stop(REQUEST);
    await clock.advance(10);
    void lifecycle.cancel(BACK);
    await clock.advance(0);
    assert.deepEqual(told, ["cancelled: cancelled"]);
  });

  it("leaves everybody attached: the next stop works in full, with a time of its own", async () => {
    const { clock, lifecycle } = running();
    const seen: string[] = [];
    lifecycle.attach("listen", worker(clock, seen, "listener", 3_000));
    lifecycle.attach("close", worker(clock, seen, "closer", 10));
    for (let round = 0; round < 3; round++) {
      const stopped = lifecycle.stop(REQUEST);
      await clock.advance(2_000);
      assert.equal((lifecycle.remaining ?? 0) <= 23_000, true);
      void lifecycle.cancel(BACK);
      await clock.advance(100_000);
      assert.equal((await stopped).outcome, "cancelled");
      assert.equal(lifecycle.remaining, undefined);
    }
    seen.length = 0;
    const last = lifecycle.stop(REQUEST);
    await clock.advance(60_000);
    const report = await last;
    assert.deepEqual(seen, ["listener begins", "listener ends", "closer begins", "closer ends"]);
    assert.equal(report.outcome, "clean");
    assert.equal(report.durationMs, 3_010);
    assert.deepEqual(
      report.phases.map(({ outcome }) => outcome),
      ["done", "done", "done", "done"],
    );
    assert.equal(lifecycle.state, "stopped");
  });

  it("takes in and lets go of participants between runs like before", async () => {
    const { clock, lifecycle } = running();
    const seen: string[] = [];
    const detach = lifecycle.attach("listen", worker(clock, seen, "gone", 1_000));
    void lifecycle.stop(REQUEST);
    await clock.advance(10);
    detach();
    void lifecycle.cancel(BACK);
    await clock.advance(0);
    assert.deepEqual(seen, ["gone begins", "gone stops"], "who was taken out is not asked to take back");
    lifecycle.attach("listen", worker(clock, seen, "new", 10));
    void lifecycle.stop(REQUEST);
    await clock.advance(30_000);
    assert.deepEqual(seen.slice(2), ["new begins", "new ends"]);
  });

  it("records by name who fails at taking back or is out of time, and goes on with the others", async () => {
    const { clock, lifecycle } = running();
    const seen: string[] = [];
    let context: CancelledContext<Phase> | undefined;
    const attach = (name: string, cancelled: NonNullable<Participant<Phase>["cancelled"]>, timeoutMs?: number) =>
      lifecycle.attach("announce", {
        name,
        run: nothing,
        cancelled,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      });
    attach("first", () => void seen.push("first"));
    attach("thrower", () => {
      throw new Error("thrown on purpose");
    });
    attach("rejecter", () => Promise.reject(new Error("rejected on purpose")));
    attach(
      "hanger",
      (given) => {
        context = given;
        return never();
      },
      700,
    );
    attach("last", () => void seen.push("last"));
    lifecycle.attach("listen", { name: "x", run: ({ signal }) => clock.sleep(5_000, signal) });
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(10);
    const cancelled = lifecycle.cancel(BACK);
    await clock.advance(650);
    assert.equal(lifecycle.state, "stopping", "not back before everybody has had their time");
    assert.deepEqual([context?.phase, context?.reason, context?.remaining()], ["announce", "a mistake", 50]);
    await clock.advance(100);
    assert.equal(context?.signal.aborted, true);
    assert.deepEqual(seen, ["last", "first"]);
    const result = await cancelled;
    assert.ok(result.cancelled);
    assert.deepEqual(
      result.failed.map(({ name, error }) => `${name}: ${error.split("\n")[0]}`),
      ["hanger: out of time", "rejecter: Error: rejected on purpose", "thrower: Error: thrown on purpose"],
    );
    assert.deepEqual(
      (await stopped).cancelled?.undone.map(({ name, outcome }) => [name, outcome]),
      [
        ["last", "done"],
        ["hanger", "timed-out"],
        ["rejecter", "failed"],
        ["thrower", "failed"],
        ["first", "done"],
      ],
    );
    assert.equal(lifecycle.state, "running");
    assert.equal(clock.pendingTimers, 0);
  });

  it("waits a bounded moment for one that does not heed its signal, says who, and takes it back all the same", async () => {
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (_fields: object, message: string) => void warnings.push(message) };
    const { clock, lifecycle } = running({ log, settleMs: 1_500 });
    const seen: string[] = [];
    lifecycle.attach("listen", { name: "deaf", run: never, cancelled: () => void seen.push("taken back") });
    void lifecycle.stop(REQUEST);
    await clock.advance(10);
    const cancelled = lifecycle.cancel(BACK);
    await clock.advance(1_400);
    assert.deepEqual(seen, []);
    await clock.advance(200);
    assert.deepEqual(seen, ["taken back"]);
    assert.equal((await cancelled).cancelled, true);
    assert.ok(warnings.some((message) => message.startsWith("deaf did not stop")));
  });

  it("drops the leases of those who had settled, and refuses new ones", async () => {
    const { clock, lifecycle } = running();
    let take: (() => unknown) | undefined;
    lifecycle.attach("listen", {
      name: "holder",
      run: ({ lease }) => {
        lease("for ever");
        take = () => lease("too late");
      },
    });
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(10);
    void lifecycle.cancel(BACK);
    await clock.advance(0);
    assert.deepEqual((await stopped).phases[1]?.leaseHolders, ["for ever"]);
    assert.throws(
      () => take?.(),
      (thrown) => thrown instanceof MorendoError && thrown.code === "MORENDO_PHASE_OVER",
    );
  });

  it("disarms the watchdog, which is armed anew at the next stop", async () => {
    const calls: string[] = [];
    const watchdog: Watchdog = {
      arm: (ms) => void calls.push(`arm ${Math.round(ms)}`),
      bringForward: nothing,
      running: nothing,
      executing: nothing,
      idle: nothing,
      disarm: () => void calls.push("disarm"),
    };
    const { clock, lifecycle } = running({ watchdog });
    lifecycle.attach("listen", { name: "x", run: ({ signal }) => clock.sleep(5_000, signal) });
    void lifecycle.stop(REQUEST);
    await clock.advance(10);
    void lifecycle.cancel(BACK);
    await clock.advance(0);
    assert.deepEqual(calls, ["arm 26000", "disarm"]);
    void lifecycle.stop(REQUEST);
    await clock.advance(10);
    assert.deepEqual(calls, ["arm 26000", "disarm", "arm 26000"]);
  });

  it("counts what was settled meanwhile as settled while running, and starts the next account empty", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("listen", { name: "x", run: ({ signal }) => clock.sleep(5_000, signal) });
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(10);
    lifecycle.obligations.settle("b.test", "lost", { name: "a message" });
    void lifecycle.cancel(BACK);
    await clock.advance(0);
    assert.equal((await stopped).obligations.run.lost, 1);
    const last = lifecycle.stop(REQUEST);
    await clock.advance(30_000);
    const { obligations, outcome } = await last;
    assert.equal(obligations.running.lost, 1);
    assert.equal(obligations.run.lost, 0);
    assert.deepEqual(obligations.destinations, []);
    assert.equal(outcome, "clean");
  });

  it("is on record in the data folder", async () => {
    const dir = mkdtempSync(join(tmpdir(), "morendo-cancel-"));
    try {
      const { clock, lifecycle } = running({ reportDir: dir });
      lifecycle.attach("listen", { name: "x", run: ({ signal }) => clock.sleep(5_000, signal) });
      void lifecycle.stop(REQUEST);
      await clock.advance(10);
      void lifecycle.cancel(BACK);
      await clock.advance(0);
      const report = JSON.parse(readFileSync(join(dir, "last-drain.json"), "utf8")) as DrainReport;
      assert.equal(report.outcome, "cancelled");
      assert.deepEqual(report.cancelled, { reason: "a mistake", trigger: "somebody", atMs: 10, undone: [] });
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe("a cancel that comes too late", () => {
  const refused = async (lifecycle: Lifecycle<Phase>): Promise<string> => {
    const result = await lifecycle.cancel(BACK);
    assert.equal(result.cancelled, false);
    return result.cancelled ? "" : result.why;
  };

  it("says why, and changes nothing", async () => {
    const { clock, lifecycle } = running();
    assert.equal(await refused(lifecycle), "no stop is under way");
    lifecycle.attach("close", { name: "x", run: () => clock.sleep(5_000) });
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(10);
    assert.match(await refused(lifecycle), /phase "close" has begun, and there is no way back/);
    await clock.advance(30_000);
    assert.equal((await stopped).outcome, "clean");
    assert.equal(await refused(lifecycle), "the server has stopped");
  });

  it("finds no way back at all where no point of no return was named: the first phase is it", async () => {
    const { clock, lifecycle } = runningLifecycle<"only">({
      plan: [{ name: "only", floorMs: 1_000, ceilingMs: 5_000 }],
      budgetMs: 5_000,
      hurryMs: 100,
    });
    lifecycle.attach("only", { name: "x", run: () => clock.sleep(100) });
    void lifecycle.stop(REQUEST);
    await clock.advance(10);
    const result = await lifecycle.cancel(BACK);
    assert.equal(result.cancelled, false);
    await clock.advance(1_000);
  });

  it("during the start: the stop has ended the start, and half a server is no server to go back to", async () => {
    const { clock, lifecycle } = starting();
    const started = lifecycle.start(() => clock.sleep(1_000));
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(0);
    assert.match(await refused(lifecycle), /during the start/);
    await clock.advance(30_000);
    assert.equal(await started, false);
    assert.equal((await stopped).outcome, "clean");
  });

  it("after a fatal error, also one that came after an ordinary stop", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("listen", { name: "x", run: () => clock.sleep(5_000) });
    void lifecycle.stop(REQUEST);
    await clock.advance(10);
    void lifecycle.stop({ ...REQUEST, trigger: "fatal error", error: new Error("broken") });
    assert.match(await refused(lifecycle), /a fatal error made the stop necessary: broken/);
    await clock.advance(30_000);
  });

  it("of a stop from which there is no way back at all", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("listen", { name: "x", run: ({ signal }) => clock.sleep(5_000, signal) });
    assert.equal(lifecycle.isPastNoReturn, false);
    void lifecycle.stop({ ...REQUEST, cause: "restart", noReturn: "a successor serves" });
    await clock.advance(10);
    assert.equal(lifecycle.isPastNoReturn, true);
    assert.equal(await refused(lifecycle), "a successor serves");
    await clock.advance(30_000);
  });

  it("after a third signal", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("listen", { name: "x", run: ({ signal }) => clock.sleep(5_000, signal) });
    lifecycle.attach("quit", { name: "slow", run: () => clock.sleep(500) });
    void lifecycle.stop(REQUEST);
    await clock.advance(10);
    lifecycle.skipToEnd("SIGTERM");
    assert.match(await refused(lifecycle), /told to skip to the last phase/);
    await clock.advance(30_000);
  });

  it("refuses a point of no return that is not in the plan", () => {
    assert.throws(() => starting({ pointOfNoReturn: "clsoe" as Phase }), /there is no phase "clsoe"/);
  });
});

describe("what comes while a stop is being cancelled", () => {
  /** A run that is being taken back for another 500 ms. */
  async function comingBack(): Promise<{
    clock: ManualClock;
    lifecycle: Lifecycle<Phase>;
    stopped: Promise<DrainReport>;
    seen: string[];
  }> {
    const { clock, lifecycle } = running();
    const seen: string[] = [];
    lifecycle.on("state", ({ state }) => seen.push(state));
    lifecycle.attach("listen", {
      name: "x",
      run: ({ signal }) => clock.sleep(5_000, signal),
      cancelled: () => clock.sleep(500),
    });
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(100);
    void lifecycle.cancel(BACK);
    await clock.advance(10);
    assert.equal(lifecycle.state, "stopping");
    return { clock, lifecycle, stopped, seen };
  }

  it("another cancel: gets the same answer", async () => {
    const { clock, lifecycle } = await comingBack();
    const again = lifecycle.cancel(BACK);
    await clock.advance(1_000);
    assert.deepEqual(await again, { cancelled: true, failed: [] });
  });

  it("a stop: the cancelled run ends as cancelled, and the new one begins when everything is back", async () => {
    const { clock, lifecycle, stopped, seen } = await comingBack();
    const next = lifecycle.stop({ ...REQUEST, reason: "really" });
    const same = lifecycle.stop(REQUEST);
    assert.equal(lifecycle.request?.reason, "really");
    await clock.advance(1_000);
    assert.equal((await stopped).outcome, "cancelled");
    assert.deepEqual(seen, ["stopping", "running", "stopping"]);
    await clock.advance(30_000);
    const report = await next;
    assert.equal(report, await same);
    assert.equal(report.outcome, "clean");
    assert.equal(report.reason, "really");
    assert.equal(report.repeatedCount, 1);
    assert.equal(clock.pendingTimers, 0);
  });

  it("a stop: those who hang at taking back cannot make it late, and the watchdog counts from its call", async () => {
    const calls: string[] = [];
    const watchdog: Watchdog = {
      arm: (ms) => void calls.push(`arm ${Math.round(ms)}`),
      bringForward: (ms) => void calls.push(`bring forward ${Math.round(ms)}`),
      running: nothing,
      executing: nothing,
      idle: nothing,
      disarm: () => void calls.push("disarm"),
    };
    const { clock, lifecycle } = running({ watchdog });
    const over: string[] = [];
    for (let number = 1; number <= 20; number++) {
      lifecycle.attach("listen", { name: `${number}`, run: never, cancelled: never });
    }
    lifecycle.attach("close", { name: "closer", run: () => void over.push("closed") });
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(10);
    void lifecycle.cancel(BACK);
    await clock.advance(10);
    const next = lifecycle.stop({ ...REQUEST, budgetMs: 10_000 });
    assert.deepEqual(calls, ["arm 26000", "disarm", "arm 11000"]);
    await clock.advance(1_000);
    lifecycle.hurry("SIGTERM");
    assert.equal(calls.at(-1), "bring forward 3000");
    await clock.advance(3_000);
    assert.equal((await stopped).cancelled?.undone.length, 20);
    assert.deepEqual(over, ["closed"]);
    assert.equal((await next).hurried, true);
    assert.equal(clock.pendingTimers, 0);
  });

  it("a fatal error: the server stops all the same", async () => {
    const { clock, lifecycle } = await comingBack();
    const fatal = lifecycle.stop({ ...REQUEST, trigger: "fatal error", error: new Error("broken") });
    await clock.advance(30_000);
    assert.equal((await fatal).outcome, "fatal");
  });

  it("a second signal for the run that is cancelled: too late to hurry it", async () => {
    const { clock, lifecycle, stopped } = await comingBack();
    lifecycle.hurry("SIGTERM");
    lifecycle.skipToEnd("SIGTERM");
    await clock.advance(1_000);
    assert.equal((await stopped).hurried, false);
    assert.equal(lifecycle.state, "running");
  });

  it("two signals after it: the first stops, the second hurries, as if none had come before", async () => {
    const { clock, lifecycle } = await comingBack();
    const port = new EventEmitter();
    const off = listenToSignals({ lifecycle, clock, log: silentLog, port });
    const reports: DrainReport[] = [];
    lifecycle.on("report", (report) => reports.push(report));
    port.emit("SIGTERM");
    await clock.advance(200);
    port.emit("SIGTERM");
    await clock.advance(30_000);
    assert.deepEqual(
      reports.map(({ trigger, hurried, skippedToEnd }) => [trigger, hurried, skippedToEnd]),
      [["SIGTERM", true, false]],
    );
    off();
  });

  it("signals count from one again once a stop was cancelled", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("listen", { name: "x", run: ({ signal }) => clock.sleep(5_000, signal) });
    const port = new EventEmitter();
    listenToSignals({ lifecycle, clock, log: silentLog, port });
    port.emit("SIGTERM");
    await clock.advance(1_000);
    void lifecycle.cancel(BACK);
    await clock.advance(0);
    port.emit("SIGTERM");
    await clock.advance(30_000);
    assert.equal(lifecycle.report?.hurried, false);
    assert.equal(lifecycle.report?.outcome, "clean");
  });

  it("a hurried stop can still be cancelled, and leaves the next one its whole time", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("listen", { name: "x", run: ({ signal }) => clock.sleep(5_000, signal) });
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(10);
    lifecycle.hurry("SIGTERM");
    assert.equal(lifecycle.remaining, 2_000);
    const result = lifecycle.cancel(BACK);
    await clock.advance(0);
    assert.equal((await result).cancelled, true);
    assert.equal((await stopped).hurried, true);
    void lifecycle.stop(REQUEST);
    assert.equal(lifecycle.remaining, 25_000);
    await clock.advance(30_000);
    assert.equal(lifecycle.report?.hurried, false);
  });
});

describe("a snapshot of a run", () => {
  it("has the phases that have ended and the fates so far", async () => {
    const { clock, lifecycle } = running();
    assert.equal(lifecycle.snapshot(), undefined);
    lifecycle.attach("listen", { name: "bad", run: () => Promise.reject(new Error("oh")) });
    lifecycle.attach("close", { name: "x", run: () => clock.sleep(100) });
    void lifecycle.stop({ cause: "stop", reason: "r", trigger: "t" });
    await clock.advance(10);
    lifecycle.obligations.settle("b.test", "proved", { evidence: "pong" });
    const snapshot = lifecycle.snapshot();
    assert.deepEqual(
      snapshot?.phases.map(({ name, outcome }) => [name, outcome]),
      [
        ["announce", "skipped"],
        ["listen", "failed"],
      ],
    );
    assert.equal(snapshot?.obligations.run.proved, 1);
    assert.equal(snapshot?.outcome, "incomplete");
    assert.equal(lifecycle.ended("listen")?.outcome, "failed");
    assert.equal(lifecycle.ended("close"), undefined);
    await clock.advance(10_000);
    assert.equal(lifecycle.snapshot(), lifecycle.report);
  });
});
