// One loaded module: the ModuleApi it is given and the list of everything it registered, so that unloading leaves
// nothing behind. Whatever of it throws, hangs, blocks or comes too late is logged and recorded under its name and harms
// nobody else.

import type { Jid } from "../jid/jid.ts";
import type { DrainReport } from "../shutdown/report.ts";
import type { Lease, LifecycleState, Participant, PhaseContext } from "../shutdown/types.ts";
import type { Stanza } from "../stanza/stanza.ts";
import type { Clock, Timer } from "../util/clock.ts";
import { codeOf } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { withResolvers } from "../util/with-resolvers.ts";
import { type AdHocCommand, guardedCommand } from "./ad-hoc-command.ts";
import type { ServerStopping } from "./catalogue.ts";
import type { Settled } from "./fate-watch.ts";
import { checkedIqAnswer } from "./iq-answer.ts";
import type {
  Handover,
  ModuleApi,
  ModuleDefinition,
  ModuleOperations,
  ModuleStorage,
  PhaseOptions,
  SuspendHooks,
  SuspendOptions,
} from "./module-api.ts";
import { Faults } from "./module-faults.ts";
import { Participation } from "./module-participation.ts";
import { moduleStorage } from "./module-storage.ts";
import type { ModuleSurroundings } from "./module-surroundings.ts";
import type { PhaseName } from "./phases.ts";
import type { Rosters } from "./rosters.ts";
import type { Session } from "./session.ts";

/** What a module can have registered. */
export type RegistrationKind =
  | "hooks"
  | "listeners"
  | "participants"
  | "features"
  | "identities"
  | "nodes"
  | "commands"
  | "streamFeatures"
  | "handovers"
  | "suspensions"
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
  readonly operations: ModuleOperations;
  /** What it did wrong, for the log and the report. */
  readonly faults: Faults;
  #around: ModuleSurroundings;
  #rank: number;
  /** What takes back each registration. Timers and leases leave it by themselves. */
  #undo = new Map<() => void, RegistrationKind>();
  #unloading: Promise<void> | undefined;
  #tidyUp: (() => void | Promise<void>) | undefined;
  #participation: Participation;
  #handover: Handover | undefined;

  /** `rank` is the module's place among all: its handlers come before those of modules that were loaded later. */
  constructor(name: string, surroundings: ModuleSurroundings, rank = 0) {
    this.name = name;
    this.#around = surroundings;
    this.#rank = rank;
    this.log = surroundings.log.child({ module: name });
    this.faults = new Faults(name, this.log);
    this.#participation = new Participation(name, { faults: this.faults, keep: (lease) => this.#keepLease(lease) });
    this.clock = surroundings.moduleClock ?? surroundings.clock;
    this.random = surroundings.random;
    this.serverVersion = surroundings.serverVersion;
    this.hosts = surroundings.hosts;
    this.rosters = surroundings.rosters;
    this.operations = surroundings.operations;
    this.storage = moduleStorage(surroundings.store, name, this.faults);
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
      const { promise, resolve } = withResolvers();
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
      const participant = this.#participation.stopping(listener as (event: ServerStopping) => void);
      this.#attach(name, participant);
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
    this.#attach(phase, this.#participation.phase(phase, options, run));
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

  readonly nodes: ModuleApi["nodes"] = (find) => {
    this.#mayRegister("nodes");
    const guarded: typeof find = (query) => {
      try {
        return find(query);
      } catch (thrown) {
        this.faults.failed("nodes", thrown);
        return undefined;
      }
    };
    this.#register("nodes", this.#around.announcements.addNodes(guarded));
  };

  readonly node: ModuleApi["node"] = (query) => this.#around.announcements.node(query);

  command(command: AdHocCommand): void {
    const what = `command "${command.node}"`;
    this.#mayRegister(what);
    const undo = this.#around.announcements.addCommand(guardedCommand(command, this.faults));
    if (undo === undefined) throw this.faults.refuse("MORENDO_MODULE_MISUSE", what, "there is one already");
    this.#register("commands", undo);
  }

  readonly commands: ModuleApi["commands"] = () => this.#around.announcements.commands;

  readonly streamFeature: ModuleApi["streamFeature"] = (namespace, name) => {
    this.#mayRegister(`stream feature "${name}"`);
    this.#register("streamFeatures", this.#around.announcements.addStreamFeature(namespace, name));
  };

  suspend(hooks: SuspendHooks, options: SuspendOptions = {}): void {
    this.#mustBeLoaded("suspend");
    const participant = this.#participation.suspension(hooks, options);
    this.#register("suspensions", this.#around.lifecycle.onSuspend(participant));
  }

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

  route(stanza: Stanza, settled?: Settled): void | Promise<void> {
    const { router, lifecycle } = this.#around;
    // A goodbye for a session that is cut off at the very end is nobody's new work: where it cannot go out it is named as lost.
    const isGoodbye = stanza.kind === "presence" && stanza.type === "unavailable";
    if (lifecycle.isPastNoReturn && !isGoodbye) {
      const drained = lifecycle.ended("drain-s2s");
      // A phase that was passed over has drained nothing: what is sent then is named as lost, as everything else is.
      if (drained !== undefined && drained.outcome !== "skipped") {
        const to = stanza.to?.toString() ?? "nobody";
        const why = "the links to other servers are drained and closed, and no client is connected any more";
        throw this.faults.refuse("MORENDO_ROUTE_CLOSED", `stanza to ${to}`, why);
      }
    }
    return router.route(stanza, settled);
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

  #attach(phase: PhaseName, participant: Participant<PhaseName>): void {
    this.#mustBeLoaded(`participant of "${phase}"`);
    try {
      this.#register("participants", this.#around.lifecycle.attach(phase, participant));
    } catch (thrown) {
      if (codeOf(thrown) !== "MORENDO_PHASE_OVER") throw thrown;
      throw this.faults.refuse("MORENDO_PHASE_OVER", `participant of "${phase}"`, "that phase has ended");
    }
  }

  #keepLease(lease: Lease): Lease {
    const release = (): void => {
      this.#undo.delete(release);
      lease.release();
    };
    this.#register("leases", release);
    return { name: lease.name, release };
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
    const isLate = this.#around.clock.sleep(limitMs, done.signal).then(() => false);
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

/** How long a module may take to tidy up at its unloading, unless less is left. */
const TIDY_MS = 2_000;
