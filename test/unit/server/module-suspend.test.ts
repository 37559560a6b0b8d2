// How modules take part in suspensions: what is registered, in which order it is called, and what an unloading takes back.

import assert from "node:assert/strict";
import { defineModule, type ModuleApi } from "../../../src/module.ts";
import { Lifecycle, silentLog, systemRandom } from "../../../src/shutdown/index.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { ModuleHost } from "../../../src/testing/module-host.ts";
import { startServer } from "../../../src/testing/start-server.ts";
import { HeldClock } from "../../../src/util/held-clock.ts";
import { TimerWheel } from "../../../src/util/timer-wheel.ts";

const REQUEST = {
  cause: "suspend",
  mode: "hold",
  reason: "a backup",
  trigger: "test",
  timeoutMs: 5_000,
  onTimeout: "back",
} as const;

async function loaded(host: ModuleHost, name: string): Promise<ModuleApi> {
  let api: ModuleApi | undefined;
  await host.install(
    defineModule({
      name,
      load(given) {
        api = given;
      },
    }),
  );
  assert.ok(api);
  return api;
}

describe("a module that takes part in suspensions", () => {
  it("is called in the order of registration and resumed in reverse, with its context, in its modes", async () => {
    const seen: string[] = [];
    const module = (name: string, modes?: readonly string[]) =>
      defineModule({
        name,
        load(api) {
          api.suspend(
            {
              prepare: ({ mode, reason }) => void seen.push(`${name} prepare ${mode} ${reason}`),
              suspend: ({ lease, progress }) => {
                progress({ done: 0, total: 1 });
                const held = lease("something");
                seen.push(`${name} suspend`);
                held.release();
              },
              resume: ({ mode, reason }) => void seen.push(`${name} resume ${mode} ${reason}`),
            },
            modes === undefined ? {} : { modes },
          );
          api.on("lifecycle/state", ({ state, cause, reason }) => {
            if (name === "one") seen.push([state, cause, reason].filter((part) => part !== undefined).join(" "));
          });
        },
      });
    await using running = await startServer(
      {},
      { modules: [module("one"), module("two"), module("other", ["refuse"])] },
    );
    seen.length = 0;
    assert.equal((await running.server.suspend(REQUEST)).outcome, "suspended");
    await running.server.resume({ reason: "done", trigger: "test" });
    assert.deepEqual(seen, [
      "suspending suspend a backup",
      "one prepare hold a backup",
      "two prepare hold a backup",
      "one suspend",
      "two suspend",
      "suspended suspend a backup",
      "two resume hold done",
      "one resume hold done",
      "running",
    ]);
  });

  it("has its own limit and name in the record", async () => {
    const slow = defineModule({
      name: "slow",
      load: (api) => api.suspend({ suspend: () => new Promise(() => undefined) }, { timeout: "20ms", name: "uploads" }),
    });
    await using running = await startServer({}, { modules: [slow] });
    const report = await running.server.suspend(REQUEST);
    assert.deepEqual([report.outcome, report.late], ["timed-out", ["slow: uploads"]]);
    assert.equal(running.status.state, "running");
  });

  it("is refused a timeout that is no duration, and everything once it is unloaded, which takes back what it said", async () => {
    const host = new ModuleHost();
    const api = await loaded(host, "late");
    assert.throws(() => api.suspend({}, { timeout: "soon" }), /"soon" is not a duration/);
    api.suspend({ suspend: () => undefined });
    assert.equal(host.suspending.length, 1);
    await host.loader.remove("late");
    assert.equal(host.suspending.length, 0);
    assert.throws(() => api.suspend({}), /unloaded/);
  });
});

describe("what stands still with the server", () => {
  it("a clock that is held fires nothing, and afterwards what was due, in order, unless it was cancelled", async () => {
    const manual = new ManualClock();
    const clock = new HeldClock(manual);
    const fired: string[] = [];
    clock.setTimer(200, () => fired.push("second"));
    clock.setTimer(100, () => fired.push("first"));
    const cancelled = clock.setTimer(50, () => fired.push("cancelled"));
    clock.hold();
    await manual.advance(1_000);
    cancelled.cancel();
    assert.equal(fired.length, 0);
    clock.setTimer(50, () => fired.push("third"));
    clock.release();
    await manual.advance(0);
    assert.deepEqual(fired, ["first", "second"]);
    await manual.advance(50);
    assert.deepEqual(fired, ["first", "second", "third"]);
  });

  it("a wheel that is paused fires nothing, and afterwards everything has its whole time again", async () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock, 100);
    const fired: string[] = [];
    wheel.add(1_000, () => fired.push("old"));
    const gone = wheel.add(1_000, () => fired.push("gone"));
    await clock.advance(900);
    wheel.pause();
    assert.equal(clock.pendingTimers, 0);
    wheel.add(500, () => fired.push("new"));
    await clock.advance(60_000);
    gone.cancel();
    assert.equal(fired.length, 0);
    wheel.resume();
    await clock.advance(400);
    assert.equal(fired.length, 0);
    await clock.advance(200);
    assert.deepEqual(fired, ["new"]);
    await clock.advance(500);
    assert.deepEqual(fired, ["new", "old"]);
    assert.equal(clock.pendingTimers, 0);
  });

  it("a life cycle without participants is suspended at once", async () => {
    const clock = new ManualClock();
    const plan = [{ name: "quit", floorMs: 0, ceilingMs: 1_000 }] as const;
    const options = { plan, clock, random: systemRandom, log: silentLog, budgetMs: 1_000, hurryMs: 100 };
    const lifecycle = new Lifecycle<"quit">(options);
    lifecycle.started();
    assert.equal((await lifecycle.suspend(REQUEST)).outcome, "suspended");
    assert.equal(clock.pendingTimers, 0);
  });
});
