// The words of a suspension as types: what is asked for, who takes part, what they are told and what is written down.
// Generic: this room knows nothing of XMPP or sockets. Not for: stops and their phases (types.ts).

import type { CancelledContext, Outcome, PhaseContext, When } from "./types.ts";

/** The steps of a suspension: whether it can be done, doing it, and taking it back. */
export type SuspendStep = "prepare" | "suspend" | "resume";

/** What a trigger asks for. */
export interface SuspendRequest {
  readonly cause: "suspend" | "evacuate";
  /** How the server is to stand still; participants know the names. */
  readonly mode: string;
  /** Free text for people. */
  readonly reason: string;
  /** Who asked, such as `control socket`. */
  readonly trigger: string;
  /** How long it may take until everybody is suspended. */
  readonly timeoutMs: number;
  /** What becomes of it when somebody is not done by then, or fails: everything goes `back`, or it `stay`s suspended. */
  readonly onTimeout: "back" | "stay";
}

/** What asks for the end of a suspension. */
export interface ResumeRequest {
  readonly reason: string;
  readonly trigger: string;
}

/** What a participant is told and may do when it prepares and suspends; leases and deadlines are as in a phase. */
export interface SuspendContext extends PhaseContext<SuspendStep> {
  readonly mode: string;
}

/** What a participant is told when it resumes. */
export interface ResumeContext extends CancelledContext<SuspendStep> {
  readonly mode: string;
}

/**
 * Something that takes part in suspensions. Participants prepare one after the other in the order of registration, then
 * suspend in that order, and resume in the reverse one.
 */
export interface SuspendParticipant {
  readonly name: string;
  /** `before` or `after` all others; `during` unless given. Those of one group come in the order of registration. */
  readonly when?: When;
  /** The modes it takes part in; all unless given. */
  readonly modes?: readonly string[];
  /** Its own limit in each step; without one it has what is left. */
  readonly timeoutMs?: number;
  /** Changes nothing that anybody could notice; who rejects calls the suspension off. */
  prepare?(context: SuspendContext): void | Promise<void>;
  /** Stands still when it resolves. Who rejects counts as late. */
  suspend?(context: SuspendContext): void | Promise<void>;
  /** Goes on. Called for whoever had begun to prepare or to suspend, however it fared. */
  resume?(context: ResumeContext): void | Promise<void>;
}

/** How a participant fared in one step. */
export interface SuspendStepReport {
  readonly name: string;
  readonly step: SuspendStep;
  readonly outcome: Outcome;
  readonly durationMs: number;
  readonly error?: string;
  readonly leaseHolders?: readonly string[];
}

/** How a suspension ended. */
export interface EndOfSuspension {
  /** ISO 8601, UTC. */
  readonly at: string;
  /** How long it had been suspended. */
  readonly heldMs: number;
  readonly reason: string;
  readonly trigger: string;
  readonly participants: readonly SuspendStepReport[];
}

/**
 * What came of a suspension: `suspended`; `late`, suspended although somebody was not done; or not suspended, because
 * somebody was late (`timed-out`), it was refused, or it was called off while under way. `pending` while it is under way.
 */
export type SuspendOutcome = "pending" | "suspended" | "late" | "timed-out" | "refused" | "called-off";

/** The record of a suspension. */
export interface SuspendReport {
  readonly suspended: boolean;
  readonly outcome: SuspendOutcome;
  readonly id: string;
  readonly cause: "suspend" | "evacuate";
  readonly mode: string;
  readonly reason: string;
  readonly trigger: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  /** How long it took until it was suspended, or given up. */
  readonly durationMs: number;
  readonly timeoutMs: number;
  readonly onTimeout: "back" | "stay";
  readonly participants: readonly SuspendStepReport[];
  /** Those who were not done in time, or failed, by name. */
  readonly late: readonly string[];
  /** Why it is not suspended, for people. */
  readonly why?: string;
  /** Once it is over. */
  readonly ended?: EndOfSuspension;
}

/** Whether the server was resumed. It not being suspended is an expected outcome, so it is a value and no error. */
export type ResumeResult =
  | {
      readonly resumed: true;
      /** The participants that could not go on, by name; the server runs without that. */
      readonly failed: readonly { readonly name: string; readonly error: string }[];
    }
  | {
      readonly resumed: false;
      /** Why not, for people. */
      readonly why: string;
    };
