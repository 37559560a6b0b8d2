// The one composition root: makes the parts, joins them, starts them in order and gives each its place in the shutdown
// pipeline. No part knows more of the others than it is handed here; this file contains no protocol.

import { join } from "node:path";
import { LiveConfig } from "../config/changes.ts";
import type { Config } from "../config/schema.ts";
import { Handover, type HandoverOutcome, type Inheritance, type SpawnSuccessor } from "../handover/index.ts";
import { Jid } from "../jid/jid.ts";
import { InheritedListeners } from "../net/inherited.ts";
import { TlsContexts } from "../net/tls-contexts.ts";
import type { CertificateSource, Network, PassableSocket } from "../net/transport.ts";
import { Lifecycle, type LifecycleEvents } from "../shutdown/lifecycle.ts";
import type { DrainReport } from "../shutdown/report.ts";
import { readLastReport } from "../shutdown/report-file.ts";
import type { ResumeRequest, ResumeResult, SuspendReport, SuspendRequest } from "../shutdown/suspend-types.ts";
import type {
  CancelRequest,
  CancelResult,
  LifecycleState,
  Participant,
  PhaseContext,
  StopRequest,
} from "../shutdown/types.ts";
import type { Watchdog } from "../shutdown/watchdog.ts";
import { LmdbStore } from "../store/lmdb.ts";
import type { Store } from "../store/store.ts";
import { type Clock, systemClock } from "../util/clock.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import { type Random, systemRandom } from "../util/random.ts";
import type { Accounts } from "./accounts.ts";
import { announcePhase } from "./announce-phase.ts";
import type { ClientSession } from "./c2s/client-session.ts";
import { certificateFiles } from "./certificates.ts";
import type { EvacuateWish, Evacuation } from "./evacuation.ts";
import { KeptSessions } from "./kept-sessions.ts";
import type { ModuleDefinition, ModuleOperations } from "./module-api.ts";
import type { ModuleLoader } from "./module-loader.ts";
import { joinParts, type Parts, preparedHost } from "./parts.ts";
import { PassingOn, type RestartRequest } from "./passing-on.ts";
import { planOf } from "./phase-plan.ts";
import { type PhaseName, POINT_OF_NO_RETURN } from "./phases.ts";
import { planShutdown, type ShutdownPlan } from "./plan.ts";
import { countForPlan } from "./plan-numbers.ts";
import { Reloading, type ReloadPart, type ReloadResult } from "./reloading.ts";
import type { StoredRosters } from "./rosters.ts";
import { dialbackSecret } from "./s2s/dialback-keys.ts";
import type { JournalStatus } from "./s2s/journal.ts";
import type { JournalDesk } from "./s2s/journal-desk.ts";
import type { LinkStatus } from "./s2s/s2s.ts";
import type { Session } from "./session.ts";
import { type SuspendWish, suspendRequest } from "./suspending.ts";
import { takeOver, takeRelayedStanza } from "./taking-over.ts";
import { Teller } from "./teller.ts";
import { noTraffic, type Traffic } from "./traffic.ts";
import { version } from "./version.ts";

/** What a server is made of. Everything but the configuration and the log has the real thing as its default. */
export interface ServerOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly network?: Network;
  readonly store?: Store;
  readonly watchdog?: Watchdog;
  /** How many bytes the process uses; what the system says unless told. */
  readonly memoryUsed?: () => number;
  /** Folders to find modules in, before the server's own. */
  readonly moduleFolders?: readonly URL[];
  /**
   * What the paths and packages among the configured modules are relative to: the configuration file's folder. The
   * working directory unless given.
   */
  readonly moduleBase?: string;
  /** Loaded instead of the modules that the configuration names: nothing is looked for on the disk. */
  readonly modules?: readonly ModuleDefinition[];
  /** Used instead of the files that the configuration names. */
  readonly certificates?: CertificateSource;
  /** Comes up suspended: whoever wants in waits, or is refused, until somebody resumes it. */
  readonly suspended?: SuspendWish;
  /** What a predecessor hands over to this server, when it is started as its successor. */
  readonly inheritance?: Inheritance;
  /** Listening sockets that are open already: a predecessor's, or a service manager's. */
  readonly inherited?: InheritedListeners;
  /** What else this process listens with: it is told of with the rest, and goes to a successor. */
  readonly alongside?: Alongside;
  /** How a successor is started; as our own child unless given. */
  readonly spawnSuccessor?: SpawnSuccessor;
  /** What operators can ask for by way of modules, such as ad-hoc commands; nothing unless given. */
  readonly operations?: ModuleOperations;
  /** Where drain reports are written: the data folder unless told, nowhere with `false`. */
  readonly reportDir?: string | false;
}

