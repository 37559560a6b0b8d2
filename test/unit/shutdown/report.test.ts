// Obligations, outcome, the files of reports, and how they and progress read.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DrainReport,
  describeReport,
  type LifecycleEvents,
  Obligations,
  outcomeOf,
  type PhaseProgress,
  readLastReport,
  showProgress,
  writeReport,
} from "../../../src/shutdown/index.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { Notifier } from "../../../src/util/events.ts";

function reportWith(changes: Partial<DrainReport> = {}): DrainReport {
  return {
    version: 1,
    id: "0123456789abcdef",
    cause: "stop",
    reason: "a test",
    trigger: "SIGTERM",
    startedAt: "2026-01-01T00:00:00.000Z",
    durationMs: 1_240,
    budgetMs: 25_000,
    startupMs: 0,
    hurried: false,
    skippedToEnd: false,
    phases: [],
    obligations: new Obligations().snapshot(),
    sections: {},
    repeatedRequests: [],
    repeatedCount: 0,
    outcome: "clean",
    exitCode: 0,
    ...changes,
  };
}

const CUT_SHORT = {
  name: "drain",
  outcome: "timed-out",
  skipped: "out of time",
  durationMs: 500,
  budgetMs: 500,
  participants: [{ name: "hanger", when: "during", outcome: "timed-out", durationMs: 500, error: "out of time" }],
  leaseHolders: ["b.test"],
} as const;

describe("Obligations", () => {
  it("keep apart what was settled before the run and count by destination, fate and evidence", () => {
    const obligations = new Obligations();
    obligations.settle("b.test", "proved", { evidence: "pong" });
    obligations.begin();
    obligations.settle("b.test", "proved", { evidence: "sm-ack" });
    obligations.settle("__proto__", "stored", {});
    const { running, run, destinations } = obligations.snapshot();
    assert.equal(running.evidence.pong, 1);
    assert.equal(run.evidence["sm-ack"], 1);
    assert.deepEqual(
      destinations.map(({ destination, proved, stored }) => [destination, proved, stored]),
      [
        ["b.test", 1, 0],
        ["__proto__", 0, 1],
      ],
    );
  });

  it("name the first lost ones and count the rest, and bound the destinations", () => {
    const obligations = new Obligations({ maxNames: 2, maxDestinations: 2 });
    obligations.begin();
    for (let n = 0; n < 3; n++) obligations.settle("b.test", "lost", { name: `message ${n}` });
    for (const other of ["c", "d", "e"]) obligations.settle(other, "lost", { name: other });
    const { destinations, run } = obligations.snapshot();
    assert.equal(run.lost, 6);
    const first = destinations.find(({ destination }) => destination === "b.test");
    assert.deepEqual([first?.lostNames, first?.lostUnnamed], [["message 0", "message 1"], 1]);
    assert.equal(destinations.find(({ destination }) => destination === "*")?.lost, 2);
  });
});

describe("outcomeOf", () => {
  it("puts a fatal error over a loss and a loss over a phase cut short", () => {
    const obligations = new Obligations();
    obligations.begin();
    const cut = reportWith({ phases: [CUT_SHORT] });
    assert.equal(outcomeOf(reportWith()), "clean");
    assert.equal(outcomeOf(cut), "incomplete");
    obligations.settle("b.test", "lost", {});
    const lost = { ...cut, obligations: obligations.snapshot() };
    assert.equal(outcomeOf(lost), "lost");
    assert.equal(outcomeOf({ ...lost, error: "oh no" }), "fatal");
  });
});

