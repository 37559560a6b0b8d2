// The rules of a run on a manual clock: order, isolation, leases, limits, escalation, start-up.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DrainReport,
  type Lease,
  type LifecycleOptions,
  MorendoError,
  type Participant,
  type StopRequest,
} from "../../../src/shutdown/index.ts";
import {
  finish,
  type LifecycleScene,
  type LifecycleSceneOptions,
  never,
  phaseReport,
  runningLifecycle,
  startingLifecycle,
} from "../../support/lifecycle.ts";

type Phase = "announce" | "close" | "drain" | "quit";

const REQUEST: StopRequest = { cause: "stop", reason: "a test", trigger: "test" };

const PLAN: LifecycleOptions<Phase>["plan"] = [
  { name: "announce", floorMs: 0, ceilingMs: 60_000, optional: true },
  { name: "close", floorMs: 1_000, ceilingMs: 5_000 },
  { name: "drain", floorMs: 3_000, ceilingMs: 20_000 },
  { name: "quit", floorMs: 1_000, ceilingMs: 5_000 },
];

const starting = (): LifecycleScene<Phase> => startingLifecycle<Phase>({ plan: PLAN });
const running = (options: Partial<LifecycleSceneOptions<Phase>> = {}): LifecycleScene<Phase> =>
  runningLifecycle<Phase>({ plan: PLAN, ...options });

function outcomes(report: DrainReport, name: Phase): Record<string, string> {
  return Object.fromEntries(phaseReport(report, name).participants.map((one) => [one.name, one.outcome]));
}

