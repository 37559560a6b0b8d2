// Lets a successor that falls over before it can speak for itself say why: a few lines that Node runs before the program
// (NODE_OPTIONS --import), so that also a missing file or a syntax error in a new version reaches whoever asked for the
// restart. Standard error stays the predecessor's own all the while; only a copy of its end is kept.

/** Where the reporter leaves its switch in the successor's global object. */
const SWITCH = "morendo.handover.reporter";

/** What the reporter leaves behind. */
interface Reporter {
  /** The end of what went through `process.stderr` so far. */
  tail(): string;
  /** Takes the reporter off. */
  stop(): void;
}

// Runs in the successor, before the program, which may be anything: plain JavaScript, no imports of ours, must not throw. It
// listens to the process itself because nobody else is there yet who could. When the predecessor cannot be told, the exit of the
// process is another occasion to try; Node says on standard error what went wrong in any case.
const SOURCE = `
import { writeSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
if (isMainThread) {
  const fd = FD, key = Symbol.for(${JSON.stringify(SWITCH)}), write = process.stderr.write;
  let tail = "", said = false;
  const keep = function (chunk, ...rest) {
    tail = (tail + (typeof chunk === "string" ? chunk : Buffer.from(chunk).toString())).slice(-8000);
    return write.call(this, chunk, ...rest);
  };
  const say = (why) => {
    if (said) return;
    said = true;
    try { writeSync(fd, JSON.stringify({ type: "failed", why: String(why).slice(0, 8000), stderr: tail }) + "\\n"); }
    catch { said = false; }
  };
  const onError = (error) => say(error && error.stack || error);
  const onExit = (code) => { if (code !== 0) say("it ended with exit code " + code); };
  process.stderr.write = keep;
  process.on("uncaughtExceptionMonitor", onError).on("exit", onExit);
  globalThis[key] = {
    tail: () => tail,
    stop() {
      said = true;
      if (process.stderr.write === keep) process.stderr.write = write;
      process.off("uncaughtExceptionMonitor", onError).off("exit", onExit);
      delete globalThis[key];
    },
  };
}
`;

const MARK = "--import=data:text/javascript,";

/** Returns the variables that make Node run the reporter, with its messages going to the descriptor `fd`. */
export function reporterOptions(
  env: Readonly<Record<string, string | undefined>>,
  fd: number,
): Readonly<Record<string, string>> {
  const before = env.NODE_OPTIONS === undefined ? "" : `${env.NODE_OPTIONS} `;
  return { NODE_OPTIONS: `${before}${MARK}${encodeURIComponent(SOURCE.replace("FD", String(fd)))}` };
}

/** Takes the reporter out of `env`, so that no process started later runs it. */
export function forgetReporterOptions(env: Record<string, string | undefined>): void {
  const left = (env.NODE_OPTIONS ?? "").split(" ").filter((word) => word !== "" && !word.startsWith(MARK));
  if (left.length === 0) delete env.NODE_OPTIONS;
  else env.NODE_OPTIONS = left.join(" ");
}

/** The reporter that runs in this process, if there is one. */
export function crashReporter(): Reporter | undefined {
  const found: unknown = Reflect.get(globalThis, Symbol.for(SWITCH));
  return isReporter(found) ? found : undefined;
}

function isReporter(value: unknown): value is Reporter {
  return typeof value === "object" && value !== null && "tail" in value && "stop" in value;
}
