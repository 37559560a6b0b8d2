// One loaded module: the ModuleApi it is given and the list of everything it registered, so that unloading leaves
// nothing behind. Whatever of it throws, hangs, blocks or comes too late is logged and recorded under its name and harms
// nobody else.

import type { Jid } from "../jid/jid.ts";
import type { DrainReport, PhaseReport } from "../shutdown/report.ts";
import type { Lease, LifecycleState, Participant, PhaseContext, Progress } from "../shutdown/types.ts";
import type { Stanza } from "../stanza/stanza.ts";
import { StanzaError } from "../stanza/stanza-error.ts";
import type { Store } from "../store/store.ts";
import type { Clock, Timer } from "../util/clock.ts";
import { codeOf, MorendoError } from "../util/errors.ts";
import type { Notifier } from "../util/events.ts";
import type { Hooks } from "../util/hooks.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { parseDuration } from "../util/units.ts";
import type { Announcements } from "./announcements.ts";
import type { NotificationCatalogue, ServerStopping } from "./catalogue.ts";
import type { Handover, ModuleApi, ModuleDefinition, ModuleStorage, PhaseOptions } from "./module-api.ts";
import { Faults } from "./module-faults.ts";
import type { PhaseName } from "./phases.ts";
import type { Rosters } from "./rosters.ts";
import type { Session } from "./session.ts";

/** What modules need of the router. */
export interface ModuleRouting {
  route(stanza: Stanza): void | Promise<void>;
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
  readonly random: Random;
  readonly log: Logger;
  readonly serverVersion: string;
  readonly announcements: Announcements;
  /** How the last run before this start ended. */
  readonly previousReport?: DrainReport | undefined;
}

/** What a module can have registered. */
export type RegistrationKind =
  | "hooks"
  | "listeners"
  | "participants"
  | "features"
  | "identities"
  | "streamFeatures"
  | "handovers"
  | "timers"
  | "leases";

/** How many registrations of each kind there are; kinds without one are left out. */
export type Registrations = Readonly<Partial<Record<RegistrationKind, number>>>;

/** A module that was given the server. */
export class LoadedModule implements ModuleApi {
  readonly name: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverVersion: string;
  readonly hosts: readonly string[];
  readonly storage: ModuleStorage;
  readonly rosters: Rosters;
  /** What it did wrong, for the log and the report. */
  readonly faults: Faults;
  #around: ModuleSurroundings;
  #rank: number;
  /** What takes back each registration. Timers and leases leave it by themselves. */
  #undo = new Map<() => void, RegistrationKind>();
  #unloading: Promise<void> | undefined;
  #tidyUp: (() => void | Promise<void>) | undefined;
  #participants = new Map<string, number>();
  #handover: Handover | undefined;

  /** `rank` is the module's place among all: its handlers come before those of modules that were loaded later. */
  constructor(name: string, surroundings: ModuleSurroundings, rank = 0) {
    this.name = name;
    this.#around = surroundings;
    this.#rank = rank;
    this.log = surroundings.log.child({ module: name });
    this.faults = new Faults(name, this.log);
    this.clock = surroundings.clock;
    this.random = surroundings.random;
    this.serverVersion = surroundings.serverVersion;
    this.hosts = surroundings.hosts;
    this.rosters = surroundings.rosters;
    this.storage = moduleStorage(surroundings.store, `module:${name}`, this.faults);
  }

