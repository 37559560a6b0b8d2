// The server as the operations see it: what it can be asked and told. Server in
// src/server/server.ts satisfies it; tests use a small stand-in.

import type { HandoverOutcome } from "../handover/index.ts";
import type { Jid } from "../jid/jid.ts";
import type { EvacuateWish } from "../server/evacuation.ts";
import type { ModuleInfo } from "../server/module-loader.ts";
import type { RestartRequest } from "../server/passing-on.ts";
import type { PhaseName } from "../server/phases.ts";
import type { ShutdownPlan } from "../server/plan.ts";
import type { ReloadResult } from "../server/reloading.ts";
import type { ServerStatus } from "../server/server.ts";
import type { Session } from "../server/session.ts";
import type { SuspendWish } from "../server/suspending.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { DrainReport } from "../shutdown/report.ts";
import type { ResumeRequest, ResumeResult, SuspendReport } from "../shutdown/suspend-types.ts";
import type { JournalPort } from "./journal.ts";

/** Reads the configuration anew and takes it in: see `Server.reload`, for what it rejects with, too. */
export type Reload = () => Promise<ReloadResult>;

/** Hands the server over to a new process: see `Server.restart`. */
export type Restart = (request: RestartBy) => Promise<HandoverOutcome>;

/** A restart as it is asked for from outside. */
export interface RestartBy extends Omit<RestartRequest, "command"> {
  /** The program to start and its arguments; the same as now unless given. */
  readonly program?: readonly string[];
}

/** What the operations need of the server. */
export interface ServerPort {
  readonly lifecycle: Pick<Lifecycle<PhaseName>, "state" | "request" | "stop" | "cancel" | "on">;
  /** How the last run of the pipeline ended that is known of. */
  readonly lastReport: DrainReport | undefined;
  /** Throws `MORENDO_NOT_STARTED` as long as the server has not come so far. */
  readonly modules: {
    list(): readonly ModuleInfo[];
    add(entry: string): Promise<string>;
    remove(name: string): Promise<void>;
    reload(name: string): Promise<void>;
  };
  suspend(wish: SuspendWish): Promise<SuspendReport>;
  evacuate(wish: EvacuateWish): Promise<SuspendReport>;
  resume(request: ResumeRequest): Promise<ResumeResult>;
  /** What waits for other servers; undefined without a journal. */
  readonly journal?: JournalPort | undefined;
  /** The configured delay of a stop. */
  readonly delayMs: number;
  /** Tells everybody who is online something: see `Server.announce`. */
  announce(text: string, host?: string): Promise<{ readonly told: number }>;
  /** All bound sessions, in no order. */
  sessions(): Iterable<Session>;
  /** Ends the session of a full JID, or all of an account, and resolves to how many it were. */
  endSessions(jid: Jid, reason: string): Promise<number>;
  status(): ServerStatus;
  plan(): Promise<ShutdownPlan>;
}
