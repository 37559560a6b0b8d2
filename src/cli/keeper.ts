// `morendo start` as a keeper: a process that stays while servers come and go below it. What it does: src/handover/keeper.ts.

import { isKept, keep, sameCommand } from "../handover/index.ts";
import { MorendoError } from "../util/errors.ts";
import type { Io } from "./io.ts";
import { makeLog } from "./log.ts";
import { readManager } from "./systemd.ts";

/**
 * Tells whether this process is to be a keeper: it was asked to, or it is process 1, with which a container ends. Call it
 * before anything is read from the environment.
 */
export function needsKeeper({ pid, env }: Pick<NodeJS.Process, "pid" | "env">, isAsked: boolean): boolean {
  return (isAsked || pid === 1) && !isKept(env);
}

/**
 * Keeps a server; resolves with the exit code of the last one. Rejects with `MORENDO_KEEPER` when a service manager passes
 * sockets, which are for this process alone.
 */
export async function keepServer(port: NodeJS.Process, io: Pick<Io, "stdout">): Promise<number> {
  const { env, pid } = port;
  if (env.LISTEN_PID === String(pid) && env.LISTEN_FDS !== undefined) {
    const message = "a keeper cannot pass the sockets of a service manager on: use one or the other";
    throw new MorendoError("MORENDO_KEEPER", message);
  }
  // What is meant for this process is meant for whoever serves below it.
  readManager(env, { pid, isSuccessor: false });
  const { log } = makeLog({ level: "info" }, io);
  return await keep({ command: sameCommand(port), port, log });
}
