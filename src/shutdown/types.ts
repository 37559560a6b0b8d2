// The words of a shutdown as types: what a phase is, who takes part, what they are told and what is written down.
// Generic over the phase names: this room knows nothing of XMPP or sockets.

/** Where the server is in its life. */
export type LifecycleState = "starting" | "running" | "suspending" | "suspended" | "stopping" | "stopped";

/** Why a run of the pipeline began. */
export type Cause = "stop" | "restart" | "suspend" | "evacuate";

/** What a trigger (signal, command, API call, fatal error) asks for. */
export interface StopRequest {
  readonly cause: Cause;
  /** Free text for people: shown to clients, logged, reported. */
  readonly reason: string;
  /** Who asked, such as `SIGTERM` or `control socket`. */
  readonly trigger: string;
  /** Replaces the configured budget for this run. */
  readonly budgetMs?: number;
  /**
   * How long everything goes on as before, in milliseconds, before the first phase that changes anything; it comes on top of
   * the budget. The configured delay unless given; always 0 with `error` or `noReturn`, and for a stop during the start.
   */
  readonly delayMs?: number;
  /** What is announced for the delay, for whoever takes part in it to tell. */
  readonly announcement?: string;
  /** The optional phases that are wanted this time, such as `announce`; the others are skipped. */
  readonly include?: readonly string[];
  /** The fault that made the stop necessary; it is reported and sets the exit code. */
  readonly error?: Error;
  /** Why there is no way back from this stop at all, such as that a successor serves already; it cannot be cancelled. */
  readonly noReturn?: string;
}

/** What asks for a cancel: brings the server back from a stop that has not passed the point of no return. */
export interface CancelRequest {
  /** Free text for people: logged and reported. */
  readonly reason: string;
  /** Who asked, such as `control socket`. */
  readonly trigger: string;
}

/** Whether a stop was cancelled. It being too late is an expected outcome, so it is a value and no error. */
export type CancelResult =
  | {
      readonly cancelled: true;
      /** The participants that could not take back what they had done, by name; the server runs without that. */
      readonly failed: readonly { readonly name: string; readonly error: string }[];
      /** What else there is to know, for people: that the server had been suspended and is not any more. */
      readonly note?: string;
    }
  | {
      readonly cancelled: false;
      /** Why not, for people. */
      readonly why: string;
    };

/** What a participant is told when the run in which it has begun is cancelled. */
export interface CancelledContext<Phase extends string = string> {
  /** The phase in which the participant had begun. */
  readonly phase: Phase;
  /** Why the run was cancelled. */
  readonly reason: string;
  /** Aborts when the time for taking back is over. */
  readonly signal: AbortSignal;
  /** The milliseconds left for taking back. */
  remaining(): number;
}

/** A named, idempotently released hold on the current phase. */
export interface Lease {
  readonly name: string;
  release(): void;
}

/** What is being waited for, for progress readers. */
export interface Progress {
  readonly done: number;
  readonly total: number;
  /** Who is not done, by name; the first few suffice. */
  readonly blockers?: readonly string[];
}

/** When a participant runs, seen from the phase's own work: `during` is the phase's own work. */
export type When = "before" | "during" | "after";

/** What a participant is told and may do. */
export interface PhaseContext<Phase extends string = string> {
  /** The phase that runs. */
  readonly phase: Phase;
  /** Why the run began. */
  readonly cause: Cause;
  /** What who asked for it said: free text for people. */
  readonly reason: string;
  /** What is announced for the delay; it can change while the delay goes on, when somebody asks anew. */
  readonly announcement?: string | undefined;
  /** Aborts when this participant's time is over: its own limit, the phase's ceiling or the budget. */
  readonly signal: AbortSignal;
  /**
   * The moment, on the clock's `now()`, at which this participant's time is over. It can move nearer (a second signal
   * shrinks the budget), never further away.
   */
  readonly deadline: number;
  /** The milliseconds this participant has left: until `deadline`, and 0 once it is over. */
  remaining(): number;
  /**
   * Holds the phase until released, also past the end of the participant's own work. Throws `MORENDO_PHASE_OVER` when
   * the participant is over: settled with nothing held, or out of time.
   */
  lease(name: string): Lease;
  /** Says how far the participant is; cheap enough to call for every item. */
  progress(progress: Progress): void;
}

/** Something that takes part in a phase. */
export interface Participant<Phase extends string = string> {
  readonly name: string;
  readonly when?: When;
  /** Its own limit; without one it has what the phase has. */
  readonly timeoutMs?: number;
  run(context: PhaseContext<Phase>): void | Promise<void>;
  /**
   * Takes back what `run` did, when the run of the pipeline is cancelled. Called only if `run` had begun, however it
   * fared, and after it has settled or was given a moment to; the participants that began last are called first.
   */
  cancelled?(context: CancelledContext<Phase>): void | Promise<void>;
}

/** A named step with its share of the budget. */
export interface PhasePlan<Phase extends string = string> {
  readonly name: Phase;
  /** Time kept free for this phase: earlier phases end sooner rather than eat into it. */
  readonly floorMs: number;
  /** The longest it may take even if the budget has more. */
  readonly ceilingMs: number;
  /** Runs only when a request asks for it by `include`. */
  readonly optional?: boolean;
  /**
   * Is the delay of a request: runs only when there is one, and lasts as long as the delay whoever takes part, beside the
   * budget. All who take part begin at once; who is under way at its end is told by its signal and counts as done.
   */
  readonly isDelay?: boolean;
}

/** How a participant or a phase ended. */
export type Outcome = "done" | "timed-out" | "failed" | "skipped";

/** The fate of an obligation. `dropped`: by its own kind worth nothing to who is not there, and meant to be dropped. */
export type Fate = "proved" | "stored" | "returned" | "dropped" | "lost";

/** How an obligation is known to have arrived, strongest first. `written` is not proof. */
export type Evidence = "sm-ack" | "pong" | "closed" | "written";

/** Where the fates of obligations are told, each obligation exactly once. Always listening, also while running. */
export interface ObligationSink {
  /**
   * Records the fate of one obligation to `destination` (a domain). `name` says which it was, for the report's
   * list of the lost: for instance `message romeo@a.test/x -> juliet@b.test id=7`. `subject` is the obligation itself, for
   * whoever watches the sink; the tally does not keep it.
   */
  settle(
    destination: string,
    fate: Fate,
    detail: { readonly evidence?: Evidence; readonly name?: string; readonly subject?: unknown },
  ): void;
}
