// The delay of a stop on a manual clock: what it lasts, who may end it, and that its time is nobody else's.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import {
  type DrainReport,
  describeReport,
  type LifecycleOptions,
  listenToSignals,
  type Participant,
  type PhaseContext,
  type StopRequest,
  silentLog,
  type Watchdog,
} from "../../../src/shutdown/index.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import {
  finish,
  type LifecycleScene,
  type LifecycleSceneOptions,
  phaseReport,
  startingLifecycle,
} from "../../support/lifecycle.ts";

type Phase = "announce" | "close" | "drain" | "quit";

const DELAYED: StopRequest = {
  cause: "stop",
  reason: "a test",
  trigger: "test",
  delayMs: 300_000,
  announcement: "Moving house",
};
const AT_ONCE: StopRequest = { cause: "stop", reason: "now", trigger: "somebody else" };

/** A watchdog that only notes by when it would bite. */
interface NotedWatchdog extends Watchdog {
  at: number;
}

function notedWatchdog(clock: ManualClock): NotedWatchdog {
  const nothing = (): void => undefined;
  return {
    at: Number.POSITIVE_INFINITY,
    arm(limitMs) {
      this.at = clock.now() + limitMs;
    },
    bringForward(limitMs) {
      this.at = Math.min(this.at, clock.now() + limitMs);
    },
    running: nothing,
    executing: nothing,
    idle: nothing,
    disarm: nothing,
  };
}

interface Scene extends LifecycleScene<Phase> {
  readonly watchdog: NotedWatchdog;
}

const PLAN: Pick<LifecycleOptions<Phase>, "plan" | "pointOfNoReturn"> = {
  plan: [
    { name: "announce", floorMs: 0, ceilingMs: 0, optional: true, isDelay: true },
    { name: "close", floorMs: 1_000, ceilingMs: 60_000 },
    { name: "drain", floorMs: 3_000, ceilingMs: 60_000 },
    { name: "quit", floorMs: 1_000, ceilingMs: 5_000 },
  ],
  pointOfNoReturn: "close",
};

function starting(options: Partial<LifecycleSceneOptions<Phase>> = {}): Scene {
  const clock = new ManualClock();
  const watchdog = notedWatchdog(clock);
  return { ...startingLifecycle<Phase>({ ...PLAN, clock, watchdog, ...options }), watchdog };
}

function running(options: Partial<LifecycleSceneOptions<Phase>> = {}): Scene {
  const scene = starting(options);
  scene.lifecycle.started();
  return scene;
}

/** Attaches somebody to the phase `close` who notes when it began and how much time it was given. */
function watchClose({ clock, lifecycle }: Scene): { at?: number; budgetMs?: number } {
  const seen: { at?: number; budgetMs?: number } = {};
  lifecycle.attach("close", {
    name: "closer",
    run: (context) => {
      seen.at = clock.now();
      seen.budgetMs = context.remaining();
    },
  });
  return seen;
}

const end = ({ clock }: Scene, run: Promise<DrainReport>): Promise<DrainReport> => finish(clock, run, 400_000);