describe("a run of the pipeline", () => {
  it("takes the phases in order and in each before, during and after, whatever the order of registration", async () => {
    const { clock, lifecycle } = running();
    const seen: string[] = [];
    const note = (name: string, when?: Participant["when"]): Participant<Phase> => ({
      name,
      ...(when === undefined ? {} : { when }),
      run: async ({ phase: current }) => {
        seen.push(`${current} ${name} begins`);
        await clock.sleep(100);
        seen.push(`${current} ${name} ends`);
      },
    });
    lifecycle.attach("drain", note("x"));
    lifecycle.attach("close", note("late", "after"));
    lifecycle.attach("close", note("one"));
    lifecycle.attach("close", note("two", "during"));
    lifecycle.attach("close", note("early", "before"));
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.deepEqual(seen, [
      "close early begins",
      "close early ends",
      "close one begins",
      "close two begins",
      "close one ends",
      "close two ends",
      "close late begins",
      "close late ends",
      "drain x begins",
      "drain x ends",
    ]);
    assert.equal(report.outcome, "clean");
    assert.equal(report.exitCode, 0);
    assert.equal(report.durationMs, 400);
  });

  it("records who throws, rejects and hangs, by name, and does not let the others suffer", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("close", { name: "good", run: () => clock.sleep(10) });
    lifecycle.attach("close", {
      name: "thrower",
      run: () => {
        throw new Error("thrown on purpose");
      },
    });
    lifecycle.attach("close", { name: "rejecter", run: () => Promise.reject(new Error("rejected on purpose")) });
    lifecycle.attach("close", { name: "hanger", timeoutMs: 700, run: never });
    lifecycle.attach("drain", { name: "next", run: () => undefined });
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.deepEqual(outcomes(report, "close"), {
      good: "done",
      thrower: "failed",
      rejecter: "failed",
      hanger: "timed-out",
    });
    const errors = phaseReport(report, "close").participants.map(({ error }) => error ?? "");
    assert.match(errors[1] ?? "", /thrown on purpose/);
    assert.match(errors[2] ?? "", /rejected on purpose/);
    assert.equal(phaseReport(report, "close").durationMs, 700);
    assert.deepEqual(outcomes(report, "drain"), { next: "done" });
    assert.equal(report.exitCode, 4);
  });

  it("aborts a participant's signal at its limit, tells it its time, and ignores what it does afterwards", async () => {
    const { clock, lifecycle } = running();
    let abortedAt: number | undefined;
    let toldMs: number | undefined;
    lifecycle.attach("close", {
      name: "slow",
      timeoutMs: 300,
      run: async ({ signal, remaining }) => {
        toldMs = remaining();
        signal.addEventListener("abort", () => {
          abortedAt = clock.now();
        });
        await clock.sleep(1_000);
        throw new Error("too late to matter");
      },
    });
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.equal(toldMs, 300);
    assert.equal(abortedAt, 300);
    assert.deepEqual(outcomes(report, "close"), { slow: "timed-out" });
  });

  it("bounds a participant's own limit by the phase's time", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("close", { name: "greedy", timeoutMs: 3_600_000, run: never });
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.equal(phaseReport(report, "close").durationMs, 5_000);
    assert.equal(phaseReport(report, "close").outcome, "timed-out");
  });

  it("leaves time for the phase's own work when somebody hangs before it", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("close", { name: "hanger", when: "before", run: never });
    lifecycle.attach("close", { name: "own work", run: () => clock.sleep(1_000) });
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.deepEqual(outcomes(report, "close"), { hanger: "timed-out", "own work": "done" });
    assert.equal(phaseReport(report, "close").durationMs, 2_500 + 1_000);
  });

  it("leaves time for the phase's own work also when its time shrinks while somebody hangs before it", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("close", { name: "hanger", when: "before", run: never });
    lifecycle.attach("close", { name: "own work", run: () => clock.sleep(10) });
    const stopped = lifecycle.stop(REQUEST);
    await clock.advance(100);
    lifecycle.hurry("test");
    const report = await finish(clock, stopped);
    assert.deepEqual(outcomes(report, "close"), { hanger: "timed-out", "own work": "done" });
  });

  it("keeps a phase open until its leases are released", async () => {
    const { clock, lifecycle } = running();
    let lease: Lease | undefined;
    lifecycle.attach("close", {
      name: "lender",
      run: (context) => {
        lease = context.lease("b.test");
      },
    });
    const run = lifecycle.stop(REQUEST);
    await clock.advance(1_000);
    assert.equal(lifecycle.progress?.phase, "close");
    assert.deepEqual(lifecycle.progress?.blockers, ["b.test"]);
    lease?.release();
    lease?.release();
    const report = await finish(clock, run);
    assert.equal(phaseReport(report, "close").durationMs, 1_000);
    assert.equal(report.outcome, "clean");
  });

  it("names the leases that were not released when the time was over", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("drain", {
      name: "lender",
      run: (context) => {
        context.lease("b.test").release();
        context.lease("c.test");
      },
    });
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.deepEqual(phaseReport(report, "drain").leaseHolders, ["c.test"]);
    assert.deepEqual(outcomes(report, "drain"), { lender: "timed-out" });
  });

  it("takes in who comes while the phase runs and refuses who comes after its end", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("close", {
      name: "host",
      run: async () => {
        lifecycle.attach("close", { name: "guest", run: () => clock.sleep(50) });
        lifecycle.attach("close", { name: "early guest", when: "before", run: () => undefined });
        lifecycle.attach("close", { name: "late guest", when: "after", run: () => undefined });
        await clock.sleep(10);
      },
    });
    const refused: unknown[] = [];
    lifecycle.attach("drain", {
      name: "straggler",
      run: () => {
        try {
          lifecycle.attach("close", { name: "too late", run: () => undefined });
        } catch (thrown) {
          refused.push(thrown);
        }
      },
    });
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.deepEqual(outcomes(report, "close"), {
      host: "done",
      guest: "done",
      "early guest": "done",
      "late guest": "done",
    });
    assert.ok(refused[0] instanceof MorendoError && refused[0].code === "MORENDO_PHASE_OVER");
    assert.throws(() => lifecycle.attach("quit", { name: "x", run: () => undefined }), { code: "MORENDO_PHASE_OVER" });
    assert.throws(() => lifecycle.attach("nowhere" as Phase, { name: "x", run: () => undefined }), {
      code: "MORENDO_PHASE_UNKNOWN",
    });
  });

  it("does not run who was taken out again", async () => {
    const { clock, lifecycle } = running();
    let runs = 0;
    const detach = lifecycle.attach("close", { name: "gone", run: () => void runs++ });
    detach();
    await finish(clock, lifecycle.stop(REQUEST));
    assert.equal(runs, 0);
  });

  it("runs an optional phase only when asked to, without calling the run incomplete", async () => {
    for (const include of [[], ["announce"]]) {
      const { clock, lifecycle } = running();
      let runs = 0;
      lifecycle.attach("announce", { name: "headline", run: () => void runs++ });
      const report = await finish(clock, lifecycle.stop({ ...REQUEST, include }));
      assert.equal(runs, include.length);
      assert.equal(report.outcome, "clean");
    }
  });

  it("keeps within the budget when every participant hangs, and still runs the last phase", async () => {
    const { clock, lifecycle } = running({ budgetMs: 10_000 });
    for (const name of ["close", "drain"] as const) lifecycle.attach(name, { name: "hanger", run: never });
    lifecycle.attach("quit", { name: "flush", run: () => clock.sleep(500) });
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.deepEqual(
      report.phases.map(({ outcome }) => outcome),
      ["skipped", "timed-out", "timed-out", "done"],
    );
    assert.equal(report.durationMs, 9_500);
  });

  it("tells progress: what participants say added up, or the participants themselves", async () => {
    const { clock, lifecycle } = running();
    const seen: string[] = [];
    lifecycle.on("progress", ({ phase: name, done, total, blockers, remainingMs }) =>
      seen.push(`${name} ${done}/${total} ${blockers.join(",")} ${remainingMs}`),
    );
    lifecycle.attach("close", { name: "silent", run: () => clock.sleep(300) });
    lifecycle.attach("drain", {
      name: "speaker",
      run: async ({ progress }) => {
        progress({ done: 12, total: 40, blockers: ["b.test", "c.test"] });
        await clock.sleep(300);
      },
    });
    await finish(clock, lifecycle.stop(REQUEST));
    assert.deepEqual(seen, ["close 0/1 silent 4750", "drain 12/40 b.test,c.test 19750"]);
  });
});

