// Everything that somebody who watches wants to know at one moment, in one object: what the page is drawn from.

import type { Config } from "../../config/schema.ts";
import { planOf } from "../../server/phase-plan.ts";
import type { Server, ServerStatus } from "../../server/server.ts";
import type { FateTotals } from "../../shutdown/obligations.ts";
import type { PhaseProgress } from "../../shutdown/phase-progress.ts";
import type { StopRequest } from "../../shutdown/types.ts";

/** How many domains are named, those with the longest queues first. */
const MAX_DOMAINS = 20;

/** The server as a snapshot sees it. */
export type ObservedServer = Pick<Server, "status" | "links" | "lastReport" | "lifecycle">;

/** A phase of the run under way, or of the next one. */
interface PhaseSnapshot {
  readonly name: string;
  readonly optional: boolean;
  readonly floorMs: number;
  readonly ceilingMs: number;
  /** Present once it has ended. */
  readonly outcome?: string;
  readonly skipped?: string;
  readonly durationMs?: number;
  readonly budgetMs?: number;
}

/** The server at one moment. */
export interface Snapshot {
  /** When, in milliseconds since 1970. */
  readonly at: number;
  readonly status: ServerStatus;
  readonly request?: Pick<StopRequest, "cause" | "reason" | "trigger">;
  /** Whether it is too late to cancel. */
  readonly isPastNoReturn: boolean;
  readonly remainingMs?: number;
  readonly budgetMs: number;
  readonly progress?: PhaseProgress;
  readonly phases: readonly PhaseSnapshot[];
  /** What became of what was owed, since the run began. */
  readonly fates?: FateTotals;
  readonly domains: readonly { readonly domain: string; readonly queued: number; readonly unproved: number }[];
  readonly moreDomains: number;
  /** Names the last report, to be asked for when it is another one than before. */
  readonly report?: string;
}

/** Returns the server as it is now. */
export function takeSnapshot(server: ObservedServer, shutdown: Config["shutdown"], at: number): Snapshot {
  const { lifecycle } = server;
  const { request, remaining, progress } = lifecycle;
  const run = lifecycle.snapshot();
  const ended = new Map(run?.phases.map((phase) => [phase.name, phase]));
  const phases = planOf(shutdown).map(({ name, optional = false, floorMs, ceilingMs }): PhaseSnapshot => {
    const { outcome, skipped, durationMs, budgetMs } = ended.get(name) ?? {};
    return {
      name,
      optional,
      floorMs,
      ceilingMs,
      ...(outcome === undefined ? {} : { outcome }),
      ...(skipped === undefined ? {} : { skipped }),
      ...(durationMs === undefined ? {} : { durationMs }),
      ...(budgetMs === undefined ? {} : { budgetMs }),
    };
  });
  const { domains, more } = domainsOf(server);
  const report = server.lastReport?.id;
  return {
    at,
    status: server.status(),
    ...(request === undefined
      ? {}
      : { request: { cause: request.cause, reason: request.reason, trigger: request.trigger } }),
    isPastNoReturn: lifecycle.isPastNoReturn,
    ...(remaining === undefined ? {} : { remainingMs: remaining }),
    budgetMs: request?.budgetMs ?? shutdown.deadline,
    ...(progress === undefined ? {} : { progress }),
    phases,
    ...(run === undefined ? {} : { fates: run.obligations.run }),
    domains,
    moreDomains: more,
    ...(report === undefined ? {} : { report }),
  };
}

function domainsOf(server: ObservedServer): { domains: Snapshot["domains"]; more: number } {
  const byDomain = new Map<string, { domain: string; queued: number; unproved: number }>();
  for (const { remote, queued, unproved } of server.links()) {
    if (queued + unproved === 0) continue;
    const known = byDomain.get(remote) ?? { domain: remote, queued: 0, unproved: 0 };
    known.queued += queued;
    known.unproved += unproved;
    byDomain.set(remote, known);
  }
  const owed = (one: { queued: number; unproved: number }): number => one.queued + one.unproved;
  const all = [...byDomain.values()].sort((one, other) => owed(other) - owed(one));
  return { domains: all.slice(0, MAX_DOMAINS), more: Math.max(0, all.length - MAX_DOMAINS) };
}
