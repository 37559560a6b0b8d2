// The server as the control socket and the command line see it: what it can be asked and told. Server in
// src/server/server.ts satisfies it; tests use a small stand-in.

import type { PhaseName } from "../server/phases.ts";
import type { ShutdownPlan } from "../server/plan.ts";
import type { ServerStatus } from "../server/server.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";

/** What the control socket needs of the server. */
export interface ServerPort {
  readonly lifecycle: Pick<Lifecycle<PhaseName>, "state" | "stop" | "cancel" | "on">;
  status(): ServerStatus;
  plan(): Promise<ShutdownPlan>;
}