describe("a delayed stop", () => {
  it("waits for exactly the delay, whoever takes part, and the others have the whole budget after it", async () => {
    const scene = running();
    const { clock, lifecycle } = scene;
    const closed = watchClose(scene);
    const told: string[] = [];
    lifecycle.attach("announce", { name: "quick", run: ({ announcement }) => void told.push(announcement ?? "") });
    const run = lifecycle.stop(DELAYED);
    await clock.advance(299_999);
    assert.equal(lifecycle.state, "stopping");
    assert.equal(closed.at, undefined);
    assert.equal(lifecycle.remaining, 25_001);
    const report = await end(scene, run);
    assert.equal(closed.at, 300_000);
    // All but the floors of the two phases after it.
    assert.equal(closed.budgetMs, 21_000);
    assert.deepEqual(told, ["Moving house"]);
    assert.equal(report.outcome, "clean");
    assert.equal(report.budgetMs, 25_000);
    assert.deepEqual(report.delay, { askedMs: 300_000, tookMs: 300_000, announcement: "Moving house" });
    assert.match(
      describeReport(report),
      /clean, exit code 0, after 0ms of 25s\n {2}announced and delayed for 5m of 5m\n/,
    );
  });

  it("does not run the phase without a delay", async () => {
    const scene = running();
    const report = await end(scene, scene.lifecycle.stop(AT_ONCE));
    assert.equal(phaseReport(report, "announce").skipped, "not asked for");
    assert.equal(report.delay, undefined);
  });

  it("has the configured delay when the request names none, and none when the request says 0", async () => {
    const scene = running({ delayMs: 10_000 });
    const closed = watchClose(scene);
    await end(scene, scene.lifecycle.stop(AT_ONCE));
    assert.equal(closed.at, 10_000);
    const other = running({ delayMs: 10_000 });
    const closedAtOnce = watchClose(other);
    await end(other, other.lifecycle.stop({ ...AT_ONCE, delayMs: 0 }));
    assert.equal(closedAtOnce.at, 0);
  });

  it("is not delayed by a fatal error, by what cannot be taken back, or during the start", async () => {
    for (const more of [{ error: new Error("broken") }, { noReturn: "a successor serves" }]) {
      const scene = running({ delayMs: 10_000 });
      const closed = watchClose(scene);
      await end(scene, scene.lifecycle.stop({ ...DELAYED, ...more }));
      assert.equal(closed.at, 0);
    }
    const scene = starting();
    const closed = watchClose(scene);
    const run = scene.lifecycle.stop(DELAYED);
    scene.lifecycle.started();
    await end(scene, run);
    assert.equal(closed.at, 0);
  });

  it("begins with all who take part, and lets those who are under way at its end go as done", async () => {
    const scene = running();
    const { clock, lifecycle } = scene;
    const begun: [string, number][] = [];
    const until = (name: string, when: Participant["when"]): Participant<Phase> => ({
      name,
      when: when ?? "during",
      run: async (context: PhaseContext<Phase>) => {
        begun.push([name, clock.now()]);
        context.lease("held");
        await clock.sleep(1e9, context.signal);
      },
    });
    for (const when of ["after", "during", "before"] as const) lifecycle.attach("announce", until(when, when));
    const report = await end(scene, lifecycle.stop(DELAYED));
    assert.deepEqual(
      begun.toSorted(([one], [other]) => one.localeCompare(other)),
      [
        ["after", 0],
        ["before", 0],
        ["during", 0],
      ],
    );
    assert.deepEqual(
      phaseReport(report, "announce").participants.map(({ outcome }) => outcome),
      ["done", "done", "done"],
    );
    assert.equal(phaseReport(report, "announce").outcome, "done");
    assert.equal(report.exitCode, 0);
  });

  it("says who failed in it, and lasts all the same", async () => {
    const scene = running();
    const closed = watchClose(scene);
    scene.lifecycle.attach("announce", {
      name: "bad",
      run: () => {
        throw new Error("no");
      },
    });
    const report = await end(scene, scene.lifecycle.stop(DELAYED));
    assert.equal(phaseReport(report, "announce").outcome, "failed");
    assert.equal(closed.at, 300_000);
    assert.equal(report.outcome, "incomplete");
  });
});

describe("the end of a delay", () => {
  it("can come early, and what is left of it is nobody else's", async () => {
    const scene = running();
    const { clock, lifecycle, watchdog } = scene;
    const closed = watchClose(scene);
    lifecycle.attach("announce", {
      name: "doorman",
      run: async () => {
        await clock.sleep(5_000);
        lifecycle.endDelay("nobody is left");
      },
    });
    const run = lifecycle.stop(DELAYED);
    await clock.advance(4_000);
    assert.equal(watchdog.at, 300_000 + 25_000 + 1_000);
    await clock.advance(2_000);
    assert.equal(closed.at, 5_000);
    assert.equal(closed.budgetMs, 21_000);
    assert.equal(watchdog.at, 5_000 + 25_000 + 1_000);
    const report = await end(scene, run);
    assert.deepEqual(report.delay?.cut, { why: "nobody is left", atMs: 5_000 });
    assert.equal(report.delay?.tookMs, 5_000);
    assert.match(describeReport(report), /announced and delayed for 5s of 5m \(nobody is left\)/);
  });

  it("does nothing outside a delay", async () => {
    const scene = running();
    const { clock, lifecycle } = scene;
    lifecycle.endDelay("nothing to end");
    lifecycle.attach("close", { name: "slow", run: () => clock.sleep(10_000) });
    const run = lifecycle.stop({ ...DELAYED, delayMs: 1_000 });
    await clock.advance(2_000);
    lifecycle.endDelay("too late");
    const report = await end(scene, run);
    assert.equal(phaseReport(report, "close").outcome, "done");
    assert.equal(report.delay?.cut, undefined);
  });

  it("comes with the second signal, which leaves the others its own time", async () => {
    const scene = running();
    const { clock, lifecycle, watchdog } = scene;
    const closed = watchClose(scene);
    const port = new EventEmitter();
    const forget = listenToSignals({ lifecycle, clock, log: silentLog, port });
    void lifecycle.stop(DELAYED);
    await clock.advance(1_000);
    port.emit("SIGTERM");
    await clock.advance(1_000);
    // The first signal asks for a stop at once, because no delay is configured.
    assert.equal(closed.at, 1_000);
    forget();
    const other = running({ delayMs: 60_000 });
    const closedThen = watchClose(other);
    const forgetOther = listenToSignals({ lifecycle: other.lifecycle, clock: other.clock, log: silentLog, port });
    port.emit("SIGTERM");
    await other.clock.advance(1_000);
    assert.equal(closedThen.at, undefined);
    port.emit("SIGTERM");
    await other.clock.advance(0);
    assert.equal(closedThen.at, 1_000);
    assert.equal((closedThen.budgetMs ?? 0) <= 2_000, true);
    assert.equal(watchdog.at, 1_000 + 25_000 + 1_000);
    assert.equal(other.watchdog.at, 1_000 + 2_000 + 1_000);
    const report = await end(other, other.lifecycle.stop(AT_ONCE));
    assert.equal(report.hurried, true);
    assert.equal(phaseReport(report, "announce").outcome, "done");
    forgetOther();
  });

  it("comes with a skip to the end", async () => {
    const scene = running();
    const { clock, lifecycle } = scene;
    const run = lifecycle.stop(DELAYED);
    await clock.advance(1_000);
    lifecycle.skipToEnd("a third signal");
    const report = await end(scene, run);
    assert.equal(report.durationMs, 1_000);
    assert.equal(phaseReport(report, "announce").skipped, "told to skip");
  });
});

