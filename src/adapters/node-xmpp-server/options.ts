// The options of the adapter as a host's owner writes them, and what they mean: defaults, durations, and clear errors for
// what makes no sense.

import type { PhasePlan } from "../../shutdown/types.ts";
import type { Clock } from "../../util/clock.ts";
import { MorendoError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import type { Random } from "../../util/random.ts";
import { formatDuration, parseDuration } from "../../util/units.ts";
import {
  checkListener,
  checkRouter,
  checkServer,
  type HostListener,
  type HostRouter,
  type HostServer,
} from "./host-types.ts";

/** The phases of a host's stop, in their order. */
export type HostPhase = "stop-accepting" | "close-sessions" | "server-stopping" | "drain-s2s" | "quit";

/** A length of time: milliseconds, or a text such as `"25s"`. */
export type HostDuration = number | string;

/** What is attached to, and how it is to go down. */
export interface AttachOptions {
  /** The C2S server or servers (TCP, WebSocket, BOSH) and component servers. */
  readonly server?: HostServer | readonly HostServer[];
  /** The Router, for hosts that federate. */
  readonly router?: HostRouter;
  /** Listeners of the owner's own, if it accepts connections itself and hands them to `server.acceptConnection`. */
  readonly net?: HostListener | readonly HostListener[];
  /** The time for everything together (25 s). */
  readonly deadline?: HostDuration;
  /** What a second signal leaves of it (2 s). */
  readonly hurry?: HostDuration;
  /** How long a client may take to close its stream (5 s). */
  readonly clientTimeout?: HostDuration;
  /** How long another server may take to answer a closing tag (5 s). */
  readonly peerTimeout?: HostDuration;
  /** How many sessions are told at once (50). */
  readonly batch?: number;
  /** The pause between two such batches (10 ms). */
  readonly pause?: HostDuration;
  /** Where reports are written; nowhere unless given. */
  readonly reportDir?: string;
  /**
   * The host is the whole process: listen to signals and uncaught errors, show progress on the standard error, and end
   * the process with the exit code of the run. Off unless asked for.
   */
  readonly signals?: boolean;
  /** Kill the process when a run is not over in time although its event loop is blocked. On unless told. */
  readonly watchdog?: boolean;
  /** How long past the deadline the watchdog waits (2 s). */
  readonly watchdogGrace?: HostDuration;
  /** Where to log; warnings and errors to the standard error unless given. */
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** The phases and their shares of the deadline. */
export const HOST_PLAN: readonly PhasePlan<HostPhase>[] = [
  { name: "stop-accepting", floorMs: 200, ceilingMs: 5_000 },
  { name: "close-sessions", floorMs: 1_000, ceilingMs: 15_000 },
  { name: "server-stopping", floorMs: 500, ceilingMs: 10_000 },
  { name: "drain-s2s", floorMs: 1_500, ceilingMs: 20_000 },
  { name: "quit", floorMs: 500, ceilingMs: 5_000 },
];

/** The options with everything in its place, and durations in milliseconds. */
export interface ReadOptions {
  readonly servers: readonly HostServer[];
  readonly listeners: readonly HostListener[];
  readonly deadlineMs: number;
  readonly hurryMs: number;
  readonly clientTimeoutMs: number;
  readonly peerTimeoutMs: number;
  readonly pauseMs: number;
  readonly watchdogGraceMs: number;
  readonly batch: number;
}

/** Reads the options. Throws `MORENDO_NOT_A_HOST` or `MORENDO_BAD_OPTION` with the name of the one that is wrong. */
export function readOptions(options: AttachOptions): ReadOptions {
  if (typeof options !== "object" || options === null) {
    throw new MorendoError("MORENDO_BAD_OPTION", "expected an object of options with a server or a router in it");
  }
  const servers = listOf<HostServer>(options.server);
  const listeners = listOf<HostListener>(options.net);
  for (const [index, server] of servers.entries()) checkServer(server, nameAt("server", servers, index));
  for (const [index, listener] of listeners.entries()) checkListener(listener, nameAt("net", listeners, index));
  if (options.router !== undefined) checkRouter(options.router);
  if (servers.length === 0 && options.router === undefined) {
    throw new MorendoError("MORENDO_NOT_A_HOST", "neither a server nor a router was given");
  }
  const deadlineMs = milliseconds("deadline", options.deadline ?? 25_000);
  const floorsMs = HOST_PLAN.reduce((sum, { floorMs }) => sum + floorMs, 0);
  if (deadlineMs < floorsMs) refuse("deadline", `at least ${formatDuration(floorsMs)}`, options.deadline);
  const { batch = 50 } = options;
  if (!Number.isInteger(batch) || batch < 1) refuse("batch", "a whole number from 1 on", batch);
  return {
    servers,
    listeners,
    deadlineMs,
    hurryMs: milliseconds("hurry", options.hurry ?? 2_000),
    clientTimeoutMs: milliseconds("clientTimeout", options.clientTimeout ?? 5_000),
    peerTimeoutMs: milliseconds("peerTimeout", options.peerTimeout ?? 5_000),
    pauseMs: milliseconds("pause", options.pause ?? 10),
    watchdogGraceMs: milliseconds("watchdogGrace", options.watchdogGrace ?? 2_000),
    batch,
  };
}

/** Returns the milliseconds of a duration. Throws `MORENDO_BAD_OPTION` when it is none. */
export function milliseconds(name: string, duration: HostDuration): number {
  const ms = typeof duration === "string" ? parseDuration(duration) : duration;
  if (typeof ms !== "number" || !Number.isFinite(ms) || ms < 0) {
    return refuse(name, 'milliseconds or a text such as "25s"', duration);
  }
  return ms;
}

function refuse(name: string, expected: string, found: unknown): never {
  throw new MorendoError("MORENDO_BAD_OPTION", `${name}: expected ${expected}, not ${JSON.stringify(found)}`);
}

function listOf<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? (value as readonly T[]) : [value as T];
}

function nameAt(name: string, list: readonly unknown[], index: number): string {
  return list.length === 1 ? name : `${name}[${index}]`;
}
