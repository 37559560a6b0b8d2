// A successor as a process: how it is started with what it inherits, how it is watched and killed. The real thing is
// `spawnSuccessor`; a process that has a keeper (keeper.ts) lets that one start it; tests have their own.

import { spawn } from "node:child_process";
import { Duplex } from "node:stream";
import { asError } from "../util/errors.ts";
import { reporterOptions } from "./crash-reporter.ts";
import { handoverError } from "./protocol.ts";

/** A listening socket that is passed on: the name by which the successor finds it, and our descriptor. */
export interface PassedListener {
  readonly name: string;
  readonly fd: number;
  /** The handle of the socket in Node, where a keeper is to start the successor: IPC takes no descriptors. */
  readonly handle?: unknown;
}

/** The program to start. */
export interface SuccessorCommand {
  /** The program; found in PATH when it has no slash. */
  readonly command: string;
  readonly args: readonly string[];
  /** The folder it is started in. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** How a process ended; `error`: it could not be started at all. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly error?: Error;
}

/** A successor that was started. */
export interface SuccessorProcess {
  readonly pid: number;
  /** Our end of the channel. */
  readonly channel: Duplex;
  /** Resolves when the process is gone; never rejects. */
  readonly exited: Promise<ProcessEnd>;
  /** Sends a signal to this process and no other; does nothing when it is gone. */
  kill(signal: NodeJS.Signals): void;
  /** Called when the service is this process's for good. */
  passedOn?(): void;
  /** Lets go: the process lives on without us, and does not hold our event loop. The channel is left as it is. */
  release(): void;
}

/** Starts a successor. Rejects when it cannot be started. */
export type SpawnSuccessor = (
  command: SuccessorCommand,
  listeners: readonly PassedListener[],
) => Promise<SuccessorProcess>;

/** The variable by which a successor knows what it inherits; `inheritance` removes it. */
export const VARIABLE = "MORENDO_HANDOVER";

/** The descriptors of a successor: 0 to 2 as ours (but no input), then the channel, then the listeners in order. */
const CHANNEL_FD = 3;
const FIRST_LISTENER_FD = 4;

/**
 * Returns the command that starts this very program once more. The path of the script is left as it was given: when it
 * leads through a symlink that has been swapped, the new version is started. Node makes a relative path absolute by the
 * working folder without its symlinks, so a service should be started by an absolute path through the symlink.
 */
export function sameCommand(
  port: Pick<NodeJS.Process, "execPath" | "execArgv" | "argv" | "cwd" | "env">,
): SuccessorCommand {
  return {
    command: port.execPath,
    args: [...port.execArgv, ...port.argv.slice(1)],
    cwd: port.cwd(),
    env: { ...port.env },
  };
}

/** Returns the environment of a successor that has the channel and `listeners` in their places. */
export function successorEnvironment(
  env: SuccessorCommand["env"],
  listeners: readonly PassedListener[],
  predecessor: number,
): Readonly<Record<string, string | undefined>> {
  const inherited = {
    version: 1,
    predecessor,
    channel: CHANNEL_FD,
    listeners: listeners.map(({ name }, index) => ({ name, fd: FIRST_LISTENER_FD + index })),
  };
  return { ...env, ...reporterOptions(env, CHANNEL_FD), [VARIABLE]: JSON.stringify(inherited) };
}

/**
 * Starts a successor as our child. Its output and errors go where ours go; its input is empty. Descriptors that are not
 * listed do not reach it: libuv opens everything close-on-exec.
 */
export const spawnSuccessor: SpawnSuccessor = async ({ command, args, cwd, env }, listeners) => {
  const child = spawn(command, [...args], {
    cwd,
    env: successorEnvironment(env, listeners, process.pid),
    stdio: ["ignore", "inherit", "inherit", "pipe", ...listeners.map(({ fd }) => fd)],
  });
  const exited = new Promise<ProcessEnd>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", (error) => resolve({ code: null, signal: null, error }));
  });
  const channel: unknown = child.stdio[CHANNEL_FD];
  if (child.pid === undefined || !(channel instanceof Duplex)) {
    const { error } = await exited;
    throw asError(error ?? handoverError("GONE", `${command} could not be started`));
  }
  const { pid } = child;
  return {
    pid,
    channel,
    exited,
    kill: (signal) => void child.kill(signal),
    release: () => child.unref(),
  };
};