/** Listening sockets beside those of the server. */
export interface Alongside {
  /** As people read it: `http 127.0.0.1:5280`. */
  readonly listening: readonly string[];
  readonly passable: readonly PassableSocket[];
}

/** What the server says of itself. */
export interface ServerStatus {
  readonly state: LifecycleState;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly version: string;
  readonly pid: number;
  readonly hosts: readonly string[];
  /** What it listens on, as people read it: `c2s 0.0.0.0:5222`. */
  readonly listening: readonly string[];
  readonly sessions: number;
  /** How many of them wait for their clients (XEP-0198). */
  readonly hibernating: number;
  /** How many of them can be resumed, after a restart or a start too, the waiting ones included. */
  readonly resumable: number;
  /** Clients' connections, logged in or not. */
  readonly connections: number;
  readonly s2s: { readonly outgoing: number; readonly incoming: number; readonly queued: number };
  /** What waits on the disk for other servers; absent without a journal. */
  readonly journal?: JournalStatus;
  /** The phase that runs, while the server goes down. */
  readonly phase?: PhaseName;
  /** The milliseconds until its deadline then, a delay included. */
  readonly remainingMs?: number;
  /** The suspension that the server is in, or on its way to: its mode, since when, and who was late. */
  readonly suspension?: SuspendReport;
  /** The last suspension that is over, or came to nothing. */
  readonly lastSuspension?: SuspendReport;
}

/** Why nobody is let in yet: the predecessor serves. */
const PREDECESSOR = "predecessor";

/** How many sessions are told something before other work has its turn. */
const ANNOUNCE_BATCH = 50;
const NEVER = new AbortController().signal;

/** An XMPP server. */
export class Server {
  readonly lifecycle: Lifecycle<PhaseName>;
  #options: ServerOptions;
  #clock: Clock;
  #random: Random;
  #log: Logger;
  #parts: Parts | undefined;
  #startedAt: number;
  #previousReport: DrainReport | undefined;
  #cancelledReport: DrainReport | undefined;
  #unloading: Promise<void> | undefined;
  #handover: Handover;
  #hasTakenOver = false;
  #inherited: InheritedListeners;
  /** What the start is to end in, if it is not to let everybody in. */
  #startsSuspended: SuspendRequest | undefined;

  #live: LiveConfig;
  #reloading: Reloading | undefined;
  #reloadParts: ReloadPart[] = [];

