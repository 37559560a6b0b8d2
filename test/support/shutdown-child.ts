// A small program with a lifecycle, run as a child process by the shutdown tests. Its first argument names the scene, its
// second a folder for reports. It prints "ready" when signals may come, and the events of its run.

import { writeSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import {
  Lifecycle,
  type Logger,
  leave,
  listenToSignals,
  systemClock,
  systemRandom,
  ThreadWatchdog,
} from "../../src/shutdown/index.ts";

const [scene = "", dir = "."] = process.argv.slice(2);

function say(text: string): void {
  writeSync(1, `${text}\n`);
}

const log: Logger = {
  debug: () => undefined,
  info: (_fields, message) => say(`info ${message}`),
  warn: (fields, message) => say(`warn ${message} ${JSON.stringify(fields)}`),
  error: (fields, message) => say(`error ${message} ${JSON.stringify(fields)}`),
  child: () => log,
};

const isBlocked = scene.startsWith("block-forever");
const lifecycle = new Lifecycle<"first" | "second" | "quit">({
  plan: [
    { name: "first", floorMs: 100, ceilingMs: 60_000 },
    { name: "second", floorMs: 100, ceilingMs: 60_000 },
    { name: "quit", floorMs: 200, ceilingMs: 5_000 },
  ],
  clock: systemClock,
  random: systemRandom,
  log,
  budgetMs: isBlocked ? 400 : scene === "hang-to-deadline" ? 1_000 : 60_000,
  hurryMs: scene === "hurry" ? 700 : 30_000,
  watchdog: new ThreadWatchdog({ log, graceMs: isBlocked ? 1_500 : 5_000, reportFile: join(dir, "watchdog.json") }),
  reportDir: dir,
});
listenToSignals({ lifecycle, clock: systemClock, log });
lifecycle.on("phase", ({ phase, status }) => say(`${phase} ${status}`));
lifecycle.on("report", (report) => {
  say(`report ${report.outcome}`);
  leave({ code: report.exitCode, log, afterMs: 300 });
});

function spinForever(): void {
  for (;;);
}

function spin(ms: number): void {
  const end = systemClock.now() + ms;
  while (systemClock.now() < end);
}

const never = new Promise<void>(() => undefined);
const keepAlive = setInterval(() => undefined, 1_000);
lifecycle.attach("quit", { name: "keep-alive", run: () => clearInterval(keepAlive) });

if (scene === "slow-start") {
  say("ready");
  await lifecycle.start(async (signal) => {
    lifecycle.attach("first", { name: "half-started", run: () => say("half-started ran") });
    await systemClock.sleep(60_000, signal);
    say(`start sequence ended, aborted ${signal.aborted}`);
  });
} else {
  await lifecycle.start(() => {
    if (scene === "block-forever") lifecycle.attach("first", { name: "spinner", run: spinForever });
    if (scene === "block-forever-later") {
      lifecycle.attach("first", { name: "late-spinner", run: () => systemClock.turn().then(spinForever) });
    }
    if (scene === "block-a-while") lifecycle.attach("first", { name: "slowpoke", run: () => spin(1_500) });
    if (["hang-to-deadline", "hurry", "third"].includes(scene)) {
      lifecycle.attach("first", { name: "hanger", run: () => never });
    }
    if (scene === "holder") createServer().listen(0, "127.0.0.1");
    if (scene === "fatal")
      setTimeout(() => {
        throw new Error("oh no");
      }, 50);
  });
  say("ready");
}
