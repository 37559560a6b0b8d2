// What the watchdog does in its thread: sleeps until the moment in shared memory has come, then tells what the main
// thread was doing and kills the process. `watchdogWorker` is handed to the thread as source text, so it must not use
// anything from outside its own body.

/** Where things are in the shared memory: indices of 32-bit and 64-bit cells, offsets and sizes of texts in bytes. */
export const LAYOUT = {
  armed: 0,
  runningLength: 1,
  executingLength: 2,
  headerInts: 4,
  timesAt: 16,
  deadline: 0,
  beat: 1,
  runningAt: 64,
  runningBytes: 8192,
  executingAt: 64 + 8192,
  executingBytes: 512,
  bytes: 64 + 8192 + 512,
} as const;

/** The report the watchdog leaves behind. */
export interface WatchdogReport {
  readonly version: 1;
  readonly at: string;
  readonly pid: number;
  readonly phase: string;
  /** The participants that had not settled. */
  readonly running: readonly string[];
  /** The participant whose code was on the main thread, if one was. */
  readonly executing?: string;
  /** How long the event loop had not turned, in milliseconds. */
  readonly blockedMs: number;
  /** Where the main thread was, innermost first, if it could be asked. */
  readonly stack?: readonly string[];
}

/** Runs in the worker thread; `load` is its `require`. */
export function watchdogWorker(load: NodeJS.Require): void {
  const fs = load("node:fs") as typeof import("node:fs");
  const { workerData } = load("node:worker_threads") as typeof import("node:worker_threads");
  const { layout, reportFile } = workerData as { layout: typeof LAYOUT; reportFile: string | undefined };
  const shared = (workerData as { shared: SharedArrayBuffer }).shared;
  const header = new Int32Array(shared, 0, layout.headerInts);
  const times = new BigInt64Array(shared, layout.timesAt, 2);
  const STACK_WAIT_MS = 500;

  const isArmed = (): boolean => Atomics.load(header, layout.armed) === 1;
  const millisecondsTo = (index: number): number => Number(Atomics.load(times, index) - process.hrtime.bigint()) / 1e6;
  const read = (lengthAt: number, at: number): string =>
    Buffer.from(new Uint8Array(shared, at, Atomics.load(header, lengthAt))).toString("utf8");

  const print = (text: string): void => {
    let fd = 2;
    try {
      // A second opening that does not block: whoever reads our output may be what is stuck. A file never is.
      if (!fs.fstatSync(2).isFile())
        fd = fs.openSync("/dev/fd/2", fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_NONBLOCK);
    } catch {
      fd = 2; // A socket cannot be opened a second time.
    }
    try {
      fs.writeSync(fd, text);
    } catch {
      return; // Nobody can be told; the kill must happen all the same.
    }
  };
  const save = (report: WatchdogReport): void => {
    if (reportFile === undefined) return;
    try {
      const temp = `${reportFile}.${process.pid}.tmp`;
      const file = fs.openSync(temp, "w", 0o600);
      fs.writeFileSync(file, `${JSON.stringify(report, undefined, 2)}\n`);
      fs.fsyncSync(file);
      fs.closeSync(file);
      fs.renameSync(temp, reportFile);
    } catch (thrown) {
      print(`watchdog: could not write ${reportFile}: ${String(thrown)}\n`);
    }
  };
  const kill = (): void => {
    process.kill(process.pid, "SIGKILL");
  };

  const tell = (): void => {
    const [phase = "", ...running] = read(layout.runningLength, layout.runningAt).split("\n");
    const executing = read(layout.executingLength, layout.executingAt);
    const blockedMs = Math.max(0, Math.round(-millisecondsTo(layout.beat)));
    const report: WatchdogReport = {
      version: 1,
      at: new Date().toISOString(),
      pid: process.pid,
      phase,
      running,
      ...(executing === "" ? {} : { executing }),
      blockedMs,
    };
    print(
      `watchdog: the deadline has passed in phase ${phase || "(none)"}; still running: ${running.join(", ") || "nobody"}; ` +
        `${executing === "" ? "no participant is executing" : `executing: ${executing}`}; ` +
        `the event loop last turned ${blockedMs} ms ago; killing the process\n`,
    );
    save(report);
    // A loop that turns has nothing to show but its own timers.
    if (blockedMs > 1_000) askForStack(report);
    else kill();
  };

  const askForStack = (report: WatchdogReport): void => {
    setTimeout(kill, STACK_WAIT_MS);
    try {
      const { Session } = load("node:inspector") as typeof import("node:inspector");
      const session = new Session();
      session.connectToMainThread();
      // A paused frame names its script only by number.
      const urls = new Map<string, string>();
      session.on("Debugger.scriptParsed", ({ params }) => urls.set(params.scriptId, params.url));
      session.on("Debugger.paused", ({ params }) => {
        const stack = params.callFrames
          .slice(0, 10)
          .map(
            ({ functionName, location: { scriptId, lineNumber } }) =>
              `${functionName || "(anonymous)"} ${urls.get(scriptId) || "(unknown)"}:${lineNumber + 1}`,
          );
        print(`watchdog: the main thread was in\n${stack.map((frame) => `    ${frame}\n`).join("")}`);
        save({ ...report, stack });
        kill();
      });
      session.post("Debugger.enable");
      session.post("Debugger.pause");
    } catch (thrown) {
      print(`watchdog: the main thread's stack is not available: ${String(thrown)}\n`);
    }
  };

  while (isArmed()) {
    const left = millisecondsTo(layout.deadline);
    if (left <= 0) {
      tell();
      return;
    }
    Atomics.wait(header, layout.armed, 1, left);
  }
}
