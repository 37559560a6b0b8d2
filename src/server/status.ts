// What the server says of itself, whatever its state: what `morendo status`, HTTP and tests read. Not for: what a stop would
// do (planning.ts), nor whether new clients are welcome (readiness.ts).

import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { SuspendReport } from "../shutdown/suspend-types.ts";
import type { LifecycleState } from "../shutdown/types.ts";
import type { Parts } from "./parts.ts";
import type { PhaseName } from "./phases.ts";
import type { JournalStatus } from "./s2s/journal.ts";
import { version } from "./version.ts";

/** What the server says of itself. */
export interface ServerStatus {
  readonly state: LifecycleState;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly version: string;
  readonly pid: number;
  readonly hosts: readonly string[];
  /** What it listens on, as people read it: `c2s 0.0.0.0:5222`. */
  readonly listening: readonly string[];
  readonly sessions: number;
  /** How many of them wait for their clients (XEP-0198). */
  readonly hibernating: number;
  /** How many of them can be resumed, after a restart or a start too, the waiting ones included. */
  readonly resumable: number;
  /** Clients' connections, logged in or not. */
  readonly connections: number;
  readonly s2s: { readonly outgoing: number; readonly incoming: number; readonly queued: number };
  /** What waits on the disk for other servers; absent without a journal. */
  readonly journal?: JournalStatus;
  /** The phase that runs, while the server goes down. */
  readonly phase?: PhaseName;
  /** The milliseconds until its deadline then, a delay included. */
  readonly remainingMs?: number;
  /** The suspension that the server is in, or on its way to: its mode, since when, and who was late. */
  readonly suspension?: SuspendReport;
  /** The last suspension that is over, or came to nothing. */
  readonly lastSuspension?: SuspendReport;
}

/** What is looked at. */
export interface StatusSubject {
  readonly lifecycle: Lifecycle<PhaseName>;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** The hosts by the names that they are configured with. */
  readonly hosts: readonly string[];
  /** Undefined as long as they have not been made. */
  readonly parts: Pick<Parts, "c2s" | "s2s" | "sessions"> | undefined;
  /** What the process listens with beside the parts, as people read it. */
  readonly alongside: readonly string[];
}

/** Returns what there is to say at the moment. */
export function statusOf({ lifecycle, startedAt, hosts, parts, alongside }: StatusSubject): ServerStatus {
  const phase = lifecycle.progress?.phase;
  const { suspension, lastSuspension, remaining } = lifecycle;
  return {
    state: lifecycle.state,
    startedAt: new Date(startedAt).toISOString(),
    version,
    pid: process.pid,
    hosts,
    listening: [...(parts?.c2s.listening ?? []), ...(parts?.s2s.listening ?? []), ...alongside],
    sessions: parts?.sessions.size ?? 0,
    hibernating: parts?.c2s.hibernating ?? 0,
    resumable: parts?.c2s.resumable ?? 0,
    connections: parts?.c2s.connections ?? 0,
    s2s: parts?.s2s.status() ?? { outgoing: 0, incoming: 0, queued: 0 },
    ...(parts?.s2s.journal === undefined ? {} : { journal: parts.s2s.journal }),
    ...(phase === undefined ? {} : { phase }),
    ...(remaining === undefined ? {} : { remainingMs: Math.round(remaining) }),
    ...(suspension === undefined ? {} : { suspension }),
    ...(lastSuspension === undefined ? {} : { lastSuspension }),
  };
}
