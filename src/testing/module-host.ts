// A small server around modules for their tests: the real loader, router, rosters and hooks on a store in memory and a
// clock moved by hand, with sessions that only write down what they are given. No sockets; other domains are a list.

import { Jid } from "../jid/jid.ts";
import type { HookCatalogue, NotificationCatalogue, ReferredStanza } from "../server/catalogue.ts";
import { FateWatch } from "../server/fate-watch.ts";
import type { ModuleDefinition, OperationOutcome } from "../server/module-api.ts";
import type { ModuleOptions } from "../server/module-finder.ts";
import { loadModules, type ModuleStates, saveModules } from "../server/module-handover.ts";
import { ModuleLoader } from "../server/module-loader.ts";
import type { ModulePlaces } from "../server/module-resolver.ts";
import type { ModuleLifecycle } from "../server/module-surroundings.ts";
import type { PhaseName } from "../server/phases.ts";
import { StoredRosters } from "../server/rosters.ts";
import { Router } from "../server/router.ts";
import type { Session } from "../server/session.ts";
import { endSession } from "../server/session-ending.ts";
import { SessionTable } from "../server/session-table.ts";
import type { DrainReport } from "../shutdown/report.ts";
import type { SuspendParticipant } from "../shutdown/suspend-types.ts";
import type { Fate, LifecycleState, Participant } from "../shutdown/types.ts";
import { Stanza } from "../stanza/stanza.ts";
import { MemoryStore } from "../store/memory.ts";
import { MorendoError } from "../util/errors.ts";
import { Notifier } from "../util/events.ts";
import { Hooks } from "../util/hooks.ts";
import type { Logger } from "../util/log.ts";
import { systemRandom } from "../util/random.ts";
import { TimerWheel } from "../util/timer-wheel.ts";
import { withAttrs } from "../xml/element.ts";
import { ManualClock } from "./manual-clock.ts";
import { parseElement } from "./parse-element.ts";

/** A line that was logged. */
export interface LoggedLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** A session that writes down what it is given. */
export class RecordedSession implements Session {
  readonly id: string;
  readonly jid: Jid;
  readonly account: Jid;
  /** Everything delivered, in order. */
  readonly received: Stanza[] = [];
  /** Set by a test to make `deliver` answer with a promise, as a slow client does. */
  slow: (() => Promise<void>) | undefined;
  /** Whether its client acknowledges at once what it is given; if not, the test calls `acknowledge`. */
  acknowledges = true;
  presence: Stanza | undefined;
  priority = 0;
  open = true;
  #reachable: (session: Session) => void;
  #referred: (name: "stanza/taken" | "stanza/left", referred: ReferredStanza) => void;
  /** The references of what it has not acknowledged. */
  #refs: string[] = [];

  constructor(
    jid: Jid,
    reachable: (session: Session) => void,
    referred: (name: "stanza/taken" | "stanza/left", referred: ReferredStanza) => void,
  ) {
    this.id = jid.toString();
    this.jid = jid;
    this.account = jid.bare;
    this.#reachable = reachable;
    this.#referred = referred;
  }

  setPresence(presence: Stanza | undefined): void {
    const wasReachable = this.presence !== undefined && this.priority >= 0;
    this.presence = presence;
    this.priority = Number(presence?.element.getChildText("priority") ?? 0);
    if (!wasReachable && presence !== undefined && this.priority >= 0) this.#reachable(this);
  }

  deliver(stanza: Stanza, ref?: string): void | Promise<void> {
    this.received.push(stanza);
    const wait = this.slow?.();
    if (ref !== undefined) this.#refs.push(ref);
    if (this.acknowledges) this.acknowledge();
    return wait;
  }