  constructor(options: ServerOptions) {
    const { log } = options;
    this.#live = new LiveConfig(options.config);
    const config = this.#live.current;
    this.#options = { ...options, config };
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#log = log;
    this.#startedAt = this.#clock.wallTime();
    const { reportDir = config.data, spawnSuccessor, suspended } = options;
    this.#startsSuspended = suspended && suspendRequest(config.suspend, suspended);
    this.#inherited = options.inherited ?? new InheritedListeners([]);
    this.#handover = new Handover({
      clock: this.#clock,
      log,
      limits: {
        get whole() {
          return config.restart.timeout;
        },
      },
      ...(spawnSuccessor === undefined ? {} : { spawn: spawnSuccessor }),
    });
    this.lifecycle = new Lifecycle<PhaseName>({
      plan: planOf(config.shutdown),
      pointOfNoReturn: POINT_OF_NO_RETURN,
      clock: this.#clock,
      random: this.#random,
      log,
      get budgetMs() {
        return config.shutdown.deadline;
      },
      get delayMs() {
        return config.shutdown.delay;
      },
      get hurryMs() {
        return config.shutdown.hurry;
      },
      // A successor that never served has gone down in nobody's eyes.
      ...(reportDir === false ? {} : { reportDir: () => (this.isSuperfluous ? undefined : reportDir) }),
      ...(options.watchdog === undefined ? {} : { watchdog: options.watchdog }),
    });
    this.lifecycle.on("cancelled", (report) => {
      this.#cancelledReport = report;
    });
    this.lifecycle.on("state", ({ state }) => {
      if (state === "stopping" && this.isSuperfluous) this.#vanish();
    });
  }

  /**
   * Starts everything; resolves to whether the server runs. When something cannot be started, or a stop is asked for
   * meanwhile, what had been started is taken down again by the pipeline, and the report says why.
   */
  start(): Promise<boolean> {
    const sequence = async (signal: AbortSignal): Promise<void> => {
      try {
        await this.#start(signal);
        if (this.isSuperfluous) await this.#giveBack(toldToStop(this.lifecycle.request));
      } catch (thrown) {
        if (this.isSuperfluous) await this.#giveBack(thrown);
        throw thrown;
      }
    };
    return this.lifecycle.start(sequence, () => this.#startsSuspended);
  }

  /** Stops the server: see `Lifecycle.stop`. */
  stop(request: StopRequest): Promise<DrainReport> {
    return this.lifecycle.stop(request);
  }

  /**
   * Hands the server over to a successor. Never rejects. When the outcome is `ok` this server goes down, as `lifecycle`
   * tells; otherwise it serves as before.
   */
  async restart(request: RestartRequest): Promise<HandoverOutcome> {
    const parts = this.#parts;
    if (parts === undefined) {
      return { ok: false, step: "refused", why: `the server is ${this.lifecycle.state}`, stderrTail: "" };
    }
    // What is half way to another configuration is nothing to hand over.
    await this.#reloading?.idle();
    const { lifecycle } = this;
    const handover = this.#handover;
    const passable = this.#options.alongside?.passable ?? [];
    return await new PassingOn({ ...parts, handover, lifecycle, log: this.#log, passable }).run(request);
  }

  /** Brings the server to stand still, in the configured mode and time unless told: see `Lifecycle.suspend`. */
  suspend(wish: SuspendWish): Promise<SuspendReport> {
    return this.lifecycle.suspend(suspendRequest(this.#options.config.suspend, wish));
  }

  /**
   * Sends all but operators elsewhere, or asks them to leave, at a pace, and lets nobody new in: see `Lifecycle.suspend`.
   * Resolves also to who is left when it is over, at most a hundred of them by name.
   */
  async evacuate(wish: EvacuateWish): Promise<SuspendReport & { readonly left: ReturnType<Evacuation["left"]> }> {
    const { evacuation } = this.#started();
    const report = await this.lifecycle.suspend(evacuation.request(wish));
    return { ...report, left: evacuation.left(100) };
  }

  /** Goes on after `suspend`: see `Lifecycle.resume`. */
  resume(request: ResumeRequest): Promise<ResumeResult> {
    return this.lifecycle.resume(request);
  }

  /**
   * Takes another configuration in while the server runs: certificates, bounds, rights, modules and their options, all of it
   * or nothing; options that need a new process are only named in the result. Connections live on. What is asked for while
   * another reload is under way waits for its turn. Rejects, with everything as before, with a ConfigError that lists all
   * problems, with `MORENDO_STOPPING` when the server does not serve, and with `MORENDO_RESTARTING` during a restart.
   */
  async reload(next: Config): Promise<ReloadResult> {
    if (this.#reloading === undefined) {
      const message = `the configuration cannot be reloaded: the server is ${this.lifecycle.state}`;
      throw new MorendoError("MORENDO_STOPPING", message);
    }
    return await this.#reloading.run(next);
  }

  /** Makes something outside the server a part of every reload. */
  alsoReload(part: ReloadPart): void {
    this.#reloadParts.push(part);
  }

  /** The configuration in force: its values change with every reload. */
  get config(): Config {
    return this.#live.current;
  }

  /** The process that has taken over from this one, if one has. */
  get passedTo(): number | undefined {
    return this.#handover.passedTo;
  }

  /** Whether this is a successor to whom the service has not been passed on, yet or at all: somebody else serves. */
  get isSuperfluous(): boolean {
    return this.#options.inheritance !== undefined && !this.#hasTakenOver;
  }

  /** Brings the server back from a stop that has not closed sessions yet: see `Lifecycle.cancel`. */
  cancel(request: CancelRequest): Promise<CancelResult> {
    return this.lifecycle.cancel(request);
  }

  /** How the last run before this start ended, as far as the data folder tells; read when the server starts. */
  get previousReport(): DrainReport | undefined {
    return this.#previousReport;
  }

  /** The last run of the pipeline that is known of: this process's, a cancelled one too, or the one before this start. */
  get lastReport(): DrainReport | undefined {
    return this.lifecycle.report ?? this.#cancelledReport ?? this.#previousReport;
  }

  /** The modules; present once the server has started. */
  get modules(): ModuleLoader {
    return this.#started().modules;
  }

  /** What operators can do with what waits for other servers; undefined without a journal. */
  get journal(): JournalDesk | undefined {
    return this.#parts?.s2s.journalDesk;
  }

  /** The accounts; present once the server has started. */
  get accounts(): Accounts {
    return this.#started().accounts;
  }

  /** All bound sessions, in no order; none before the server has started. */
  sessions(): Iterable<Session> {
    return this.#parts?.sessions.all() ?? [];
  }

  /** Every link to another server; none before the server has started. */
  links(): readonly LinkStatus[] {
    return this.#parts?.s2s.links() ?? [];
  }

  /** How many stanzas have gone by since the start of the process. */
  get traffic(): Traffic {
    return this.#parts?.traffic ?? noTraffic();
  }

  /** The delay of a stop that is not asked for with another. */
  get delayMs(): number {
    return this.#options.config.shutdown.delay;
  }

  /**
   * Tells every available session something, or those of one host, as a headline from its host (XEP-0133 §4.23). Resolves
   * to how many, without waiting for clients that are slow to read. Rejects with `MORENDO_NO_HOST` for a host that is not
   * served here.
   */
  async announce(text: string, host?: string): Promise<{ readonly told: number }> {
    const { config } = this.#options;
    const { sessions } = this.#started();
    const domain = host === undefined ? undefined : (Jid.parse(host)?.domain ?? host);
    const hosts = config.hosts.map(({ name }) => preparedHost(name));
    if (domain !== undefined && !hosts.includes(domain)) {
      const message = `${host} is not served here; the hosts are ${hosts.join(", ")}`;
      throw new MorendoError("MORENDO_NO_HOST", message);
    }
    const teller = new Teller({ clock: this.#clock, random: this.#random, batch: ANNOUNCE_BATCH });
    const isMeant = ({ presence, account }: Session): boolean =>
      presence !== undefined && (domain === undefined || account.domain === domain);
    const told = await teller.tell({
      sessions: [...sessions.all()].filter(isMeant),
      text: () => text,
      signal: NEVER,
    });
    return { told };
  }

  /** Ends the session of a full JID, or all of an account: see `C2s.endSessions`. */
  endSessions(jid: Jid, reason: string): Promise<number> {
    return this.#started().c2s.endSessions(jid, reason);
  }

  /** The rosters; present once the server has started. */
  get rosters(): StoredRosters {
    return this.#started().rosters;
  }

  /** Returns what the server says of itself, in any state. */
  status(): ServerStatus {
    const parts = this.#parts;
    const phase = this.lifecycle.progress?.phase;
    const { suspension, lastSuspension, remaining } = this.lifecycle;
    return {
      state: this.lifecycle.state,
      startedAt: new Date(this.#startedAt).toISOString(),
      version,
      pid: process.pid,
      hosts: this.#options.config.hosts.map(({ name }) => name),
      listening: [
        ...(parts?.c2s.listening ?? []).map((address) => `c2s ${address}`),
        ...(parts?.s2s.listening ?? []).map((address) => `s2s ${address}`),
        ...(this.#options.alongside?.listening ?? []),
      ],
      sessions: parts?.sessions.size ?? 0,
      hibernating: parts?.c2s.hibernating ?? 0,
      resumable: parts?.c2s.resumable ?? 0,
      connections: parts?.c2s.connections ?? 0,
      s2s: parts?.s2s.status() ?? { outgoing: 0, incoming: 0, queued: 0 },
      ...(parts?.s2s.journal === undefined ? {} : { journal: parts.s2s.journal }),
      ...(phase === undefined ? {} : { phase }),
      ...(remaining === undefined ? {} : { remainingMs: Math.round(remaining) }),
      ...(suspension === undefined ? {} : { suspension }),
      ...(lastSuspension === undefined ? {} : { lastSuspension }),
    };
  }

  /**
   * Returns what a stop would do now; changes nothing. It reads the rosters of users who are online. Rejects with
   * `MORENDO_STOPPING` when there is nothing to plan any more.
   */
  async plan(): Promise<ShutdownPlan> {
    const { lifecycle } = this;
    const { state } = lifecycle;
    if (state !== "running")
      throw new MorendoError("MORENDO_STOPPING", `there is nothing to plan: the server is ${state}`);
    const { sessions, rosters, c2s, s2s } = this.#started();
    const { shutdown } = this.#options.config;
    const hosts = new Set(this.#options.config.hosts.map(({ name }) => preparedHost(name)));
    const numbers = await countForPlan({
      hosts,
      sessions,
      rosters,
      notLoggedIn: c2s.strangers,
      resumable: c2s.resumable,
      isToldOf: (session) => shutdown.resumable === "end" || !c2s.isResumable(session),
      links: s2s.links(),
      owed: s2s.status().queued,
      clock: this.#clock,
    });
    return planShutdown({
      state,
      plan: planOf(shutdown),
      budgetMs: shutdown.deadline,
      delayMs: shutdown.delay,
      participants: (phase) => lifecycle.participants(phase),
      numbers,
      previous: this.#previousReport,
    });
  }

  /** Calls `listener` at each event of the life cycle; the returned function stops that. */
  on<Name extends keyof LifecycleEvents<PhaseName> & string>(
    event: Name,
    listener: (payload: LifecycleEvents<PhaseName>[Name]) => void,
  ): () => void {
    return this.lifecycle.on(event, listener);
  }

  /** Everything is ready: waits until the predecessor has passed the service on, and then lets everybody in. */
  async #serveInstead(
    inheritance: Inheritance,
    { c2s, s2s, router }: Parts,
    takenOver: readonly ClientSession[],
  ): Promise<void> {
    c2s.pauseListening(PREDECESSOR);
    await inheritance.serving((value) => takeRelayedStanza(value, (stanza) => router.route(stanza)));
    this.#hasTakenOver = true;
    for (const session of takenOver) session.wake();
    c2s.keepBounds();
    s2s.resumeListening(PREDECESSOR);
    c2s.resumeListening(PREDECESSOR);
    // At the next restart what it still passes on goes through us to our own successor.
    this.lifecycle.attach("drain-s2s", {
      name: "predecessor",
      run: ({ cause }) => (cause === "restart" ? inheritance.predecessorGone() : undefined),
    });
  }

  /** What was taken over is the predecessor's again, which is told why. */
  async #giveBack(why: unknown): Promise<void> {
    this.#parts?.c2s.forgetAll();
    await this.#options.inheritance?.failed(why);
  }

  /**
   * Goes down without anybody noticing: neither clients and contacts nor, by way of a module, anybody else. Only what this
   * process holds itself is let go of.
   */
  #vanish(): void {
    this.#parts?.c2s.forgetAll();
    this.lifecycle.skipToEnd("it never served");
  }

  #started(): Parts {
    if (this.#parts === undefined) throw new MorendoError("MORENDO_NOT_STARTED", "the server has not been started");
    return this.#parts;
  }

  // Each step attaches what takes it down before the next begins, so that a start that ends early leaves nothing behind.
  async #start(signal: AbortSignal): Promise<void> {
    const { config } = this.#options;
    const { lifecycle } = this;
    this.#previousReport = this.#readPreviousReport();
    const store =
      this.#options.store ??
      (await LmdbStore.open({ path: join(config.data, "store"), clock: this.#clock, log: this.#log }));
    lifecycle.attach("quit", {
      name: "store",
      run: async (context) => {
        await this.#unloadModules(context);
        await store.close();
      },
    });
    if (signal.aborted) return;

    const tools = { clock: this.#clock, random: this.#random, log: this.#log };
    const certificates = this.#options.certificates ?? (await certificatesFromFiles(config, tools));
    const secret = await dialbackSecret(store, this.#random);
    const previousReport = this.#previousReport;
    const inherited = this.#inherited;
    const parts = joinParts({
      ...this.#options,
      ...tools,
      inherited,
      lifecycle,
      store,
      certificates,
      secret,
      previousReport,
    });
    this.#parts = parts;
    this.#reloading = this.#reloadingOf(parts, certificates);
    if (this.#startsSuspended !== undefined) parts.suspending.begin(this.#startsSuspended);
    if (signal.aborted) return;

    lifecycle.attach("quit", { name: "modules", run: (context) => this.#unloadModules(context) });
    lifecycle.section("modules", () => parts.modules.faults());
    lifecycle.on("state", ({ state, request }) => {
      const why = request === undefined ? {} : { cause: request.cause, reason: request.reason };
      parts.notifications.notify("lifecycle/state", { state, ...why });
    });
    const { modules } = this.#options;
    if (modules === undefined) await parts.modules.load(config.modules, config.module);
    else await parts.modules.install(modules, config.module);
    if (signal.aborted) return;

    const { inheritance } = this.#options;
    const kept = new KeptSessions({ ...parts, ...tools, store });
    lifecycle.attach("quit", {
      name: "c2s",
      when: "before",
      run: (context) => this.#partFromClients(context, parts, kept),
    });
    const takenOver = inheritance && (await takeOver({ ...parts, inheritance, log: this.#log }));
    if (takenOver?.suspended !== undefined) {
      this.#startsSuspended = takenOver.suspended;
      parts.suspending.begin(takenOver.suspended);
    }
    if (takenOver === undefined) await kept.take();
    if (signal.aborted) return;

    lifecycle.attach("drain-s2s", { name: "s2s", run: (context) => parts.s2s.drain(context) });
    lifecycle.attach("quit", { name: "s2s", when: "before", run: (context) => parts.s2s.end(context.remaining() / 4) });
    lifecycle.section("journal", () => parts.s2s.journal);
    if (config.s2s.enabled) await parts.s2s.start();
    // The predecessor serves until it has said otherwise.
    if (inheritance !== undefined) parts.s2s.pauseListening(PREDECESSOR);
    if (signal.aborted) return;
    if (takenOver === undefined) await kept.begin();
    if (signal.aborted) return;

    lifecycle.attach("announce", this.#announcePhase(parts));
    lifecycle.attach("stop-accepting", {
      name: "c2s",
      run: (context) => parts.c2s.stopAccepting(context),
      cancelled: () => parts.c2s.resumeAccepting(),
    });
    lifecycle.attach("close-sessions", { name: "c2s", run: (context) => parts.c2s.closeSessions(context) });
    lifecycle.section("sessions", () => parts.c2s.closed);
    await parts.c2s.start();
    parts.memory.begin();
    if (inheritance !== undefined && signal.aborted) return;
    if (inheritance !== undefined) await this.#serveInstead(inheritance, parts, takenOver?.sessions ?? []);
    const unclaimed = await this.#inherited.closeUnclaimed();
    if (unclaimed.length > 0)
      this.#log.info({ unclaimed }, "inherited sockets that nobody listens on any more are closed");
    parts.notifications.notify("server-started", undefined);
    void this.#goOnAlone(parts);
  }

  /** What waits for other servers, and for others to tell, is in the hands of the predecessor until it has gone. Never rejects. */
  async #goOnAlone({ s2s, notifications }: Parts): Promise<void> {
    await this.#options.inheritance?.predecessorGone();
    notifications.notify("server-alone", undefined);
    await s2s.takeUpJournal();
  }

  /** What is kept of their sessions is written when nothing comes back from other servers any more. */
  async #partFromClients(context: PhaseContext, { c2s, s2s }: Parts, kept: KeptSessions): Promise<void> {
    await s2s.end(context.remaining() / 4);
    try {
      if (context.cause === "stop" && !this.isSuperfluous) await kept.save(context.remaining());
    } finally {
      await c2s.destroy();
    }
  }

  #announcePhase({ c2s, sessions }: Parts): Participant<PhaseName> {
    return announcePhase({
      clock: this.#clock,
      sessions: () => sessions.all(),
      connected: () => sessions.size - c2s.hibernating,
      isWaiting: (session) => c2s.isHibernating(session),
      endDelay: (why) => this.lifecycle.endDelay(why),
    });
  }

  /** Once, and so that the store still has time to close. */
  #unloadModules(context: PhaseContext): Promise<void> {
    if (this.#parts === undefined) return Promise.resolve();
    const { modules, hooks } = this.#parts;
    const reserve = context.remaining() / 2;
    if (this.#unloading === undefined) {
      for (const { hook, owner } of hooks.waitingFor()) {
        if (!modules.blame(owner, `had not settled at ${hook}`)) continue;
        this.#log.warn({ hook, module: owner }, "a module's handler has not settled");
      }
      hooks.close();
      this.#unloading = modules.unloadAll(() => Math.max(0, context.remaining() - reserve));
    }
    return this.#unloading;
  }

  #reloadingOf(parts: Parts, certificates: CertificateSource): Reloading {
    let changedCertificates: readonly string[] = [];
    const tools = { clock: this.#clock, random: this.#random, log: this.#log };
    this.#reloadParts.unshift({
      prepare: async (next) => {
        if (!(certificates instanceof TlsContexts)) return () => undefined;
        const hosts = await certificateFiles({ data: this.config.data, hosts: this.#live.hostsWith(next) }, tools);
        const prepared = await certificates.prepare({ hosts, trustedRoots: next.s2s.trusted_roots });
        changedCertificates = prepared.changed;
        return () => prepared.use();
      },
    });
    return new Reloading({
      live: this.#live,
      modules: parts.modules,
      hasOwnModules: this.#options.modules === undefined,
      parts: this.#reloadParts,
      changedCertificates: () => changedCertificates,
      reconfigured: () => parts.reconfigured(),
      state: () => this.lifecycle.state,
      isRestarting: () => this.#handover.step !== undefined || this.passedTo !== undefined,
      log: this.#log,
    });
  }

  #readPreviousReport(): DrainReport | undefined {
    const { config, reportDir = config.data } = this.#options;
    if (reportDir === false) return undefined;
    try {
      return readLastReport(reportDir);
    } catch (thrown) {
      this.#log.warn({ err: asError(thrown) }, "how the last run ended cannot be told");
      return undefined;
    }
  }
}

/** Why a successor ends that was told to: by a signal, or by an error that nobody caught. */
function toldToStop(request: StopRequest | undefined): Error {
  if (request?.error !== undefined) return request.error;
  const why = request === undefined ? "" : `: ${request.reason}`;
  return new MorendoError("MORENDO_STOPPING", `the successor was told to stop${why}`);
}

async function certificatesFromFiles(
  config: Config,
  tools: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
): Promise<TlsContexts> {
  const hosts = await certificateFiles(config, tools);
  return await TlsContexts.load({ hosts, trustedRoots: config.s2s.trusted_roots, ...tools });
}
