// The predecessor's side of a restart: starts a successor, hands it the listeners and the state, and learns whether it
// serves. Decides who owns the service at every moment; what "frozen" means is the application's affair. The life cycle is
// told in index.ts.

import type { Clock, Timer } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import { Channel, encode, type Incoming } from "./channel.ts";
import { type FromSuccessor, PROTOCOL_VERSION, readFromSuccessor } from "./protocol.ts";
import { Relay } from "./relay.ts";
import { agree, type OfferedSection, type StateSection, writeState } from "./state.ts";
import {
  type PassedListener,
  type ProcessEnd,
  type SpawnSuccessor,
  type SuccessorCommand,
  type SuccessorProcess,
  spawnSuccessor,
} from "./successor-process.ts";

/** What is under way, or where it failed: each step ends when the thing it is named after has happened. */
export type HandoverStep = "spawn" | "hello" | "freeze" | "state" | "prepared" | "serving";

/** How long each step may take, in milliseconds, and all of them together. */
export type HandoverLimits = Readonly<Record<HandoverStep | "whole", number>>;

/** Generous for a successor that is only starting up, which disturbs nobody; strict once the service is frozen. */
export const DEFAULT_LIMITS: HandoverLimits = {
  spawn: 5_000,
  hello: 30_000,
  freeze: 5_000,
  state: 10_000,
  prepared: 10_000,
  serving: 10_000,
  whole: 60_000,
};

/** One restart. */
export interface HandoverPlan {
  readonly command: SuccessorCommand;
  readonly listeners: readonly PassedListener[];
  /** What state there is to hand over. */
  readonly offers: readonly OfferedSection[];
  /**
   * Called once the successor has started up and waits for the state: stops everything that would change the state, and
   * returns a snapshot of it in the versions agreed on. `signal` aborts when it is of no use any more.
   */
  freeze(
    versions: ReadonlyMap<string, number>,
    signal: AbortSignal,
  ): readonly StateSection[] | Promise<readonly StateSection[]>;
  /** Undoes `freeze`, which may not have finished: the restart has failed and the service goes on here. */
  thaw(): void | Promise<void>;
  /** Told at the beginning of each step. */
  onStep?(step: HandoverStep): void;
  /** Calls the restart off while that is possible, that is, until the successor serves. */
  readonly signal?: AbortSignal;
}

/** How a restart ended. */
export type HandoverOutcome =
  | {
      readonly ok: true;
      readonly pid: number;
      readonly durationMs: number;
      /** How long nobody served: from the call of `freeze` until the successor did. */
      readonly frozenMs: number;
      /** The way for what still comes here and is the successor's affair. It holds the event loop: close it at the end. */
      readonly relay: Relay;
      /** Resolves if the successor ends while we are still here. */
      readonly exited: Promise<ProcessEnd>;
    }
  | {
      readonly ok: false;
      readonly step: HandoverStep | "refused";
      /** For people: what went wrong. */
      readonly why: string;
      readonly pid?: number;
      readonly exitCode?: number;
      readonly signal?: NodeJS.Signals;
      /** The end of what the successor wrote to its standard error, as far as it could tell us; often empty. */
      readonly stderrTail: string;
    };

/** What a `Handover` is made of. */
export interface HandoverOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<HandoverLimits>;
  /** Starts a process: as our own child unless given. */
  readonly spawn?: SpawnSuccessor;
}

/** What the outcome of a failed attempt is made of. */
class StepFailed extends Error {
  readonly isSelfReported: boolean;
  readonly stderr: string;

  constructor(why: string, report?: { readonly stderr: string }) {
    super(why);
    this.isSelfReported = report !== undefined;
    this.stderr = report?.stderr ?? "";
  }
}

/** How long a successor that has failed may take to end by itself, so that its exit code is its own. */
const OWN_END_MS = 2_000;
/** How long the end of a killed process is waited for. It can be late only when the kernel is stuck. */
const KILL_MS = 5_000;
/** How long after the end of the process the rest of what it said is waited for. */
const LAST_WORDS_MS = 500;

