// One loaded module: the ModuleApi it is given and the list of everything it registered, so that unloading leaves
// nothing behind. Whatever of it throws is logged or recorded under its name and harms nobody else.

import type { Jid } from "../jid/jid.ts";
import type { LifecycleState, Participant, PhaseContext } from "../shutdown/types.ts";
import type { Stanza } from "../stanza/stanza.ts";
import type { Store } from "../store/store.ts";
import type { Clock, Timer } from "../util/clock.ts";
import { MorendoError } from "../util/errors.ts";
import type { Notifier } from "../util/events.ts";
import type { Hooks } from "../util/hooks.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { parseDuration } from "../util/units.ts";
import type { Announcements } from "./announcements.ts";
import type { NotificationCatalogue, ServerStopping } from "./catalogue.ts";
import type { Handover, ModuleApi, ModuleDefinition, ModuleStorage, PhaseOptions } from "./module-api.ts";
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
}

/** What modules need of the lifecycle. */
export interface ModuleLifecycle {
  readonly state: LifecycleState;
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
}

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
  #around: ModuleSurroundings;
  /** What takes back each registration. A set: timers leave it by themselves. */
  #undo = new Set<() => void>();
  #unloaded = false;
  #tidyUp: (() => void | Promise<void>) | undefined;
  #participants = new Map<string, number>();
  #handover: Handover | undefined;

  constructor(name: string, surroundings: ModuleSurroundings) {
    this.name = name;
    this.#around = surroundings;
    this.log = surroundings.log.child({ module: name });
    this.clock = surroundings.clock;
    this.random = surroundings.random;
    this.serverVersion = surroundings.serverVersion;
    this.hosts = surroundings.hosts;
    this.rosters = surroundings.rosters;
    this.storage = moduleStorage(surroundings.store, `module:${name}`);
  }

  /** Lets the module register what it does. Rejects with what it throws. */
  async run(definition: ModuleDefinition, options: unknown): Promise<void> {
    const tidyUp = await definition.load(this, options);
    if (typeof tidyUp === "function") this.#tidyUp = tidyUp;
  }

  /** Takes everything back, the last first, then lets the module tidy up. Never rejects. */
  async unload(): Promise<void> {
    if (this.#unloaded) return;
    this.#unloaded = true;
    for (const undo of [...this.#undo].reverse()) this.#guard("unload", undo);
    this.#undo.clear();
    try {
      await this.#tidyUp?.();
    } catch (thrown) {
      this.#failed("unload", thrown);
    }
  }

  /** What the module hands over, if it said so. */
  get handedOver(): Handover | undefined {
    return this.#handover;
  }

  get state(): LifecycleState {
    return this.#around.lifecycle.state;
  }

  readonly hook: ModuleApi["hook"] = (name, handler, order) => {
    this.#register(() => this.#around.hooks.add(name, this.name, handler, order));
  };

  readonly on: ModuleApi["on"] = (name, listener) => {
    if (name === "server-stopping") {
      this.#listenToStopping(listener as (event: ServerStopping) => void);
      return;
    }
    this.#register(() => this.#around.notifications.on(name, (payload) => this.#guard(name, () => listener(payload))));
  };

  phase(
    phase: PhaseName,
    options: PhaseOptions,
    run: (context: PhaseContext<PhaseName>) => void | Promise<void>,
  ): void {
    const timeoutMs = options.timeout === undefined ? undefined : parseDuration(options.timeout);
    if (options.timeout !== undefined && timeoutMs === undefined) {
      const message = `module "${this.name}": "${options.timeout}" is not a duration such as "2s"`;
      throw new MorendoError("MORENDO_MODULE_MISUSE", message);
    }
    this.#attach(phase, {
      name: this.#participantName(phase, options.name === undefined ? this.name : `${this.name}: ${options.name}`),
      ...(options.when !== undefined && { when: options.when }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      run,
    });
  }

  readonly feature: ModuleApi["feature"] = (namespace, target = "host") => {
    this.#register(() => this.#around.announcements.addFeature(namespace, target));
  };

  readonly identity: ModuleApi["identity"] = (identity, target = "host") => {
    this.#register(() => this.#around.announcements.addIdentity(identity, target));
  };

  readonly announced: ModuleApi["announced"] = (target) => this.#around.announcements.announced(target);

  readonly streamFeature: ModuleApi["streamFeature"] = (namespace, name) => {
    this.#register(() => this.#around.announcements.addStreamFeature(namespace, name));
  };

  handover(handover: Handover): void {
    this.#register(() => {
      this.#handover = handover;
      return () => {
        this.#handover = undefined;
      };
    });
  }

  timer(ms: number, fire: () => void): Timer {
    // Asked for by something that was still under way at unload: it will not fire, like those that were set before.
    if (this.#unloaded) return { cancel: () => undefined };
    const cancel = (): void => {
      timer.cancel();
      this.#undo.delete(cancel);
    };
    const timer = this.clock.setTimer(ms, () => {
      this.#undo.delete(cancel);
      this.#guard("timer", fire);
    });
    this.#undo.add(cancel);
    return { cancel };
  }

  route(stanza: Stanza): void | Promise<void> {
    return this.#around.router.route(stanza);
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

  #listenToStopping(listener: (event: ServerStopping) => void): void {
    this.#attach("server-stopping", {
      name: this.#participantName("server-stopping", this.name),
      run: (context) => runListener(listener, context),
    });
  }

  #attach(phase: PhaseName, participant: Participant<PhaseName>): void {
    this.#register(() => this.#around.lifecycle.attach(phase, participant));
  }

  /** Several participants of a phase are told apart in the report: `name`, `name (2)`. */
  #participantName(phase: PhaseName, name: string): string {
    const key = `${phase} ${name}`;
    const number = (this.#participants.get(key) ?? 0) + 1;
    this.#participants.set(key, number);
    return number === 1 ? name : `${name} (${number})`;
  }

  #register(register: () => () => void): void {
    if (this.#unloaded) {
      throw new MorendoError("MORENDO_MODULE_MISUSE", `module "${this.name}" is unloaded and cannot register anything`);
    }
    this.#undo.add(register());
  }

  /** Calls `run`; an async function given for a plain one is looked after as well. */
  #guard(what: string, run: () => unknown): void {
    try {
      const result = run();
      if (result instanceof Promise) result.catch((thrown: unknown) => this.#failed(what, thrown));
    } catch (thrown) {
      this.#failed(what, thrown);
    }
  }

  #failed(what: string, thrown: unknown): void {
    this.log.error({ err: thrown, what }, `module "${this.name}" failed at ${what}`);
  }
}

