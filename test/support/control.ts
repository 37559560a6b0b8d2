// What operators ask a running Morendo through its control socket, for tests that follow it from one process to the next.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connectControl } from "../../src/control/control-client.ts";
import type { RestartResult } from "../../src/operations/restart-result.ts";
import type { ServerStatus } from "../../src/server/server.ts";
import { systemClock } from "../../src/util/clock.ts";
import { sleep } from "./child.ts";

/** Asks whoever answers at the control socket of the Morendo in `folder`. `onStep` is told the steps of a restart. */
export async function ask(
  folder: string,
  action: string,
  args?: object,
  onStep?: (step: string) => void,
): Promise<unknown> {
  const client = await connectControl({
    path: join(folder, "data/control.sock"),
    clock: systemClock,
    timeoutMs: 90_000,
  });
  try {
    return await client.request(action, args as never, (_event, data) => onStep?.(String(data)));
  } finally {
    client.close();
  }
}

/** Restarts it; rejects unless another process serves afterwards, and returns how that went. */
export async function restarted(
  folder: string,
  onStep?: (step: string) => void,
): Promise<Extract<RestartResult, { restarted: true }>> {
  const result = (await ask(folder, "restart", { reason: "a test" }, onStep)) as RestartResult;
  if (!result.restarted) throw new Error(`not restarted: ${result.why}\n${result.stderrTail}`);
  return result;
}

export async function statusOf(folder: string): Promise<ServerStatus> {
  return (await ask(folder, "status")) as ServerStatus;
}

/** Waits until a process that is not our own child has ended, and kills it when that takes too long. */
export async function ended(pid: number, timeoutMs = 40_000): Promise<"by itself" | "killed"> {
  const limit = performance.now() + timeoutMs;
  while (isAlive(pid)) {
    if (performance.now() > limit) {
      process.kill(pid, "SIGKILL");
      return "killed";
    }
    await sleep(20);
  }
  return "by itself";
}

/** Also false of one that has ended and that nobody has waited for: it has no command line any more. */
function isAlive(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "";
  } catch {
    return false;
  }
}
