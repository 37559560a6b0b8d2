// What a command shows of a server's life: a picture on a terminal, lines elsewhere, JSON for machines; and reports on disk.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import type { Io } from "../../../src/cli/io.ts";
import { liveView, type Shown } from "../../../src/cli/live-view.ts";
import { runCommand } from "../../../src/cli/program.ts";
import type { DrainReport } from "../../../src/shutdown/report.ts";
import { writeReport } from "../../../src/shutdown/report-file.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { systemRandom } from "../../../src/util/random.ts";

interface Seen {
  readonly io: Io;
  readonly clock: ManualClock;
  readonly stdout: () => string;
  readonly stderr: () => string;
}

function surroundings(directory = "/", isTTY = false): Seen {
  const text = { stdout: "", stderr: "" };
  const output = (name: "stdout" | "stderr") => {
    const stream = Object.assign(new PassThrough(), { isTTY, columns: 60 });
    stream.on("data", (chunk: Buffer) => {
      text[name] += chunk.toString();
    });
    return stream;
  };
  const clock = new ManualClock();
  const io: Io = {
    stdin: new PassThrough(),
    stdout: output("stdout"),
    stderr: output("stderr"),
    environment: {},
    directory,
    clock,
    random: systemRandom,
  };
  return { io, clock, stdout: () => text.stdout, stderr: () => text.stderr };
}

/** Plays a delayed stop to a view. */
async function play(shown: Shown, isTTY: boolean): Promise<Seen> {
  const seen = surroundings("/", isTTY);
  const { io, clock } = seen;
  const view = liveView({ io, shown, to: io.stderr, showsStates: true });
  const request = { cause: "stop", reason: "a test\u001b[2J", trigger: "test", delayMs: 60_000 };
  const position = { step: 1, steps: 6, phase: "announce" };
  view.onEvent("state", { state: "stopping", request });
  view.onEvent("phase", { ...position, status: "started", budgetMs: 60_000 });
  await clock.advance(5_000);
  view.onEvent("progress", {
    ...position,
    done: 1,
    total: 3,
    blockers: ["romeo@a.test/x"],
    running: [],
    elapsedMs: 5_000,
    remainingMs: 55_000,
    leftMs: 80_000,
  });
  const report = { name: "announce", outcome: "done", durationMs: 60_000, budgetMs: 60_000, participants: [] };
  view.onEvent("phase", { ...position, status: "ended", report: { ...report, leaseHolders: [] } });
  view.onEvent("step", "handing over");
  view.answered({ outcome: "clean" });
  // The streams hand on what was written in a later turn.
  await clock.turn();
  return seen;
}

describe("the live view of a command", () => {
  it("is lines where nobody looks at a terminal", async () => {
    const { stderr, stdout } = await play("people", false);
    assert.equal(
      stderr(),
      [
        "state: stopping (stop, test: a test?[2J)",
        "[1/6 5s] announce: 1/3, waiting for romeo@a.test/x (55s left, 1m 20s in all)",
        "[1/6 5s] announce: done in 1m",
        "[handing over]",
        "",
      ].join("\n"),
    );
    assert.equal(stdout(), "");
  });

  it("is a picture that is redrawn in place, and cut to its width, on a terminal", async () => {
    const { stderr } = await play("people", true);
    assert.equal(
      stderr(),
      [
        "state: stopping (stop, test: a test?[2J)",
        "[1/6] announce",
        "\u001b[1A\r\u001b[J[1/6] announce: 1/3, waiting for romeo@a.test/x (55s left, ",
        "\u001b[1A\r\u001b[J[1/6] announce: done in 1m",
        "[handing over]",
        "",
      ].join("\n"),
    );
  });

  it("is one JSON object per line on standard output for machines, the answer last", async () => {
    const { stderr, stdout } = await play("lines", true);
    const events = stdout()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string; data: unknown });
    assert.deepEqual(
      events.map(({ event }) => event),
      ["state", "phase", "progress", "phase", "step", "result"],
    );
    assert.deepEqual(events.at(-1)?.data, { outcome: "clean" });
    assert.equal(stderr(), "");
  });

  it("is nothing for those who only want the answer", async () => {
    const { stderr, stdout } = await play("nothing", true);
    assert.equal(stdout() + stderr(), "");
  });
});

