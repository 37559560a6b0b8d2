/**
 * `morendo/node-xmpp-server`: the shutdown pipeline for a host built on node-xmpp-server 2.2.7. docs/node-xmpp-server.md
 * is for owners of such hosts. In short:
 *
 * ```js
 * import { attachToNodeXmppServer } from "morendo/node-xmpp-server";
 *
 * const host = attachToNodeXmppServer({ server, router, signals: true, deadline: "25s", reportDir: "data" });
 * host.on("server-stopping", (event) => event.waitUntil(flushMyDatabase(event.signal)));
 * ```
 *
 * It does not import node-xmpp-server: it works on the objects it is given.
 */

import { join } from "node:path";
import { Lifecycle } from "../shutdown/lifecycle.ts";
import { measureLoopDelay } from "../shutdown/loop-delay.ts";
import type { DrainReport } from "../shutdown/report.ts";
import type { Cause, StopRequest } from "../shutdown/types.ts";
import { noWatchdog, ThreadWatchdog, type Watchdog } from "../shutdown/watchdog.ts";
import { systemClock } from "../util/clock.ts";
import { systemRandom } from "../util/random.ts";
import { ClientSide } from "./node-xmpp-server/client-side.ts";
import {
  type AttachOptions,
  HOST_PLAN,
  type HostDuration,
  type HostPhase,
  milliseconds,
  type ReadOptions,
  readOptions,
} from "./node-xmpp-server/options.ts";
import { ownProcess, stderrLog } from "./node-xmpp-server/process-side.ts";
import { RouterSide } from "./node-xmpp-server/router-side.ts";
import { type HostStopping, runStoppingListener } from "./node-xmpp-server/stopping.ts";

export type { Lifecycle } from "../shutdown/lifecycle.ts";
export type { DrainReport } from "../shutdown/report.ts";
export type { Participant, PhaseContext } from "../shutdown/types.ts";
export { MorendoError } from "../util/errors.ts";
export type { Logger } from "../util/log.ts";
export type { ClosedHostSessions } from "./node-xmpp-server/client-side.ts";
export type { HostListener, HostRouter, HostServer } from "./node-xmpp-server/host-types.ts";
export type { AttachOptions, HostDuration, HostPhase } from "./node-xmpp-server/options.ts";
export type { ClosedHostStreams } from "./node-xmpp-server/router-side.ts";
export type { HostStopping } from "./node-xmpp-server/stopping.ts";

/** What a stop asks for; everything has a default. */
export interface HostStopRequest {
  /** `stop` unless told. */
  readonly cause?: Cause;
  /** Free text for people: it is sent to the clients and stands in the report. */
  readonly reason?: string;
  /** Who asked. */
  readonly trigger?: string;
  /** Replaces the deadline for this run. */
  readonly deadline?: HostDuration;
}

/** A host that goes down in order. */
export interface AttachedHost {
  /** The life of the host: phases to take part in, events, obligations. */
  readonly lifecycle: Lifecycle<HostPhase>;
  /** Runs the pipeline, once; later calls get the same promise. Resolves to its report by the deadline; never rejects. */
  stop(request?: HostStopRequest): Promise<DrainReport>;
  /** Calls `listener` in the phase `server-stopping`; the returned function stops that. */
  on(event: "server-stopping", listener: (event: HostStopping) => unknown): () => void;
  /** Lets go of the host, signals included. Does nothing once a stop has begun. */
  detach(): void;
}

/**
 * Gives a node-xmpp-server host the shutdown pipeline. It listens on the host's objects from now on and does nothing else
 * until a stop is asked for. Throws `MORENDO_NOT_A_HOST` for objects that are not what they should be and
 * `MORENDO_BAD_OPTION` for options that make no sense; nothing is attached then.
 */
export function attachToNodeXmppServer(options: AttachOptions): AttachedHost {
  const read = readOptions(options);
  const { clock = systemClock, random = systemRandom, log = stderrLog, router, reportDir } = options;
  const tools = { clock, random, log };
  const lifecycle = new Lifecycle<HostPhase>({
    ...tools,
    plan: HOST_PLAN,
    budgetMs: read.deadlineMs,
    hurryMs: read.hurryMs,
    watchdog: watchdogFor(options, read),
    ...(reportDir === undefined ? {} : { reportDir }),
  });
  const undo: (() => void)[] = [];
  if (read.servers.length > 0) {
    const clients = new ClientSide({ ...tools, ...read });
    undo.push(() => clients.detach());
    lifecycle.attach("stop-accepting", { name: "c2s", run: (context) => clients.stopAccepting(context) });
    lifecycle.attach("close-sessions", { name: "c2s", run: (context) => clients.closeSessions(context) });
    lifecycle.attach("quit", { name: "c2s", when: "after", run: () => clients.destroy() });
    lifecycle.section("sessions", () => clients.closed);
  }
  if (router !== undefined) {
    const { obligations } = lifecycle;
    const streams = new RouterSide({ ...tools, ...read, router, obligations });
    undo.push(() => streams.detach());
    lifecycle.on("state", ({ state }) => {
      if (state === "stopping") streams.begin();
    });
    lifecycle.attach("drain-s2s", { name: "s2s", run: (context) => streams.drain(context) });
    lifecycle.attach("quit", { name: "s2s", when: "after", run: () => streams.destroy() });
    lifecycle.section("streams", () => streams.closed);
  }
  if (options.signals === true) {
    measureLoopDelay(lifecycle);
    undo.push(ownProcess({ ...tools, lifecycle }));
  }
  lifecycle.started();
  return {
    lifecycle,
    stop: (request = {}) => lifecycle.stop(completeRequest(request)),
    on: (_event, listener) =>
      lifecycle.attach("server-stopping", {
        name: listener.name || "owner",
        run: (context) => runStoppingListener(listener, context),
      }),
    detach: () => {
      if (lifecycle.request !== undefined) return;
      for (const off of undo.splice(0)) off();
    },
  };
}

function watchdogFor({ watchdog, log = stderrLog, reportDir }: AttachOptions, read: ReadOptions): Watchdog {
  if (watchdog === false) return noWatchdog;
  const reportFile = reportDir === undefined ? {} : { reportFile: join(reportDir, "watchdog.json") };
  return new ThreadWatchdog({ log, graceMs: read.watchdogGraceMs, ...reportFile });
}

function completeRequest(request: HostStopRequest): StopRequest {
  const { cause = "stop", reason = "the server is going down", trigger = "program", deadline } = request;
  return {
    cause,
    reason,
    trigger,
    ...(deadline === undefined ? {} : { budgetMs: milliseconds("deadline", deadline) }),
  };
}