/** Gives the stopping event to `listener` and waits for all that it hands over; rejects with the first failure. */
async function runListener(
  listener: (event: ServerStopping) => unknown,
  context: PhaseContext<PhaseName>,
): Promise<void> {
  const waiting: Promise<unknown>[] = [];
  const failures: unknown[] = [];
  const { cause, reason, signal } = context;
  const waitUntil = (work: unknown): void => {
    waiting.push(Promise.resolve(work).catch((thrown: unknown) => failures.push(thrown)));
  };
  try {
    // An async listener is waited for like what it hands over.
    waitUntil(listener({ cause, reason, signal, remaining: () => context.remaining(), waitUntil }));
  } catch (thrown) {
    failures.push(thrown);
  }
  // Work that is under way may hand over more.
  for (let done = 0; done < waiting.length; done++) await waiting[done];
  if (failures.length > 0) throw failures[0];
}

function moduleStorage(store: Store, collection: string): ModuleStorage {
  return {
    get: (key) => store.get(collection, key),
    put: (key, value) => store.put(collection, key, value),
    delete: (key) => store.delete(collection, key),
    batch: (writes) =>
      store.batch(
        writes.map(([key, value]) =>
          value === undefined ? { op: "delete", collection, key } : { op: "put", collection, key, value },
        ),
      ),
    range: (prefix, limit) => store.range(collection, prefix, limit),
    append: (key, value) => store.append(collection, key, value),
    flushed: () => store.flushed(),
  };
}