  /** Lets the module register what it does. Rejects with what it throws. */
  async run(definition: ModuleDefinition, options: unknown): Promise<void> {
    const tidyUp = await definition.load(this, options);
    if (typeof tidyUp !== "function") return;
    this.#tidyUp = tidyUp;
    // Unloaded while it was still loading: what it would tidy up is there by now.
    if (this.#unloading !== undefined) await this.#tidy(TIDY_MS);
  }

  /**
   * Takes everything back at once, the last first, then lets the module tidy up for `limitMs` at most. Late callers get
   * the same promise. Never rejects.
   */
  unload(limitMs: number = TIDY_MS): Promise<void> {
    if (this.#unloading === undefined) {
      const undo = [...this.#undo.keys()].reverse();
      // Set before anything runs: what is undone may not register again.
      const { promise, resolve } = deferred();
      this.#unloading = promise;
      for (const one of undo) this.#guard("unload", one);
      this.#undo.clear();
      void this.#tidy(limitMs).then(resolve);
    }
    return this.#unloading;
  }

  /** What the module has registered at the moment. */
  get registrations(): Registrations {
    const counts: Partial<Record<RegistrationKind, number>> = {};
    for (const kind of this.#undo.values()) counts[kind] = (counts[kind] ?? 0) + 1;
    return counts;
  }

  /** What the module hands over, if it said so. */
  get handedOver(): Handover | undefined {
    return this.#handover;
  }

  get state(): LifecycleState {
    return this.#around.lifecycle.state;
  }

  readonly hook: ModuleApi["hook"] = (name, handler, order) => {
    this.#mayRegister(`hook "${name}"`);
    const isIq = name.startsWith("iq/");
    const timed: typeof handler = (payload) => {
      const began = this.clock.now();
      const answer = handler(payload);
      this.faults.checkBlocked(this.clock.now() - began, name);
      if (!isIq) return answer;
      return answer instanceof Promise ? answer.then(checkedIqAnswer) : checkedIqAnswer(answer);
    };
    this.#register("hooks", this.#around.hooks.add(name, this.name, timed, order, this.#rank));
  };

  readonly on: ModuleApi["on"] = (name, listener) => {
    if (name === "server-stopping") {
      this.#listenToStopping(listener as (event: ServerStopping) => void);
      return;
    }
    this.#mayRegister(`listener to "${name}"`);
    const guarded: typeof listener = (payload) => this.#guard(name, () => listener(payload));
    this.#register("listeners", this.#around.notifications.on(name, guarded));
  };

  phase(
    phase: PhaseName,
    options: PhaseOptions,
    run: (context: PhaseContext<PhaseName>) => void | Promise<void>,
  ): void {
    const { timeout, when, cancelled } = options;
    const timeoutMs = timeout === undefined ? undefined : parseDuration(timeout);
    if (timeout !== undefined && timeoutMs === undefined) {
      throw this.faults.refuse("MORENDO_MODULE_MISUSE", "phase", `"${timeout}" is not a duration such as "2s"`);
    }
    if (phase === "quit" && when === "after") {
      const why = 'modules are unloaded in "quit": take part "before" it';
      throw this.faults.refuse("MORENDO_MODULE_MISUSE", "phase", why);
    }
    const name = this.#participantName(phase, options.name === undefined ? this.name : `${this.name}: ${options.name}`);
    this.#attach(phase, {
      name,
      // What the phase itself does at the end is unloading modules and closing the store.
      ...(phase === "quit" ? { when: "before" } : when !== undefined && { when }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      run: (context) => run(this.#contextFor(name, context)),
      ...(cancelled !== undefined && { cancelled: () => cancelled() }),
    });
  }

  readonly feature: ModuleApi["feature"] = (namespace, target = "host") => {
    this.#mayRegister(`feature "${namespace}"`);
    this.#register("features", this.#around.announcements.addFeature(namespace, target));
  };

  readonly identity: ModuleApi["identity"] = (identity, target = "host") => {
    this.#mayRegister(`identity "${identity.category}/${identity.type}"`);
    this.#register("identities", this.#around.announcements.addIdentity(identity, target));
  };

  readonly announced: ModuleApi["announced"] = (target) => this.#around.announcements.announced(target);

  readonly streamFeature: ModuleApi["streamFeature"] = (namespace, name) => {
    this.#mayRegister(`stream feature "${name}"`);
    this.#register("streamFeatures", this.#around.announcements.addStreamFeature(namespace, name));
  };

  handover(handover: Handover): void {
    this.#mayRegister("handover");
    this.#handover = handover;
    this.#register("handovers", () => {
      this.#handover = undefined;
    });
  }

  timer(ms: number, fire: () => void): Timer {
    const { lifecycle } = this.#around;
    this.#mustBeLoaded("timer");
    const left = lifecycle.isPastNoReturn ? lifecycle.remaining : undefined;
    if (left !== undefined && ms > left) {
      const why = `it would fire in ${Math.round(ms)} ms, and the server has ${Math.round(left)} ms left`;
      throw this.faults.refuse("MORENDO_TIMER_TOO_LATE", "timer", why);
    }
    const cancel = (): void => {
      timer.cancel();
      this.#undo.delete(cancel);
    };
    const timer = this.clock.setTimer(ms, () => {
      this.#undo.delete(cancel);
      this.#guard("timer", fire);
    });
    this.#register("timers", cancel);
    return { cancel };
  }

  route(stanza: Stanza): void | Promise<void> {
    const { router, lifecycle } = this.#around;
    if (lifecycle.isPastNoReturn) {
      const drained = lifecycle.ended("drain-s2s");
      // A phase that was passed over has drained nothing: what is sent then is named as lost, as everything else is.
      if (drained !== undefined && drained.outcome !== "skipped") {
        const to = stanza.to?.toString() ?? "nobody";
        const why = "the links to other servers are drained and closed, and no client is connected any more";
        throw this.faults.refuse("MORENDO_ROUTE_CLOSED", `stanza to ${to}`, why);
      }
    }
    return router.route(stanza);
  }

  isLocal(jid: Jid): boolean {
    return this.#around.router.isLocal(jid);
  }

  accountExists(account: Jid): Promise<boolean> {
    return this.#around.router.accountExists(account);
  }

  sessionsOf(account: Jid): readonly Session[] {
    return this.#around.router.sessionsOf(account);
  }

  session(full: Jid): Session | undefined {
    return this.#around.router.session(full);
  }

  sessions(): Iterable<Session> {
    return this.#around.router.sessions();
  }

  report(): DrainReport | undefined {
    return this.#around.lifecycle.snapshot();
  }

  previousReport(): DrainReport | undefined {
    return this.#around.previousReport;
  }

  #listenToStopping(listener: (event: ServerStopping) => void): void {
    const name = this.#participantName("server-stopping", this.name);
    this.#attach("server-stopping", {
      name,
      run: (context) => runListener(listener, this.#contextFor(name, context), this.faults),
    });
  }

  #attach(phase: PhaseName, participant: Participant<PhaseName>): void {
    this.#mustBeLoaded(`participant of "${phase}"`);
    try {
      this.#register("participants", this.#around.lifecycle.attach(phase, participant));
    } catch (thrown) {
      if (codeOf(thrown) !== "MORENDO_PHASE_OVER") throw thrown;
      throw this.faults.refuse("MORENDO_PHASE_OVER", `participant of "${phase}"`, "that phase has ended");
    }
  }

  /** Several participants of a phase are told apart in the report: `name`, `name (2)`. */
  #participantName(phase: PhaseName, name: string): string {
    const key = `${phase} ${name}`;
    const number = (this.#participants.get(key) ?? 0) + 1;
    this.#participants.set(key, number);
    return number === 1 ? name : `${name} (${number})`;
  }

  /** The context of a participant, which refuses what comes when the participant is over. */
  #contextFor(name: string, context: PhaseContext<PhaseName>): PhaseContext<PhaseName> {
    const { phase, cause, reason, signal } = context;
    const mustBeOpen = (what: string): void => {
      if (!signal.aborted && context.remaining() > 0) return;
      const why = `"${name}" is over in phase "${phase}"`;
      throw this.faults.refuse("MORENDO_PHASE_OVER", what, why);
    };
    return {
      phase,
      cause,
      reason,
      signal,
      get deadline() {
        return context.deadline;
      },
      remaining: () => context.remaining(),
      lease: (leaseName) => {
        this.#mustBeText("lease", leaseName);
        mustBeOpen(`lease "${leaseName}"`);
        return this.#keepLease(context.lease(leaseName));
      },
      progress: (progress) => {
        mustBeOpen("progress");
        context.progress(this.#checkedProgress(progress));
      },
    };
  }

  #keepLease(lease: Lease): Lease {
    const release = (): void => {
      this.#undo.delete(release);
      lease.release();
    };
    this.#register("leases", release);
    return { name: lease.name, release };
  }

  /** Names end up in the report, which nobody could write or read otherwise. */
  #mustBeText(what: string, name: unknown): void {
    if (typeof name === "string" && name.length <= MAX_NAME) return;
    const why = `its name is not a text of at most ${MAX_NAME} characters`;
    throw this.faults.refuse("MORENDO_MODULE_MISUSE", what, why);
  }

  /** A copy of plain numbers and texts: it is read later, where nobody could say whose fault it is. */
  #checkedProgress(progress: Progress): Progress {
    const { done, total, blockers = [] } = (progress ?? {}) as Partial<Progress>;
    const isList = Array.isArray(blockers) && blockers.every((name) => typeof name === "string");
    if (typeof done === "number" && typeof total === "number" && isList)
      return { done, total, blockers: [...blockers] };
    throw this.faults.refuse("MORENDO_MODULE_MISUSE", "progress", "it is not { done, total, blockers? }");
  }

  #mustBeLoaded(what: string): void {
    if (this.#unloading === undefined) return;
    throw this.faults.refuse("MORENDO_MODULE_UNLOADED", what, "the module is unloaded");
  }

  #mayRegister(what: string): void {
    this.#mustBeLoaded(what);
    if (!this.#around.lifecycle.isPastNoReturn) return;
    throw this.faults.refuse("MORENDO_STOPPING", what, "the server is going down, and there is no way back");
  }

  #register(kind: RegistrationKind, undo: () => void): void {
    this.#undo.set(undo, kind);
  }

  async #tidy(limitMs: number): Promise<void> {
    const tidyUp = this.#tidyUp;
    this.#tidyUp = undefined;
    if (tidyUp === undefined) return;
    const done = new AbortController();
    const work = async (): Promise<boolean> => {
      try {
        await tidyUp();
      } catch (thrown) {
        this.faults.failed("unload", thrown);
      }
      done.abort();
      return true;
    };
    const isLate = this.clock.sleep(limitMs, done.signal).then(() => false);
    if (!(await Promise.race([work(), isLate]))) this.faults.hangs("unload", limitMs);
  }

  /** Calls `run`; an async function given for a plain one is looked after as well. */
  #guard(what: string, run: () => unknown): void {
    const began = this.clock.now();
    try {
      const result = run();
      if (result instanceof Promise) result.catch((thrown: unknown) => this.faults.failed(what, thrown));
    } catch (thrown) {
      this.faults.failed(what, thrown);
    }
    this.faults.checkBlocked(this.clock.now() - began, what);
  }
}