describe("writeReport", () => {
  it("keeps the last report and ten dated ones, and no temporary file", () => {
    const dir = mkdtempSync(join(tmpdir(), "morendo-report-"));
    try {
      for (let n = 10; n < 23; n++) writeReport(dir, reportWith({ startedAt: `2026-01-01T00:00:${n}.000Z` }));
      const names = readdirSync(dir).sort();
      assert.equal(names.length, 11);
      assert.equal(names[0], "drain-2026-01-01T00-00-13.000Z-01234567.json");
      assert.equal(names.at(-1), "last-drain.json");
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe("describeReport", () => {
  it("names what went wrong in about ten lines", () => {
    const obligations = new Obligations();
    obligations.begin();
    for (let n = 0; n < 50; n++) obligations.settle(`d${n}.test`, "lost", { name: `message ${n}` });
    const text = describeReport(reportWith({ phases: [CUT_SHORT], obligations: obligations.snapshot() }));
    assert.match(text, /drain: timed-out in 500ms; hanger timed-out \(out of time\); still held by b\.test/);
    assert.match(text, /50 lost/);
    assert.match(text, /d0\.test: 1 lost, first: message 0/);
    assert.match(text, /and 45 more destinations/);
    assert.ok(text.split("\n").length <= 12);
  });
});

describe("showProgress", () => {
  function setUp(isTerminal: boolean): { clock: ManualClock; events: Notifier<LifecycleEvents>; written: string[] } {
    const clock = new ManualClock();
    const events = new Notifier<LifecycleEvents>((_event, thrown) => {
      throw thrown;
    });
    const written: string[] = [];
    const write = (text: string): void => void written.push(text);
    showProgress<string>({ lifecycle: events, clock, write, isTerminal });
    return { clock, events, written };
  }
  const progress: PhaseProgress = {
    phase: "drain-s2s",
    step: 3,
    steps: 5,
    done: 12,
    total: 40,
    blockers: ["b.test", "c\x1b[2J.test"],
    running: ["s2s"],
    elapsedMs: 1_200,
    remainingMs: 8_000,
  };

  it("writes plain lines where there is no terminal, and nothing from the network can steer one", async () => {
    const { clock, events, written } = setUp(false);
    events.notify("phase", { phase: "drain-s2s", step: 3, steps: 5, status: "started", budgetMs: 9_000 });
    await clock.advance(1_200);
    events.notify("progress", progress);
    events.notify("progress", { ...progress, done: 13 });
    assert.deepEqual(written, ["[3/5 1.2s] drain-s2s: 12/40, waiting for b.test, c?[2J.test (8s left)\n"]);
  });

  it("rewrites its picture in place on a terminal, not more often than it should", async () => {
    const { clock, events, written } = setUp(true);
    events.notify("phase", { phase: "drain-s2s", step: 3, steps: 5, status: "started", budgetMs: 9_000 });
    events.notify("progress", progress);
    assert.equal(written.length, 1);
    await clock.advance(200);
    events.notify("progress", progress);
    assert.equal(written.length, 2);
    assert.ok(written[1]?.startsWith("\x1b[1A\r\x1b[J"));
    assert.match(written[1] ?? "", /drain-s2s: 12\/40, waiting for b\.test, c\?\[2J\.test \(8s left\)/);
  });
});

describe("the last report", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "morendo-last-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("is read back as it was written, and is undefined when there is none", () => {
    assert.equal(readLastReport(dir), undefined);
    assert.equal(readLastReport(join(dir, "none")), undefined);
    writeReport(dir, reportWith());
    const cancelled = reportWith({
      outcome: "cancelled",
      phases: [CUT_SHORT],
      cancelled: { reason: "no", trigger: "test", atMs: 1, undone: [] },
    });
    writeReport(dir, cancelled);
    assert.deepEqual(readLastReport(dir), cancelled);
  });

  it("that is damaged, foreign or of another version is refused with what is wrong", () => {
    const { sections: _sections, ...incomplete } = reportWith();
    const cases: readonly (readonly [unknown, RegExp])[] = [
      ["{", /last-drain\.json is not a drain report: .*JSON/],
      [[], /not an object/],
      [null, /not an object/],
      [{ ...reportWith(), version: 2 }, /its version is 2/],
      [incomplete, /sections is not right/],
      [{ ...reportWith(), phases: [{}] }, /phases is not right/],
      [{ ...reportWith(), phases: [{ ...CUT_SHORT, participants: [{}] }] }, /phases is not right/],
      [{ ...reportWith(), phases: [{ ...CUT_SHORT, leaseHolders: undefined }] }, /phases is not right/],
      [{ ...reportWith(), cancelled: {} }, /cancelled is not right/],
      [{ ...reportWith(), obligations: { run: {} } }, /obligations is not right/],
      [{ ...reportWith(), exitCode: "0" }, /exitCode is not right/],
    ];
    for (const [content, message] of cases) {
      writeFileSync(join(dir, "last-drain.json"), typeof content === "string" ? content : JSON.stringify(content));
      assert.throws(() => readLastReport(dir), message);
    }
  });
});

describe("the description of a cancelled run", () => {
  it("says who cancelled it and what was not taken back, and leaves out the phases that never began", () => {
    const undone = { name: "listener", when: "during", outcome: "failed", durationMs: 3, error: "taken" } as const;
    const passed = { ...CUT_SHORT, name: "quit", outcome: "skipped", skipped: "cancelled", budgetMs: 0 } as const;
    const text = describeReport(
      reportWith({
        outcome: "cancelled",
        phases: [{ ...CUT_SHORT, outcome: "skipped", skipped: "cancelled" }, passed],
        cancelled: { reason: "not yet", trigger: "control socket", atMs: 10, undone: [undone] },
      }),
    );
    assert.match(text, /^stop \(SIGTERM: a test\): cancelled, after/);
    assert.match(text, /cancelled by control socket: not yet; the server serves on; not taken back: listener failed/);
    assert.match(text, /drain: skipped/);
    assert.doesNotMatch(text, /quit|exit code/);
  });
});
