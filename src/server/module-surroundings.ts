// What a module's API needs of the server around it. The composition root fills it in, and so does the test kit.

import type { Jid } from "../jid/jid.ts";
import type { DrainReport, PhaseReport } from "../shutdown/report.ts";
import type { SuspendParticipant } from "../shutdown/suspend-types.ts";
import type { LifecycleState, Participant } from "../shutdown/types.ts";
import type { Stanza } from "../stanza/stanza.ts";
import type { Store } from "../store/store.ts";
import type { Clock } from "../util/clock.ts";
import type { Notifier } from "../util/events.ts";
import type { Hooks } from "../util/hooks.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import type { Announcements } from "./announcements.ts";
import type { NotificationCatalogue } from "./catalogue.ts";
import type { Settled } from "./fate-watch.ts";
import type { ModuleOperations } from "./module-api.ts";
import type { PhaseName } from "./phases.ts";
import type { Rosters } from "./rosters.ts";
import type { Session } from "./session.ts";

/** What modules need of the router. */
export interface ModuleRouting {
  route(stanza: Stanza, settled?: Settled): void | Promise<void>;
  isLocal(jid: Jid): boolean;
  accountExists(account: Jid): Promise<boolean>;
  sessionsOf(account: Jid): readonly Session[];
  session(full: Jid): Session | undefined;
  sessions(): Iterable<Session>;
}

/** What modules need of the lifecycle. */
export interface ModuleLifecycle {
  readonly state: LifecycleState;
  /** Whether a run has begun a phase from which there is no way back. */
  readonly isPastNoReturn: boolean;
  /** The milliseconds until the deadline of the run; undefined when none is under way. */
  readonly remaining: number | undefined;
  /** How a phase ended; undefined as long as it has not. */
  ended(phase: PhaseName): Pick<PhaseReport, "outcome"> | undefined;
  /** The report of the run under way as far as it has come. */
  snapshot(): DrainReport | undefined;
  /** Adds a participant to a phase; the returned function removes it. */
  attach(phase: PhaseName, participant: Participant<PhaseName>): () => void;
  /** Adds a participant to suspensions; the returned function removes it. */
  onSuspend(participant: SuspendParticipant): () => void;
}

/** The server around a module. */
export interface ModuleSurroundings {
  readonly hooks: Hooks;
  readonly notifications: Notifier<NotificationCatalogue>;
  readonly store: Store;
  readonly rosters: Rosters;
  readonly router: ModuleRouting;
  readonly lifecycle: ModuleLifecycle;
  readonly hosts: readonly string[];
  readonly clock: Clock;
  /** The clock that modules are given, which can stand still; the same unless given. */
  readonly moduleClock?: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly serverVersion: string;
  readonly announcements: Announcements;
  readonly operations: ModuleOperations;
  /** How the last run before this start ended. */
  readonly previousReport?: DrainReport | undefined;
}