function report(id: string, startedAt: string): DrainReport {
  const none = { proved: 0, stored: 0, returned: 0, dropped: 0, lost: 0 };
  const totals = { ...none, evidence: { "sm-ack": 0, pong: 0, closed: 0, written: 0 } };
  return {
    version: 1,
    id,
    cause: "stop",
    reason: `run ${id}`,
    trigger: "test",
    startedAt,
    durationMs: 1_000,
    budgetMs: 25_000,
    startupMs: 0,
    hurried: false,
    skippedToEnd: false,
    phases: [],
    obligations: { run: totals, running: totals, destinations: [] } as unknown as DrainReport["obligations"],
    sections: {},
    repeatedRequests: [],
    repeatedCount: 0,
    outcome: "clean",
    exitCode: 0,
  };
}

describe("morendo report", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "morendo-report-"));
    writeFileSync(join(folder, "morendo.toml"), 'data = "data"\n');
    mkdirSync(join(folder, "data"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    const seen = surroundings(folder);
    const code = await runCommand(["report", ...args], seen.io);
    await seen.clock.turn();
    return { code, out: seen.stdout(), err: seen.stderr() };
  }

  function killed(at: string): void {
    const left = { version: 1, at, pid: 17, phase: "drain-s2s", running: ["s2s"], executing: "s2s", blockedMs: 4_000 };
    writeFileSync(join(folder, "data", "watchdog.json"), JSON.stringify(left));
  }

  it("shows the last one, an earlier one, and a list, without a server", async () => {
    writeReport(join(folder, "data"), report("one", "2026-01-01T00:00:00.000Z"));
    writeReport(join(folder, "data"), report("two", "2026-01-02T00:00:00.000Z"));
    const last = await run();
    assert.equal(last.code, 0);
    assert.match(last.out, /^This run began at 2026-01-02 00:00:00 UTC and took 1s\.\nstop \(test: run two\): clean/);
    assert.match((await run("2")).out, /run one/);
    assert.equal((JSON.parse((await run("--json", "2")).out) as DrainReport).id, "one");
    assert.match((await run("--list")).out, /^ 1 2026-01-02\S+ stop \(test: run two\).*\n 2 2026-01-01\S+ stop/);
    const listed = JSON.parse((await run("--list", "--json")).out) as { id: string }[];
    assert.deepEqual(
      listed.map(({ id }) => id),
      ["two", "one"],
    );
  });

  it("says so when there is none, or no such one", async () => {
    const none = await run();
    assert.equal(none.code, 1);
    assert.match(none.err, /there is no report in .*data\n/);
    writeReport(join(folder, "data"), report("one", "2026-01-01T00:00:00.000Z"));
    assert.match((await run("2")).err, /there is no such report in .*: 1 is kept/);
    assert.equal((await run("nothing")).code, 2);
  });

  it("says that the last run was killed, as long as none has ended in order since", async () => {
    writeReport(join(folder, "data"), report("one", "2026-01-01T00:00:00.000Z"));
    killed("2026-01-03T00:00:00.000Z");
    const last = await run();
    assert.match(
      last.out,
      /^killed by the watchdog at 2026-01-03\S+ \(pid 17\), past the deadline, in phase drain-s2s/,
    );
    assert.match(last.out, /executing: s2s/);
    const json = JSON.parse((await run("--json")).out) as { watchdog: { pid: number } };
    assert.equal(json.watchdog.pid, 17);
    const seen = surroundings(folder);
    assert.equal(await runCommand(["status"], seen.io), 1);
    await seen.clock.turn();
    assert.match(seen.stderr(), /the last run was killed by the watchdog[\s\S]*is not running/);
    writeReport(join(folder, "data"), report("two", "2026-01-04T00:00:00.000Z"));
    assert.match((await run()).out, /run two/);
  });

  it("refuses what is damaged", async () => {
    writeFileSync(join(folder, "data", "watchdog.json"), "{}");
    const damaged = await run();
    assert.equal(damaged.code, 1);
    assert.match(damaged.err, /is not what a watchdog leaves/);
  });
});