/** Hands this process's service over to a successor, once. */
export class Handover {
  #options: HandoverOptions;
  #running: { readonly since: number; step: HandoverStep } | undefined;
  #passedTo: number | undefined;

  constructor(options: HandoverOptions) {
    this.#options = options;
  }

  /** The step under way, if a restart is. */
  get step(): HandoverStep | undefined {
    return this.#running?.step;
  }

  /** The process that has taken over from this one, if one has. */
  get passedTo(): number | undefined {
    return this.#passedTo;
  }

  /**
   * Starts a successor and hands the service over. Never rejects. After `ok` the service is the successor's: this process
   * must serve nobody anew, release its listeners, and go down. After anything else it serves as before, and the
   * successor is dead. A second call while one runs, or after one has succeeded, is refused at once.
   */
  async run(plan: HandoverPlan): Promise<HandoverOutcome> {
    const { clock, log } = this.#options;
    const refusal = this.#refusal();
    if (refusal !== undefined) return { ok: false, step: "refused", why: refusal, stderrTail: "" };
    const running = { since: clock.now(), step: "spawn" as HandoverStep };
    this.#running = running;
    const attempt = new Attempt(this.#options, plan, (step) => {
      running.step = step;
      plan.onStep?.(step);
    });
    try {
      const outcome = await attempt.run();
      if (outcome.ok) this.#passedTo = outcome.pid;
      log.info(
        { ...outcome, relay: undefined, exited: undefined },
        outcome.ok ? "a successor has taken over" : "the restart has failed",
      );
      return outcome;
    } finally {
      this.#running = undefined;
    }
  }

  #refusal(): string | undefined {
    const { clock } = this.#options;
    if (this.#passedTo !== undefined) return `process ${this.#passedTo} has taken over already`;
    if (this.#running === undefined) return undefined;
    const seconds = ((clock.now() - this.#running.since) / 1_000).toFixed(1);
    return `a restart is under way for ${seconds} s already (step ${this.#running.step})`;
  }
}

/** One try to hand over, from the start of the process to the outcome. */
class Attempt {
  #options: HandoverOptions;
  #plan: HandoverPlan;
  #limits: HandoverLimits;
  #enter: (step: HandoverStep) => void;
  #step: HandoverStep = "spawn";
  #startedAt: number;
  #frozenAt: number | undefined;
  #isCommitted = false;
  #process: SuccessorProcess | undefined;
  #channel: Channel<FromSuccessor> | undefined;
  #end: ProcessEnd | undefined;
  /** Aborts what the application is doing for us when the attempt is over. */
  #over = new AbortController();

  constructor(options: HandoverOptions, plan: HandoverPlan, enter: (step: HandoverStep) => void) {
    this.#options = options;
    this.#plan = plan;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#enter = enter;
    this.#startedAt = options.clock.now();
  }

  async run(): Promise<HandoverOutcome> {
    try {
      return await this.#handOver();
    } catch (thrown) {
      return await this.#giveUp(thrown instanceof StepFailed ? thrown : new StepFailed(asError(thrown).message));
    } finally {
      this.#over.abort();
    }
  }

  async #handOver(): Promise<HandoverOutcome> {
    const { clock } = this.#options;
    const plan = this.#plan;
    const process = await this.#within("spawn", this.#spawn());
    const channel = new Channel(process.channel, readFromSuccessor);
    this.#channel = channel;

    const hello = await this.#within("hello", this.#receive("hello"));
    if (hello.protocol !== PROTOCOL_VERSION) {
      throw new StepFailed(`the successor speaks version ${hello.protocol} of the protocol, not ${PROTOCOL_VERSION}`);
    }
    const agreement = agree(plan.offers, hello.sections);
    if (!agreement.ok) throw new StepFailed(agreement.why);

    // Whatever it says before it has everything can only be that it has failed, and ends the step under way.
    const prepared = this.#receive("prepared");
    const failure = prepared.then(() => new Promise<never>(() => undefined));
    const { signal } = this.#over;
    this.#begin("freeze");
    this.#frozenAt = clock.now();
    const freezing = Promise.resolve(plan.freeze(agreement.versions, signal));
    const sections = await this.#within("freeze", Promise.race([freezing, failure]));
    const writing = writeState(sections, agreement.versions, (line) => channel.send(line), clock, signal);
    const written = await this.#within("state", Promise.race([writing, failure]));
    const { items } = await this.#within("prepared", prepared);
    if (items !== written)
      throw new StepFailed(`the successor has read ${items} items of state, ${written} were written`);

    this.#begin("serving");
    this.#isCommitted = true;
    await channel.send(encode({ type: "commit" }));
    await this.#within("serving", this.#receive("serving"));
    // A successor that died right after its last word: its end is known by now.
    await clock.turn();
    if (this.#end !== undefined) throw new StepFailed(describeEnd(this.#end));

    // From here on there is no way back.
    const now = clock.now();
    await channel.send(encode({ type: "yours" }));
    process.passedOn?.();
    process.release();
    return {
      ok: true,
      pid: process.pid,
      durationMs: now - this.#startedAt,
      frozenMs: now - this.#frozenAt,
      relay: new Relay(channel),
      exited: process.exited,
    };
  }

  async #spawn(): Promise<SuccessorProcess> {
    const { spawn = spawnSuccessor } = this.#options;
    const process = await spawn(this.#plan.command, this.#plan.listeners);
    this.#process = process;
    void process.exited.then((end) => {
      this.#end = end;
    });
    // It came when nobody waited for it any more.
    if (this.#over.signal.aborted) {
      process.kill("SIGKILL");
      process.release();
      process.channel.destroy();
    }
    return process;
  }

  #begin(step: HandoverStep): void {
    if (this.#step === step && step !== "spawn") return;
    this.#step = step;
    this.#enter(step);
  }

  /** Waits for `work`, as long as the step and the whole may take and nobody calls it off. */
  #within<T>(step: HandoverStep, work: Promise<T>): Promise<T> {
    const { clock } = this.#options;
    const { signal } = this.#plan;
    this.#begin(step);
    const wholeLeft = this.#startedAt + this.#limits.whole - clock.now();
    const limit = Math.min(this.#limits[step], wholeLeft);
    return new Promise((resolve, reject) => {
      const timer: Timer = clock.setTimer(limit, () => {
        fail(
          `no ${DESCRIPTIONS[step]} within ${limit === wholeLeft ? "the time for the whole restart" : `${limit} ms`}`,
        );
      });
      const settled = (): void => {
        timer.cancel();
        signal?.removeEventListener("abort", onAbort);
      };
      const fail = (why: string): void => {
        settled();
        reject(new StepFailed(why));
      };
      const onAbort = (): void => fail(`called off: ${asError(signal?.reason).message}`);
      signal?.addEventListener("abort", onAbort);
      void work.then(resolve, reject).finally(settled);
      if (signal?.aborted === true) onAbort();
    });
  }

  /** Returns the next message when it is of this type; anything else fails the attempt. */
  async #receive<Type extends FromSuccessor["type"]>(type: Type): Promise<Extract<FromSuccessor, { type: Type }>> {
    const incoming = await this.#nextOrEnd();
    if (incoming.kind === "broken") throw new StepFailed(`the successor does not speak our protocol: ${incoming.why}`);
    if (incoming.kind === "end") throw new StepFailed(await this.#describeSilence());
    const { message } = incoming;
    if (message.type === "failed") throw new StepFailed(message.why, { stderr: message.stderr });
    if (!isOfType(message, type)) {
      throw new StepFailed(`the successor said ${message.type} when ${type} was expected`);
    }
    return message;
  }

  /** A process that is gone has no more to say, even if one of its children still holds the channel open. */
  async #nextOrEnd(): Promise<Incoming<FromSuccessor>> {
    const { clock } = this.#options;
    const settled = new AbortController();
    const gone = (this.#process?.exited ?? Promise.resolve())
      .then(() => clock.sleep(LAST_WORDS_MS, settled.signal))
      .then((): Incoming<FromSuccessor> => ({ kind: "end" }));
    const incoming = await Promise.race([this.#channel?.receive() ?? gone, gone]);
    settled.abort();
    return incoming;
  }

  async #describeSilence(): Promise<string> {
    const end = await this.#endWithin(OWN_END_MS);
    return end === undefined ? "it closed the channel, and lives on" : describeEnd(end);
  }

  async #giveUp(failure: StepFailed): Promise<HandoverOutcome> {
    const { log } = this.#options;
    const step = this.#step;
    const process = this.#process;
    let why = failure.message;
    this.#over.abort();
    // Told before anything else can happen to us: one that was called off never takes over, also when it has everything
    // and we die now.
    void this.#channel?.send(encode({ type: "abort", why }));
    // Before the commit it does nothing that others see. After it, two must not serve: it has to be dead first.
    let thawing: Promise<string | undefined> | undefined;
    if (!this.#isCommitted) thawing = this.#thaw();
    let isKilled = false;
    if (process !== undefined) {
      if (failure.isSelfReported && !this.#isCommitted) await this.#endWithin(OWN_END_MS);
      if (this.#end === undefined) {
        isKilled = true;
        process.kill("SIGKILL");
        if ((await this.#endWithin(KILL_MS)) === undefined)
          log.error({ pid: process.pid }, "the successor does not die");
      }
      process.release();
    }
    this.#channel?.destroy();
    const thawFailure = await (thawing ?? this.#thaw());
    if (thawFailure !== undefined) why += `; and going on failed: ${thawFailure}`;
    const { code = null, signal = null } = isKilled ? {} : (this.#end ?? {});
    return {
      ok: false,
      step,
      why,
      ...(process === undefined ? {} : { pid: process.pid }),
      ...(code === null ? {} : { exitCode: code }),
      ...(signal === null ? {} : { signal }),
      stderrTail: failure.stderr,
    };
  }

  async #thaw(): Promise<string | undefined> {
    if (this.#frozenAt === undefined) return undefined;
    try {
      await this.#plan.thaw();
      return undefined;
    } catch (thrown) {
      this.#options.log.error({ err: asError(thrown) }, "going on after a failed restart failed");
      return asError(thrown).message;
    }
  }

  /** Returns how the successor ended, or undefined when it has not after `ms`. */
  async #endWithin(ms: number): Promise<ProcessEnd | undefined> {
    if (this.#process === undefined || this.#end !== undefined) return this.#end;
    const settled = new AbortController();
    const late = this.#options.clock.sleep(ms, settled.signal).then(() => undefined);
    const end = await Promise.race([this.#process.exited, late]);
    settled.abort();
    return end;
  }
}

const DESCRIPTIONS: Readonly<Record<HandoverStep, string>> = {
  spawn: "process",
  hello: "word from the successor that it has started up",
  freeze: "snapshot of the state",
  state: "room for all of the state",
  prepared: "word from the successor that it has read the state",
  serving: "word from the successor that it serves",
};

function isOfType<Type extends FromSuccessor["type"]>(
  message: FromSuccessor,
  type: Type,
): message is Extract<FromSuccessor, { type: Type }> {
  return message.type === type;
}

function describeEnd({ code, signal, error }: ProcessEnd): string {
  if (error !== undefined) return `the successor could not be started: ${error.message}`;
  return signal === null ? `the successor ended with exit code ${code}` : `the successor was killed by ${signal}`;
}
