// What only a real process can show: signals, a blocked event loop, the end of the process and its exit code.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DrainReport, WatchdogReport } from "../../../src/shutdown/index.ts";

const FIXTURE = new URL("../../support/shutdown-child.ts", import.meta.url).pathname;

/** A child process in a scene, with what it has printed so far. */
class Scene {
  readonly dir = mkdtempSync(join(tmpdir(), "morendo-shutdown-"));
  output = "";
  #child: ChildProcess;
  #ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #changed: () => void = () => undefined;

  constructor(scene: string) {
    this.#child = spawn(process.execPath, ["--import=tsx", FIXTURE, scene, this.dir], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const collect = (chunk: Buffer): void => {
      this.output += chunk.toString();
      this.#changed();
    };
    this.#child.stdout?.on("data", collect);
    this.#child.stderr?.on("data", collect);
    this.#ended = new Promise((resolve) => {
      this.#child.on("close", (code, signal) => {
        resolve({ code, signal });
        this.#changed();
      });
    });
  }

  async prints(text: string): Promise<void> {
    while (!this.output.includes(text)) {
      assert.equal(this.#child.exitCode ?? this.#child.signalCode, null, `ended without "${text}":\n${this.output}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  end(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return this.#ended;
  }

  report(): DrainReport {
    return JSON.parse(readFileSync(join(this.dir, "last-drain.json"), "utf8")) as DrainReport;
  }

  clean(): void {
    this.#child.kill("SIGKILL");
    rmSync(this.dir, { recursive: true, force: true });
  }
}

describe("a process with a lifecycle", function () {
  this.timeout(60_000);
  let scene: Scene;
  afterEach(() => scene.clean());

  async function begin(name: string): Promise<void> {
    scene = new Scene(name);
    await scene.prints("ready");
  }

  it("ends by itself with code 0 after a signal, with a report on disk", async () => {
    await begin("plain");
    scene.kill("SIGTERM");
    assert.deepEqual(await scene.end(), { code: 0, signal: null });
    assert.doesNotMatch(scene.output, /still holds/);
    assert.equal(scene.report().outcome, "clean");
    assert.equal(scene.report().trigger, "SIGTERM");
  });

  it("is killed by the watchdog when a participant blocks the event loop for good, which names it and its code", async () => {
    await begin("block-forever");
    scene.kill("SIGTERM");
    assert.equal((await scene.end()).signal, "SIGKILL");
    assert.match(scene.output, /watchdog: .*phase first.*executing: spinner/);
    const left = JSON.parse(readFileSync(join(scene.dir, "watchdog.json"), "utf8")) as WatchdogReport;
    assert.equal(left.executing, "spinner");
    assert.deepEqual(left.running, ["spinner"]);
    assert.match(left.stack?.[0] ?? "", /^spinForever .*shutdown-child\.ts:\d+/);
  });

  it("is killed by the watchdog when code that runs later blocks, with the participant among those running", async () => {
    await begin("block-forever-later");
    scene.kill("SIGTERM");
    assert.equal((await scene.end()).signal, "SIGKILL");
    assert.match(scene.output, /still running: late-spinner; no participant is executing/);
    assert.match(scene.output, /spinForever/);
  });

  it("warns of a participant that blocks the event loop for a while", async () => {
    await begin("block-a-while");
    scene.kill("SIGTERM");
    assert.deepEqual(await scene.end(), { code: 0, signal: null });
    assert.match(scene.output, /warn slowpoke blocked the event loop .*"blockedMs":1\d{3}/);
  });

  it("cuts off a participant that hangs at the deadline and ends with code 4", async () => {
    await begin("hang-to-deadline");
    scene.kill("SIGTERM");
    assert.deepEqual(await scene.end(), { code: 4, signal: null });
    const [first, second] = scene.report().phases;
    assert.equal(first?.outcome, "timed-out");
    assert.equal(first?.participants[0]?.name, "hanger");
    assert.equal(second?.outcome, "done");
  });

  it("hurries at the second signal", async () => {
    await begin("hurry");
    scene.kill("SIGTERM");
    await scene.prints("first started");
    scene.kill("SIGINT");
    assert.deepEqual(await scene.end(), { code: 4, signal: null });
    assert.equal(scene.report().hurried, true);
    assert.equal(scene.report().phases[0]?.outcome, "timed-out");
  });

  it("goes straight to the last phase at the third signal", async () => {
    await begin("third");
    scene.kill("SIGTERM");
    await scene.prints("first started");
    scene.kill("SIGINT");
    await scene.prints("told to hurry");
    await new Promise((resolve) => setTimeout(resolve, 150));
    scene.kill("SIGINT");
    assert.deepEqual(await scene.end(), { code: 4, signal: null });
    const report = scene.report();
    assert.equal(report.skippedToEnd, true);
    assert.deepEqual(
      report.phases.map(({ outcome }) => outcome),
      ["skipped", "skipped", "done"],
    );
  });

  it("carries out a signal that comes during the start, over what was started so far", async () => {
    await begin("slow-start");
    scene.kill("SIGTERM");
    assert.deepEqual(await scene.end(), { code: 0, signal: null });
    assert.match(scene.output, /start sequence ended, aborted true.*half-started ran.*report clean/s);
  });

  it("names what still holds the event loop and ends all the same", async () => {
    await begin("holder");
    scene.kill("SIGTERM");
    assert.deepEqual(await scene.end(), { code: 0, signal: null });
    assert.match(scene.output, /still holds the event loop.*server 127\.0\.0\.1:\d+/);
  });

  it("stops in order after an uncaught exception and ends with code 1", async () => {
    await begin("fatal");
    assert.deepEqual(await scene.end(), { code: 1, signal: null });
    assert.equal(scene.report().trigger, "fatal error");
    assert.match(scene.report().error ?? "", /oh no/);
  });
});