  /** The client acknowledges everything. */
  acknowledge(): void {
    for (const ref of this.#refs.splice(0)) this.#referred("stanza/taken", { session: this, ref });
  }

  /** Its end: what it has not acknowledged is left. */
  leave(): void {
    for (const ref of this.#refs.splice(0)) this.#referred("stanza/left", { session: this, ref });
  }

  /** Returns what was delivered since the last call, as XML text. */
  take(): string[] {
    return this.received.splice(0).map((stanza) => stanza.text);
  }
}

/** A server for the tests of modules. */
export class ModuleHost {
  readonly clock = new ManualClock();
  readonly store: MemoryStore;
  readonly sessions = new SessionTable();
  readonly logged: LoggedLine[] = [];
  /** Bare JIDs of the accounts there are. */
  readonly accounts = new Set<string>();
  /** What was sent to other domains. */
  readonly remote: Stanza[] = [];
  /** Set by a test to make sending to other domains answer with a promise. */
  slowRemote: ((stanza: Stanza) => void | Promise<void>) | undefined;
  /** Whether what is sent to other domains is proved at once; if not, the test settles it. */
  proves = true;
  /** Who takes part in the phases of the shutdown. */
  readonly participants: { readonly phase: PhaseName; readonly participant: Participant<PhaseName> }[] = [];
  /** Who takes part in suspensions, in the order of registration. */
  readonly suspending: SuspendParticipant[] = [];
  state: LifecycleState = "running";
  /** Whether the stop that the test plays is past the point of no return. */
  isPastNoReturn = false;
  /** The milliseconds that such a stop has left. */
  remaining: number | undefined;
  /** The phases of it that have ended. */
  readonly endedPhases = new Set<PhaseName>();
  /** Its report so far. */
  report: DrainReport | undefined;
  /** The operations that accounts may ask for, by bare JID. */
  readonly rights = new Map<string, ReadonlySet<string>>();
  /** What was asked for with the right to it. */
  readonly performed: { readonly who: string; readonly name: string; readonly args: unknown }[] = [];
  /** How operations end; set by a test. */
  outcome: (name: string, args: unknown) => OperationOutcome | Promise<OperationOutcome> = () => ({
    ok: true,
    result: null,
  });
  readonly hooks: Hooks;
  readonly notifications: Notifier<NotificationCatalogue>;
  readonly rosters: StoredRosters;
  readonly router: Router;
  readonly loader: ModuleLoader;
  #wheel = new TimerWheel(this.clock);
  #fates = new FateWatch({ settle: () => undefined });

  /** Serves `hosts` on `store`, with modules from `folders` beside the server's own; paths and packages are looked for from `base`. */
  constructor({
    hosts = ["a.test"],
    store = new MemoryStore(),
    ...places
  }: { readonly hosts?: readonly string[]; readonly store?: MemoryStore } & ModulePlaces = {}) {
    this.store = store;
    const log = this.#log({});
    this.hooks = new Hooks((hook, owner, thrown) =>
      log.error({ err: thrown, hook, module: owner }, "a handler failed"),
    );
    this.notifications = new Notifier((event, thrown) => log.error({ err: thrown, event }, "a listener failed"));
    this.rosters = new StoredRosters({
      store: this.store,
      random: systemRandom,
      changed: (change) => this.notifications.notify("roster/changed", change),
    });
    this.router = new Router({
      hosts,
      sessions: this.sessions,
      accounts: { exists: (local, domain) => this.accounts.has(`${local}@${domain}`) },
      hooks: this.hooks,
      remote: {
        send: (stanza) => {
          this.remote.push(stanza);
          if (this.proves) this.decide(stanza, "proved");
          return this.slowRemote?.(stanza);
        },
        onIqAnswer: () => false,
      },
      obligations: this.#fates,
    });
    this.loader = new ModuleLoader({
      hooks: this.hooks,
      notifications: this.notifications,
      store: this.store,
      rosters: this.rosters,
      lifecycle: this.#lifecycle(),
      hosts,
      clock: this.clock,
      random: systemRandom,
      log,
      serverVersion: "1.2.3",
      operations: {
        allowed: (who) => this.rights.get(who.bare.toString()) ?? new Set(),
        perform: async (who, name, args = {}) => {
          const account = who.bare.toString();
          if (this.rights.get(account)?.has(name) !== true) {
            return { ok: false, error: { code: "MORENDO_NOT_ALLOWED", message: `no right to ${name}` } };
          }
          this.performed.push({ who: account, name, args });
          return await this.outcome(name, args);
        },
      },
      ...places,
      router: {
        route: (stanza, settled) =>
          settled === undefined ? this.router.route(stanza) : this.#fates.route(this.router, stanza, settled),
        isLocal: (jid) => this.router.isLocal(jid),
        accountExists: async (account) => this.accounts.has(account.toString()),
        sessionsOf: (account) => [...this.sessions.of(account).values()],
        session: (full) => this.sessions.get(full),
        sessions: () => this.sessions.all(),
      },
    });
  }

  /** Loads modules by name with their options. */
  async load(names: readonly string[], options: ModuleOptions = {}): Promise<this> {
    await this.loader.load(names, options);
    return this;
  }

  /** Loads modules that the test defines. */
  async install(...definitions: ModuleDefinition[]): Promise<this> {
    await this.loader.install(definitions);
    return this;
  }

  /** Binds a session for the full JID, making its account if there is none. */
  bind(full: string): RecordedSession {
    const jid = jidOf(full);
    this.accounts.add(jid.bare.toString());
    const session = new RecordedSession(
      jid,
      (reachable) => this.notifications.notify("session/available", reachable),
      (name, referred) => this.notifications.notify(name, referred),
    );
    this.sessions.add(session);
    this.notifications.notify("session/bound", session);
    return session;
  }

  /** Binds a session and sends its initial presence; what it was given meanwhile is forgotten. */
  async available(full: string, presence = "<presence/>"): Promise<RecordedSession> {
    const session = this.bind(full);
    await this.send(session, presence);
    session.take();
    return session;
  }

  /** Lets a client send `xml`; resolves when the server has taken it over. */
  async send(session: RecordedSession, xml: string): Promise<void> {
    const element = parseElement(xml);
    const to = element.attrs.to === undefined ? undefined : jidOf(element.attrs.to);
    const attrs = { from: session.jid.toString(), to: to?.toString() };
    await this.router.fromClient(session, new Stanza(withAttrs(element, attrs), session.jid, to));
  }

  /** Lets another server, or anybody, send `xml`, whose `from` and `to` are believed. */
  async receive(xml: string): Promise<void> {
    await this.router.route(stanzaOf(xml));
  }

  /** Ends a session as c2s does, down to `session/ended`. */
  async end(session: RecordedSession, reason = ""): Promise<void> {
    session.open = false;
    this.sessions.remove(session);
    session.leave();
    const { hooks, notifications } = this;
    await endSession(
      { hooks, notifications, wheel: this.#wheel, log: this.#log({}), limitMs: 5_000 },
      { session, reason },
    );
  }

  /** Returns what the modules hand over for `sessions`, as it would travel. */
  async handOver(sessions: Iterable<Session>): Promise<ModuleStates> {
    return structuredClone(await saveModules(this.loader.handovers(), new Set(sessions)));
  }

  /** Gives the modules what others handed over; bind the sessions first. */
  async takeOver(states: ModuleStates): Promise<void> {
    await loadModules(this.loader.handovers(), states, this.#log({}));
  }

  /** Asks the hook `name` directly. */
  async ask<Name extends keyof HookCatalogue>(
    name: Name,
    payload: HookCatalogue[Name]["payload"],
  ): Promise<HookCatalogue[Name]["answer"] | undefined> {
    return await this.hooks.run<HookCatalogue[Name]["answer"]>(name, payload);
  }

  /** Returns what was sent to other domains since the last call, as XML text. */
  takeRemote(): string[] {
    return this.remote.splice(0).map((stanza) => stanza.text);
  }

  /** Tells whoever asked what became of a stanza that was sent to another domain. */
  decide(stanza: Stanza, fate: Fate): void {
    this.#fates.settle(stanza.to?.domain ?? "", fate, { subject: stanza });
  }

  /** Lets everything that is ready run. */
  async settle(): Promise<void> {
    await this.clock.advance(0);
  }

  /** A life that the test leads: `state` and what else it sets, and participants that only the test calls. */
  #lifecycle(): ModuleLifecycle {
    const state = (): LifecycleState => this.state;
    const isPastNoReturn = (): boolean => this.isPastNoReturn;
    const remaining = (): number | undefined => this.remaining;
    return {
      get state() {
        return state();
      },
      get isPastNoReturn() {
        return isPastNoReturn();
      },
      get remaining() {
        return remaining();
      },
      ended: (phase) => (this.endedPhases.has(phase) ? { outcome: "done" } : undefined),
      snapshot: () => this.report,
      onSuspend: (participant) => {
        this.suspending.push(participant);
        return () => {
          this.suspending.splice(this.suspending.indexOf(participant), 1);
        };
      },
      attach: (phase, participant) => {
        if (this.endedPhases.has(phase)) throw new MorendoError("MORENDO_PHASE_OVER", `phase "${phase}" has ended`);
        const entry = { phase, participant };
        this.participants.push(entry);
        return () => {
          const at = this.participants.indexOf(entry);
          if (at >= 0) this.participants.splice(at, 1);
        };
      },
    };
  }

  #log(inherited: object): Logger {
    const write = (level: LoggedLine["level"]) => (fields: object, message: string) => {
      this.logged.push({ level, fields: { ...inherited, ...fields }, message });
    };
    return {
      debug: write("debug"),
      info: write("info"),
      warn: write("warn"),
      error: write("error"),
      child: (fields) => this.#log({ ...inherited, ...fields }),
    };
  }
}

/** Reads an address that a test wrote; throws when it is none. */
export function jidOf(text: string): Jid {
  const jid = Jid.parse(text);
  if (jid === undefined) throw new Error(`${text} is not an address`);
  return jid;
}

/** Reads a stanza that a test wrote, with its addresses. */
export function stanzaOf(xml: string): Stanza {
  const element = parseElement(xml);
  const { from = "", to } = element.attrs;
  return new Stanza(element, jidOf(from), to === undefined ? undefined : jidOf(to));
}