/** The longest name of a lease. */
const MAX_NAME = 1_024;
/** How long a module may take to tidy up at its unloading, unless less is left. */
const TIDY_MS = 2_000;

/** Gives the stopping event to `listener` and waits for all that it hands over; rejects with the first failure. */
async function runListener(
  listener: (event: ServerStopping) => unknown,
  context: PhaseContext<PhaseName>,
  faults: Faults,
): Promise<void> {
  const waiting: Promise<unknown>[] = [];
  const failures: unknown[] = [];
  const { cause, reason, signal } = context;
  let isOver = false;
  const keep = (work: unknown): void => {
    waiting.push(Promise.resolve(work).catch((thrown: unknown) => failures.push(thrown)));
  };
  const event: ServerStopping = {
    cause,
    reason,
    signal,
    get deadline() {
      return context.deadline;
    },
    remaining: () => context.remaining(),
    waitUntil: (work) => {
      if (!isOver && !signal.aborted) {
        keep(work);
        return;
      }
      // Refused, but it goes on: what becomes of it must not be an unhandled rejection.
      Promise.resolve(work).catch((thrown: unknown) => faults.failed("server-stopping", thrown));
      throw faults.refuse("MORENDO_PHASE_OVER", "waitUntil", 'its event "server-stopping" is over');
    },
  };
  try {
    // An async listener is waited for like what it hands over.
    keep(listener(event));
  } catch (thrown) {
    failures.push(thrown);
  }
  // Work that is under way may hand over more.
  for (let done = 0; done < waiting.length; done++) await waiting[done];
  isOver = true;
  if (failures.length > 0) throw failures[0];
}

