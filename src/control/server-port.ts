// The server as the control socket and the command line see it: what it can be asked and told. Server in
// src/server/server.ts satisfies it; tests use a small stand-in.

import type { PhaseName } from "../server/phases.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { LifecycleState } from "../shutdown/types.ts";

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
  readonly s2s: { readonly outgoing: number; readonly incoming: number; readonly queued: number };
  /** The phase that runs, while the server goes down. */
  readonly phase?: PhaseName;
}

/** What the control socket needs of the server. */
export interface ServerPort {
  readonly lifecycle: Pick<Lifecycle<PhaseName>, "state" | "stop" | "on">;
  status(): ServerStatus;
}
