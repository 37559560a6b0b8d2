// Turns what the operating system and the runtime say into requests: signals, and errors that nobody caught. Works from
// before the start-up on. Not for: what a stop does (lifecycle.ts).

import type { Clock } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { StopRequest } from "./types.ts";

/** What a process can tell us; `process` satisfies it. */
export interface ProcessPort {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** The part of a lifecycle that signals reach. */
export interface Stoppable {
  /** What was asked for; undefined while no stop is under way, also after one was cancelled. */
  readonly request: StopRequest | undefined;
  stop(request: StopRequest): Promise<unknown>;
  hurry(trigger: string): void;
  skipToEnd(trigger: string): void;
}

export interface SignalOptions {
  readonly lifecycle: Stoppable;
  readonly clock: Clock;
  readonly log: Logger;
  /** Reloads configuration and certificates (SIGHUP). */
  readonly reload?: () => void | Promise<void>;
  /** Restarts (SIGUSR2). */
  readonly restart?: () => void | Promise<void>;
  /** The process to listen to; our own unless given. */
  readonly port?: ProcessPort;
}

/**
 * Signals of one kind this close together, in milliseconds, count once: a Ctrl-C reaches the whole process group, and
 * npm passes its own on to us as well.
 */
const TWICE_MS = 100;
/** Errors beyond this number are counted by the lifecycle but not logged: a broken timer would fill the disk. */
const MAX_LOGGED = 20;

/**
 * Listens to signals and uncaught errors; the returned function stops that. SIGTERM and SIGINT count together: the
 * first asks for a stop, the second hurries it, the third skips to the last phase; after a stop was cancelled they count
 * from one again. An uncaught exception or unhandled
 * rejection asks for a stop with trigger `fatal error`, which makes the exit code 1.
 */
export function listenToSignals(options: SignalOptions): () => void {
  const { lifecycle, clock, log } = options;
  const port = options.port ?? (process as ProcessPort);
  const lastAt = new Map<string, number>();
  let stops = 0;
  let errors = 0;

  const stop = (signal: string): void => {
    const now = clock.now();
    const last = lastAt.get(signal);
    lastAt.set(signal, now);
    if (last !== undefined && now - last < TWICE_MS) return;
    // A stop that was cancelled took its signals with it.
    if (lifecycle.request === undefined) stops = 0;
    stops++;
    log.info({ signal, count: stops }, "signal");
    // The promise never rejects, and whoever needs the report listens for it.
    if (stops === 1) void lifecycle.stop({ cause: "stop", reason: `received ${signal}`, trigger: signal });
    else if (stops === 2) lifecycle.hurry(signal);
    else lifecycle.skipToEnd(signal);
  };
  const call = (signal: string, callback: (() => void | Promise<void>) | undefined): void => {
    if (callback === undefined) {
      log.warn({ signal }, `${signal} is not available here; ignored`);
      return;
    }
    log.info({ signal }, "signal");
    const failed = (thrown: unknown): void => log.error({ signal, err: asError(thrown) }, `${signal} failed`);
    try {
      Promise.resolve(callback()).catch(failed);
    } catch (thrown) {
      failed(thrown);
    }
  };
  const fatal = (origin: string, thrown: unknown): void => {
    const error = asError(thrown);
    errors++;
    if (errors <= MAX_LOGGED) log.error({ err: error, origin }, "fatal error");
    void lifecycle.stop({ cause: "stop", reason: `${origin}: ${error.message}`, trigger: "fatal error", error });
  };

  const handlers: readonly (readonly [string, (...args: unknown[]) => void])[] = [
    ["SIGTERM", () => stop("SIGTERM")],
    ["SIGINT", () => stop("SIGINT")],
    ["SIGHUP", () => call("SIGHUP", options.reload)],
    ["SIGUSR2", () => call("SIGUSR2", options.restart)],
    ["uncaughtException", (thrown) => fatal("uncaught exception", thrown)],
    ["unhandledRejection", (thrown) => fatal("unhandled rejection", thrown)],
  ];
  for (const [event, handler] of handlers) port.on(event, handler);
  return () => {
    for (const [event, handler] of handlers) port.off(event, handler);
  };
}