describe("Lifecycle.stop", () => {
  it("gives every caller the same promise and notes the repeated requests", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("close", { name: "slow", run: () => clock.sleep(500) });
    const first = lifecycle.stop(REQUEST);
    await clock.advance(200);
    assert.equal(lifecycle.stop({ ...REQUEST, trigger: "control socket" }), first);
    const report = await finish(clock, first);
    assert.equal(lifecycle.stop(REQUEST), first);
    assert.deepEqual(report.repeatedRequests.map(({ trigger, atMs }) => [trigger, atMs]).slice(0, 1), [
      ["control socket", 200],
    ]);
    assert.equal(lifecycle.state, "stopped");
  });

  it("begins only one run when a listener or a participant calls it again from inside", async () => {
    const { clock, lifecycle } = running();
    let runs = 0;
    lifecycle.on("state", () => void lifecycle.stop(REQUEST));
    lifecycle.attach("close", {
      name: "again",
      run: () => {
        runs++;
        void lifecycle.stop(REQUEST);
      },
    });
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.equal(runs, 1);
    assert.ok(report.repeatedCount >= 2);
  });

  it("goes through the states in order and tells of the report last", async () => {
    const { clock, lifecycle } = starting();
    const seen: string[] = [];
    lifecycle.on("state", ({ state }) => seen.push(state));
    lifecycle.on("report", ({ outcome }) => seen.push(`report ${outcome}`));
    lifecycle.started();
    await finish(clock, lifecycle.stop(REQUEST));
    assert.deepEqual(seen, ["running", "stopping", "stopped", "report clean"]);
  });

  it("shrinks what is left at the second signal, under the phase that runs", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("drain", { name: "hanger", run: never });
    lifecycle.attach("quit", { name: "flush", run: () => clock.sleep(200) });
    const run = lifecycle.stop(REQUEST);
    await clock.advance(5_000);
    lifecycle.hurry("SIGINT");
    const report = await finish(clock, run);
    // 2 s are left for floors of 3 s and 1 s: drain has three quarters of them.
    assert.equal(phaseReport(report, "drain").durationMs, 6_500);
    assert.deepEqual(outcomes(report, "quit"), { flush: "done" });
    assert.equal(report.hurried, true);
    assert.equal(report.exitCode, 4);
  });

  it("goes straight to the last phase at the third signal", async () => {
    const { clock, lifecycle } = running();
    let signal: AbortSignal | undefined;
    lifecycle.attach("close", {
      name: "hanger",
      run: (context) => {
        signal = context.signal;
        return never();
      },
    });
    lifecycle.attach("drain", { name: "never begun", run: () => assert.fail("must not run") });
    lifecycle.attach("quit", { name: "flush", run: () => clock.sleep(200) });
    const run = lifecycle.stop(REQUEST);
    await clock.advance(1_000);
    lifecycle.skipToEnd("SIGINT");
    const report = await finish(clock, run);
    assert.equal(signal?.aborted, true);
    assert.equal(report.durationMs, 1_200);
    assert.deepEqual(outcomes(report, "drain"), { "never begun": "skipped" });
    assert.deepEqual(outcomes(report, "quit"), { flush: "done" });
  });

  it("ends with the code of a fatal error that comes up during the run", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("close", { name: "slow", run: () => clock.sleep(500) });
    const run = lifecycle.stop(REQUEST);
    void lifecycle.stop({ ...REQUEST, trigger: "fatal error", error: new Error("came up late") });
    const report = await finish(clock, run);
    assert.equal(report.exitCode, 1);
    assert.match(report.error ?? "", /came up late/);
  });

  it("leaves no timer behind when a participant with a limit of its own is done early", async () => {
    const { clock, lifecycle } = running();
    lifecycle.attach("close", { name: "quick", timeoutMs: 4_000, run: () => undefined });
    await finish(clock, lifecycle.stop(REQUEST), 1);
  });

  it("does nothing at a second or third signal when nothing is stopping", () => {
    const { lifecycle } = running();
    lifecycle.hurry("SIGINT");
    lifecycle.skipToEnd("SIGINT");
    assert.equal(lifecycle.state, "running");
  });

  it("survives listeners and sections that throw", async () => {
    const { clock, lifecycle } = running();
    lifecycle.on("phase", () => {
      throw new Error("a bad listener");
    });
    lifecycle.section("bad", () => {
      throw new Error("a bad section");
    });
    lifecycle.section("good", () => ({ answer: 42 }));
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.deepEqual(report.sections.good, { answer: 42 });
    assert.deepEqual(report.sections.bad, { error: "a bad section" });
  });

  it("writes the report and counts obligations from the beginning of the run", async () => {
    const dir = mkdtempSync(join(tmpdir(), "morendo-report-"));
    try {
      const { clock, lifecycle } = running({ reportDir: dir });
      lifecycle.obligations.settle("b.test", "proved", { evidence: "sm-ack" });
      lifecycle.attach("drain", {
        name: "drain",
        run: () => lifecycle.obligations.settle("c.test", "lost", { name: "message 1" }),
      });
      const report = await finish(clock, lifecycle.stop(REQUEST));
      assert.equal(report.exitCode, 3);
      assert.equal(report.obligations.running.proved, 1);
      assert.deepEqual(report.obligations.destinations[0]?.lostNames, ["message 1"]);
      const stored: unknown = JSON.parse(readFileSync(join(dir, "last-drain.json"), "utf8"));
      assert.deepEqual(stored, JSON.parse(JSON.stringify(report)));
      assert.equal(readdirSync(dir).length, 2);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe("a stop during the start", () => {
  it("waits for the start sequence, which is told to end early, and runs over what was attached", async () => {
    const { clock, lifecycle } = starting();
    const ran: string[] = [];
    const started = lifecycle.start(async (signal) => {
      lifecycle.attach("close", { name: "half", run: () => void ran.push("half") });
      await clock.sleep(60_000, signal);
      await clock.sleep(50);
      lifecycle.attach("close", { name: "last step", run: () => void ran.push("last step") });
    });
    await clock.advance(10);
    const run = lifecycle.stop(REQUEST);
    assert.equal(lifecycle.startup.aborted, true);
    assert.equal(lifecycle.state, "starting");
    const report = await finish(clock, run);
    assert.equal(await started, false);
    assert.deepEqual(ran, ["half", "last step"]);
    assert.equal(report.startupMs, 50);
    assert.equal(report.outcome, "clean");
  });

  it("does not wait for ever for a start sequence that hangs", async () => {
    const { clock, lifecycle } = starting();
    void lifecycle.start(never);
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.equal(report.startupMs, 20_000);
    assert.equal(report.durationMs, 20_000);
  });

  it("ends with a fatal error when the start sequence fails, after running over what was attached", async () => {
    const { clock, lifecycle } = starting();
    let runs = 0;
    const isUp = await lifecycle.start(() => {
      lifecycle.attach("close", { name: "undo", run: () => void runs++ });
      throw new Error("no such port");
    });
    assert.equal(isUp, false);
    const report = await finish(clock, lifecycle.stop(REQUEST));
    assert.equal(runs, 1);
    assert.equal(report.exitCode, 1);
    assert.match(report.error ?? "", /no such port/);
  });
});
