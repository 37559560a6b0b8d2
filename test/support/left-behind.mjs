// What a run of the tests leaves behind: processes that outlive it, and whatever keeps the runner itself from ending. Both would
// hold up whoever waits for the run, or disturb the next one, so the reporter counts them as failures. Processes are known by a
// mark in their environment, which they inherit; one that is started with an environment of its own is not seen.

import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const MARK = "MORENDO_TEST_RUN";
/** What was killed at the very end may take a moment to be gone. */
const PATIENCE_MS = 10_000;

/** Marks this run: every process that it starts from now on bears the mark. */
export function markRun() {
  process.env[MARK] = randomUUID();
}

/** Kills the processes of this run that do not end by themselves in a few seconds, and returns a line about each. */
export async function endLeftBehind() {
  const limit = performance.now() + PATIENCE_MS;
  let left = processesOfThisRun();
  while (left.length > 0 && performance.now() < limit) {
    await sleep(100);
    left = processesOfThisRun();
  }
  for (const { pid } of left) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  }
  return left.map(({ pid, command }) => `process ${pid}: ${command}`);
}

/** Calls `tell` with what keeps this process from ending when it is still there although everything has been done. */
export function watchEnd(tell) {
  setTimeout(() => tell(process.getActiveResourcesInfo()), PATIENCE_MS).unref();
}

function processesOfThisRun() {
  // Linux tells; elsewhere nobody is asked.
  if (!existsSync("/proc/self/environ")) return [];
  return readdirSync("/proc").flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    const environment = read(`/proc/${name}/environ`).split("\0");
    if (!environment.includes(`${MARK}=${process.env[MARK]}`)) return [];
    return [{ pid, command: read(`/proc/${name}/cmdline`).replaceAll("\0", " ") }];
  });
}

/** Empty for a process that has ended meanwhile, or that belongs to somebody else. */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES", "EPERM"].includes(error.code)) return "";
    throw error;
  }
}
