// The keeper: a small parent that stays the same process through every restart, for when the parent's process id is what
// counts (PID 1 of a container, a supervisor that cannot be told of a new one, a terminal). It starts the server, passes
// signals on, starts the successors that a server asks it for, and ends with the exit code of the last of them. What a
// server says to it is in kept-process.ts.
//
// Why it starts the successors itself: a successor that its predecessor has started would become an orphan of PID 1 when the
// predecessor ends, and Node learns nothing of the end of processes that it has not started. As the keeper's own child each
// generation is watched and reaped. The listening sockets come to the keeper by Node's IPC and go on as
// descriptors; the keeper holds them for no longer than that takes and never listens itself. Orphans of other programs (what
// a module starts and leaves behind) cannot be reaped from Node: who has such modules puts an init in front.

import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import { isObject } from "./protocol.ts";
import type { ProcessEnd, SuccessorCommand } from "./successor-process.ts";

/** The variable by which a server knows that it has a keeper. */
export const KEPT = "MORENDO_KEPT";

/** The signals that are passed on to the server. */
const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2"] as const;

/** What the keeper needs of its own process; `process` satisfies it. */
export interface KeeperPort {
  on(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
}

export interface KeeperOptions {
  /** The server; the keeper's own command would start another keeper. */
  readonly command: SuccessorCommand;
  readonly port: KeeperPort;
  readonly log: Logger;
}

/** A generation of the server. */
interface Generation {
  readonly child: ChildProcess;
  readonly pid: number;
  /** What it has sent for a successor that it is about to ask for. */
  passed: PassedHandle[];
}

/** A handle as it comes out of Node's IPC. */
interface PassedHandle {
  readonly fd: number;
  close(): void;
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

/**
 * Starts the server and stays until the last generation of it has ended; resolves with the exit code of the one that
 * served last (128 and the signal's number when one killed it). Rejects when the server cannot be started at all.
 */
export function keep({ command, port, log }: KeeperOptions): Promise<number> {
  // In the order in which they were started: the last one is, or is about to become, the one that serves.
  const generations: Generation[] = [];
  let serving: Generation | undefined;
  let code = 0;

  return new Promise((resolve, reject) => {
    const forwards = SIGNALS.map((signal) => {
      const forward = (): void => void serving?.child.kill(signal);
      port.on(signal, forward);
      return () => port.off(signal, forward);
    });

    const ended = (generation: Generation, end: ProcessEnd): void => {
      const at = generations.indexOf(generation);
      generations.splice(at, 1);
      closeAll(generation.passed);
      log.info({ pid: generation.pid, ...end }, "a generation of the server has ended");
      tellAll(generations, { type: "exited", pid: generation.pid, code: end.code, signal: end.signal });
      if (generation === serving) {
        // Those before it are on their way out, and nobody's successors.
        serving = generations[at];
        code = end.code ?? 128 + (SIGNAL_NUMBERS[end.signal ?? ""] ?? 0);
      }
      if (generations.length > 0) return;
      stopForwarding();
      resolve(code);
    };

    const stopForwarding = (): void => {
      for (const stop of forwards) stop();
    };

    const start = (what: SuccessorCommand, stdio: StdioOptions): Generation => {
      const child = spawn(what.command, [...what.args], { cwd: what.cwd, env: { ...what.env, [KEPT]: "1" }, stdio });
      if (child.pid === undefined) {
        child.once("error", (error) => {
          log.error({ command: what.command, error: error.message }, "a generation could not be started");
        });
        throw new Error(`${what.command} could not be started`);
      }
      const generation: Generation = { child, pid: child.pid, passed: [] };
      generations.push(generation);
      child.once("exit", (exitCode, signal) => ended(generation, { code: exitCode, signal }));
      child.on("error", (error) => log.warn({ pid: child.pid, error: error.message }, "cannot reach a generation"));
      child.on("message", (message, handle) => onMessage(generation, message, handle));
      return generation;
    };

    const onMessage = (generation: Generation, message: unknown, handle: unknown): void => {
      const request = readKeeperRequest(message);
      if (isPassedHandle(handle)) {
        if (request?.type === "pass") generation.passed.push(handle);
        else handle.close();
      } else if (request?.type === "spawn") {
        const passed = generation.passed.splice(0);
        const answer = { type: "spawned", id: request.id };
        try {
          const fds = passed.map(({ fd }) => fd);
          const { pid } = start(request.command, ["ignore", "inherit", "inherit", ...fds, "ipc"]);
          log.info({ pid, predecessor: generation.pid }, "started a successor");
          tellAll([generation], { ...answer, pid });
        } catch (thrown) {
          tellAll([generation], { ...answer, why: asError(thrown).message });
        } finally {
          closeAll(passed);
        }
      } else if (request?.type === "kill") {
        generations.find(({ pid }) => pid === request.pid)?.child.kill(request.signal);
      } else if (request?.type === "passed-on") {
        serving = generations.find(({ pid }) => pid === request.pid) ?? serving;
      }
    };

    try {
      serving = start(command, ["inherit", "inherit", "inherit", "ipc"]);
    } catch (thrown) {
      stopForwarding();
      reject(asError(thrown));
    }
  });
}

/** What a server may ask of its keeper. */
export type KeeperRequest =
  /** Comes with a handle, for the successor asked for next: its channel, then its listeners. */
  | { readonly type: "pass" }
  | { readonly type: "spawn"; readonly id: number; readonly command: SuccessorCommand }
  | { readonly type: "kill"; readonly pid: number; readonly signal: "SIGKILL" | "SIGTERM" }
  /** The service is that process's now; signals go there. */
  | { readonly type: "passed-on"; readonly pid: number };

// The other end is the program that we have started, in this version or in a newer one; PID 1 must outlive its mistakes too.
function readKeeperRequest(message: unknown): KeeperRequest | undefined {
  if (!isObject(message)) return undefined;
  const { type, id, pid, signal, command } = message;
  switch (type) {
    case "pass":
      return { type };
    case "spawn":
      return typeof id === "number" && isCommand(command) ? { type, id, command } : undefined;
    case "kill":
      if (typeof pid !== "number" || (signal !== "SIGKILL" && signal !== "SIGTERM")) return undefined;
      return { type, pid, signal };
    case "passed-on":
      return typeof pid === "number" ? { type, pid } : undefined;
    default:
      return undefined;
  }
}

function isCommand(value: unknown): value is SuccessorCommand {
  if (!isObject(value)) return false;
  const { command, args, cwd, env } = value;
  const isList = Array.isArray(args) && args.every((word) => typeof word === "string");
  return typeof command === "string" && isList && typeof cwd === "string" && isObject(env);
}

function isPassedHandle(value: unknown): value is PassedHandle {
  return typeof value === "object" && value !== null && "fd" in value && "close" in value;
}

function closeAll(handles: readonly PassedHandle[]): void {
  for (const handle of handles) handle.close();
}

function tellAll(generations: readonly Generation[], message: object): void {
  for (const { child } of generations) {
    if (child.connected) child.send(message);
  }
}
