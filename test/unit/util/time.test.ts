import assert from "node:assert/strict";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { Deadline } from "../../../src/util/deadline.ts";
import { TimerWheel } from "../../../src/util/timer-wheel.ts";
import { formatDuration, parseDuration, parseSize } from "../../../src/util/units.ts";

describe("Deadline", () => {
  it("aborts its signal when its moment has come", async () => {
    const clock = new ManualClock();
    const deadline = new Deadline(clock, 1_000);
    await clock.advance(999);
    assert.equal(deadline.signal.aborted, false);
    assert.equal(deadline.remaining(), 1);
    await clock.advance(1);
    assert.equal(deadline.signal.aborted, true);
    assert.equal(deadline.remaining(), 0);
  });

  it("can be brought forward but not put off", async () => {
    const clock = new ManualClock();
    const deadline = new Deadline(clock, 1_000);
    deadline.shrink(5_000);
    assert.equal(deadline.remaining(), 1_000);
    deadline.shrink(100);
    await clock.advance(100);
    assert.equal(deadline.signal.aborted, true);
    assert.equal(clock.pendingTimers, 0);
  });

  it("holds no timer once it is cancelled", () => {
    const clock = new ManualClock();
    new Deadline(clock, 1_000).cancel();
    assert.equal(clock.pendingTimers, 0);
  });
});

describe("TimerWheel", () => {
  it("fires each timeout once, never early and at most a tick late", async () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock, 500);
    const fired: [number, number][] = [];
    for (const ms of [1, 499, 500, 501, 2_000, 12_345]) wheel.add(ms, () => fired.push([ms, clock.now()]));
    await clock.advance(20_000);
    assert.equal(fired.length, 6);
    for (const [ms, at] of fired) assert.ok(at >= ms && at <= ms + 1_000, `${ms} fired at ${at}`);
  });

  it("keeps one system timer however many timeouts it has, and none when it has none", async () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock, 500);
    const timeouts = Array.from({ length: 1_000 }, (_, index) => wheel.add(1_000 + index, () => undefined));
    assert.equal(clock.pendingTimers, 1);
    for (const timeout of timeouts) timeout.cancel();
    assert.equal(clock.pendingTimers, 0);
    assert.equal(wheel.size, 0);
  });

  it("starts a timeout anew when it is restarted, also from its own firing", async () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock, 100);
    let fired = 0;
    const timeout = wheel.add(1_000, () => {
      fired++;
      if (fired === 1) timeout.restart();
    });
    await clock.advance(900);
    timeout.restart();
    await clock.advance(900);
    assert.equal(fired, 0);
    await clock.advance(3_000);
    assert.equal(fired, 2);
    assert.equal(clock.pendingTimers, 0);
  });
});

describe("units", () => {
  it("reads durations and sizes, and nothing else", () => {
    assert.equal(parseDuration("250ms"), 250);
    assert.equal(parseDuration("1.5h"), 5_400_000);
    assert.equal(parseSize("256KiB"), 262_144);
    for (const wrong of ["", "5", "s", "-1s", "5 parsecs", "1e3s"]) {
      assert.equal(parseDuration(wrong), undefined, wrong);
      assert.equal(parseSize(wrong), undefined, wrong);
    }
  });

  it("writes durations for people", () => {
    assert.equal(formatDuration(850), "850ms");
    assert.equal(formatDuration(2_400), "2.4s");
    assert.equal(formatDuration(200_000), "3m 20s");
    assert.equal(formatDuration(3_600_000), "1h");
  });
});
