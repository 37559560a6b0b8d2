// The guard that works when nothing else does: a worker thread that kills the process when a run of the pipeline is not
// over in time, even if the event loop is blocked for good, and says beforehand what was still running. Also warns of
// code that blocks the event loop during a run. What happens in the thread: watchdog-worker.ts.

import { Worker } from "node:worker_threads";
import { systemClock, type Timer } from "../util/clock.ts";
import type { Logger } from "../util/log.ts";
import { LAYOUT, watchdogWorker } from "./watchdog-worker.ts";

/** What the pipeline tells its watchdog. None of these throws or blocks. */
export interface Watchdog {
  /** Begins a watch: `limitMs` from now, plus its grace, the process is killed. */
  arm(limitMs: number): void;
  /** Brings the end of the watch forward to `limitMs` from now, plus the grace. */
  bringForward(limitMs: number): void;
  /** Says which phase is under way and which participants in it. */
  running(phase: string, participants: Iterable<string>): void;
  /** Says that code of `participant` runs on the main thread from now on, until `idle`. */
  executing(participant: string): void;
  /** Says that the participant's code has given the main thread back. */
  idle(): void;
  /** Ends the watch. */
  disarm(): void;
}

const nothing = (): void => undefined;

/** A watchdog that does nothing, for tests, simulations and hosts with their own. */
export const noWatchdog: Watchdog = {
  arm: nothing,
  bringForward: nothing,
  running: nothing,
  executing: nothing,
  idle: nothing,
  disarm: nothing,
};

export interface ThreadWatchdogOptions {
  readonly log: Logger;
  /** How long past the limit it waits before it kills. */
  readonly graceMs: number;
  /** Where it leaves its report (JSON); nowhere if absent. */
  readonly reportFile?: string;
  /** How long the event loop may be blocked before that is logged (1000 unless told). */
  readonly blockedMs?: number;
}

const BEAT_MS = 100;
const MAX_NAMES = 100;
/** A year: nothing longer needs to be told apart from for ever. */
const MAX_MS = 365 * 86_400_000;

/** The watchdog of a real process. It reads the machine's clock, because it guards against everything else. */
export class ThreadWatchdog implements Watchdog {
  #log: Logger;
  #options: ThreadWatchdogOptions;
  #reportFile: string | undefined;
  #blockedMs: number;
  #shared = new SharedArrayBuffer(LAYOUT.bytes);
  #header = new Int32Array(this.#shared, 0, LAYOUT.headerInts);
  #times = new BigInt64Array(this.#shared, LAYOUT.timesAt, 2);
  #worker: Worker | undefined;
  #beat: Timer | undefined;
  #lastBeat = 0;
  #phase = "";
  #names: string[] = [];
  #executing = "";
  #executingSince = 0;

  constructor(options: ThreadWatchdogOptions) {
    this.#log = options.log;
    this.#options = options;
    this.#reportFile = options.reportFile;
    this.#blockedMs = options.blockedMs ?? 1_000;
  }

  arm(limitMs: number): void {
    if (this.#beat !== undefined) return;
    this.#setLimit(limitMs);
    Atomics.store(this.#header, LAYOUT.armed, 1);
    try {
      this.#worker = this.#startWorker();
    } catch (thrown) {
      this.#log.error(
        { err: thrown },
        "the watchdog could not be started; nothing guards against a blocked event loop",
      );
    }
    this.#lastBeat = systemClock.now();
    this.#onBeat();
  }

  bringForward(limitMs: number): void {
    if (nanoseconds(limitMs + this.#options.graceMs) < Atomics.load(this.#times, LAYOUT.deadline))
      this.#setLimit(limitMs);
  }

  running(phase: string, participants: Iterable<string>): void {
    this.#phase = phase;
    this.#names = [];
    for (const name of participants) if (this.#names.push(name.replaceAll("\n", " ")) >= MAX_NAMES) break;
    this.#write(LAYOUT.runningLength, LAYOUT.runningAt, LAYOUT.runningBytes, [phase, ...this.#names].join("\n"));
  }

  executing(participant: string): void {
    this.#executing = participant;
    this.#executingSince = systemClock.now();
    this.#write(LAYOUT.executingLength, LAYOUT.executingAt, LAYOUT.executingBytes, participant);
  }

  idle(): void {
    Atomics.store(this.#header, LAYOUT.executingLength, 0);
    const now = systemClock.now();
    const blockedMs = Math.round(now - this.#executingSince);
    if (blockedMs < this.#blockedMs || this.#beat === undefined) return;
    const participant = this.#executing;
    this.#log.warn({ blockedMs, phase: this.#phase, participant }, `${participant} blocked the event loop`);
    this.#lastBeat = now;
  }

  disarm(): void {
    this.#checkBeat();
    this.#beat?.cancel();
    this.#beat = undefined;
    Atomics.store(this.#header, LAYOUT.armed, 0);
    Atomics.notify(this.#header, LAYOUT.armed);
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.terminate().catch((thrown: unknown) => this.#log.warn({ err: thrown }, "the watchdog did not end cleanly"));
  }

  #startWorker(): Worker {
    // Given as text rather than as a file: the thread must come up while the main thread is blocked, so it must not
    // depend on a module loader such as tsx's. The compiler may have left calls of `__name` in the function.
    const source = `const __name = (named) => named; (${watchdogWorker.toString()})(require)`;
    const worker = new Worker(source, {
      eval: true,
      execArgv: [],
      env: {},
      name: "watchdog",
      workerData: { shared: this.#shared, layout: LAYOUT, reportFile: this.#reportFile },
    });
    worker.unref();
    worker.on("error", (err) =>
      this.#log.error({ err }, "the watchdog failed; nothing guards against a blocked event loop"),
    );
    return worker;
  }

  #setLimit(limitMs: number): void {
    Atomics.store(this.#times, LAYOUT.deadline, nanoseconds(limitMs + this.#options.graceMs));
    // Wakes the thread, which then goes back to sleep until the new moment.
    Atomics.notify(this.#header, LAYOUT.armed);
  }

  #onBeat(): void {
    Atomics.store(this.#times, LAYOUT.beat, nanoseconds(0));
    this.#checkBeat();
    this.#beat = systemClock.setTimer(BEAT_MS, () => this.#onBeat());
  }

  /** Warns if the beat is late: code blocked that no participant's call accounts for, such as what ran after an await. */
  #checkBeat(): void {
    const now = systemClock.now();
    const blockedMs = Math.round(now - this.#lastBeat - BEAT_MS);
    this.#lastBeat = now;
    if (this.#beat === undefined || blockedMs < this.#blockedMs) return;
    const fields = { blockedMs, phase: this.#phase, running: this.#names };
    this.#log.warn(fields, "something blocked the event loop; one of those running?");
  }

  /** Puts a text where the worker finds it, cut to fit. */
  #write(lengthAt: number, at: number, room: number, text: string): void {
    Atomics.store(this.#header, lengthAt, 0);
    const { written } = new TextEncoder().encodeInto(text, new Uint8Array(this.#shared, at, room));
    Atomics.store(this.#header, lengthAt, written);
  }
}

/** Returns the moment `ms` from now on the clock that all threads of the process share. */
function nanoseconds(ms: number): bigint {
  return process.hrtime.bigint() + BigInt(Math.round(Math.min(ms, MAX_MS) * 1e6));
}