function moduleStorage(store: Store, collection: string, faults: Faults): ModuleStorage {
  const named =
    (what: string) =>
    (thrown: unknown): never => {
      if (codeOf(thrown) !== "MORENDO_STORE_CLOSED") throw thrown;
      throw faults.refuse("MORENDO_STORE_CLOSED", `storage.${what}`, "the store is closed", thrown);
    };
  return {
    get: (key) => store.get(collection, key).catch(named("get")),
    put: (key, value) => store.put(collection, key, value).catch(named("put")),
    delete: (key) => store.delete(collection, key).catch(named("delete")),
    batch: (writes) =>
      store
        .batch(
          writes.map(([key, value]) =>
            value === undefined ? { op: "delete", collection, key } : { op: "put", collection, key, value },
          ),
        )
        .catch(named("batch")),
    range: (prefix, limit) => store.range(collection, prefix, limit).catch(named("range")),
    append: (key, value) => store.append(collection, key, value).catch(named("append")),
    flushed: () => store.flushed(),
  };
}

/** Returns `answer`; throws when nobody could send it, so that the module is named and the next one asked. */
function checkedIqAnswer<Answer>(answer: Answer): Answer {
  if (answer === undefined || answer === "empty" || answer === "handled" || answer instanceof StanzaError)
    return answer;
  // By what it can do and not by its class: the module may have built it with its own copy of ltx.
  const isElement = typeof answer === "object" && answer !== null && "getNS" in answer;
  if (isElement) return answer;
  throw new MorendoError("MORENDO_MODULE_MISUSE", 'the answer is no element, StanzaError, "empty" or "handled"');
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