describe("a stop that is asked for during the delay of another", () => {
  it("brings it forward to now when it has no delay of its own", async () => {
    const scene = running();
    const { clock, lifecycle } = scene;
    const closed = watchClose(scene);
    const run = lifecycle.stop(DELAYED);
    await clock.advance(10_000);
    const again = lifecycle.stop(AT_ONCE);
    const report = await end(scene, run);
    assert.equal(await again, report);
    assert.equal(closed.at, 10_000);
    assert.deepEqual(report.delay?.cut, { why: "asked to stop again by somebody else", atMs: 10_000 });
    assert.equal(report.reason, "a test");
    assert.equal(report.repeatedCount, 1);
  });

  it("brings it forward to its own delay when that ends sooner, and changes nothing when it ends later", async () => {
    const scene = running();
    const { clock, lifecycle } = scene;
    const closed = watchClose(scene);
    const deadlines: number[] = [];
    lifecycle.attach("announce", {
      name: "listener",
      run: async (context) => {
        while (!context.signal.aborted) {
          deadlines.push(context.deadline);
          await clock.sleep(10_000, context.signal);
        }
      },
    });
    const run = lifecycle.stop(DELAYED);
    await clock.advance(15_000);
    void lifecycle.stop({ ...AT_ONCE, delayMs: 600_000 });
    await clock.advance(10_000);
    void lifecycle.stop({ ...AT_ONCE, delayMs: 30_000 });
    const report = await end(scene, run);
    assert.equal(closed.at, 55_000);
    assert.deepEqual(deadlines, [300_000, 300_000, 300_000, 55_000, 55_000, 55_000]);
    assert.equal(report.delay?.tookMs, 55_000);
    assert.equal(report.repeatedCount, 2);
  });

  it("replaces what is announced, also where nothing was", async () => {
    const scene = running();
    const { clock, lifecycle } = scene;
    const texts: (string | undefined)[] = [];
    lifecycle.attach("announce", {
      name: "listener",
      run: async (context) => {
        while (!context.signal.aborted) {
          texts.push(context.announcement);
          await clock.sleep(10_000, context.signal);
        }
      },
    });
    const run = lifecycle.stop({ ...AT_ONCE, delayMs: 40_000 });
    await clock.advance(15_000);
    void lifecycle.stop({ ...DELAYED, announcement: "after all" });
    await clock.advance(10_000);
    void lifecycle.stop({ ...AT_ONCE, delayMs: 600_000 });
    const report = await end(scene, run);
    assert.deepEqual(texts, [undefined, undefined, "after all", "after all"]);
    assert.equal(report.delay?.announcement, "after all");
  });

  it("ends the delay when it is a fatal error", async () => {
    const scene = running();
    const { clock, lifecycle } = scene;
    const run = lifecycle.stop(DELAYED);
    await clock.advance(10_000);
    void lifecycle.stop({ ...DELAYED, trigger: "fatal error", error: new Error("broken") });
    const report = await end(scene, run);
    assert.equal(report.durationMs, 10_000);
    assert.equal(report.outcome, "fatal");
  });
});

describe("cancelling a delayed stop", () => {
  it("works throughout, and those who had taken part take back", async () => {
    const scene = running();
    const { clock, lifecycle } = scene;
    const seen: string[] = [];
    lifecycle.attach("announce", {
      name: "announcer",
      run: ({ signal }) => clock.sleep(1e9, signal),
      cancelled: () => void seen.push("taken back"),
    });
    const run = lifecycle.stop(DELAYED);
    await clock.advance(299_000);
    const cancelled = lifecycle.cancel({ reason: "not today", trigger: "somebody" });
    await clock.advance(0);
    assert.deepEqual(await cancelled, { cancelled: true, failed: [] });
    assert.deepEqual(seen, ["taken back"]);
    const report = await end(scene, run);
    assert.equal(report.outcome, "cancelled");
    assert.equal(lifecycle.remaining, undefined);
    // The next one has a delay of its own.
    const closed = watchClose(scene);
    const now = clock.now();
    await end(scene, lifecycle.stop({ ...AT_ONCE, delayMs: 20_000 }));
    assert.equal(closed.at, now + 20_000);
  });
});
