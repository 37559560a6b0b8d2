// The one composition root: has the parts made (parts.ts), starts them in order (`#start`) and gives each its place in the
// shutdown pipeline; and what the doors and the program can ask of all that. No part knows more of the others than it is
// handed; this file contains no protocol.

import { join } from "node:path";
import { LiveConfig } from "../config/changes.ts";
import type { Config } from "../config/schema.ts";
import { Handover, type HandoverOutcome } from "../handover/index.ts";
import type { Jid } from "../jid/jid.ts";
import { InheritedListeners } from "../net/inherited.ts";
import type { CertificateSource } from "../net/transport.ts";
import { Lifecycle } from "../shutdown/lifecycle.ts";
import type { LifecycleEvents } from "../shutdown/lifecycle-types.ts";
import type { DrainReport } from "../shutdown/report.ts";
import { readLastReport } from "../shutdown/report-file.ts";
import type { ResumeRequest, ResumeResult, SuspendReport, SuspendRequest } from "../shutdown/suspend-types.ts";
import type { CancelRequest, CancelResult, PhaseContext, StopRequest } from "../shutdown/types.ts";
import { LmdbStore } from "../store/lmdb.ts";
import type { Store } from "../store/store.ts";
import { type Clock, systemClock } from "../util/clock.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import { type Random, systemRandom } from "../util/random.ts";
import type { Accounts } from "./accounts.ts";
import { announcePhase } from "./announce-phase.ts";
import { announce } from "./announcing.ts";
import { CertificateReload, loadCertificates } from "./certificates.ts";
import type { EvacuateWish, Evacuation } from "./evacuation.ts";
import { KeptSessions } from "./kept-sessions.ts";
import type { ModuleLoader } from "./module-loader.ts";
import { joinParts, type Parts } from "./parts.ts";
import { PassingOn, type RestartRequest } from "./passing-on.ts";
import { planOf } from "./phase-plan.ts";
import { type PhaseName, POINT_OF_NO_RETURN } from "./phases.ts";
import type { ShutdownPlan } from "./plan.ts";
import { planNow } from "./planning.ts";
import { Reloading, type ReloadPart, type ReloadResult } from "./reloading.ts";
import type { StoredRosters } from "./rosters.ts";
import { dialbackSecret } from "./s2s/dialback-keys.ts";
import type { JournalDesk } from "./s2s/journal-desk.ts";
import type { LinkStatus } from "./s2s/links.ts";
import type { ServerOptions } from "./server-options.ts";
import type { Session } from "./session.ts";
import { type ServerStatus, statusOf } from "./status.ts";
import { type SuspendWish, suspendRequest } from "./suspending.ts";
import { TakingOver } from "./taking-over.ts";
import { noTraffic, type Traffic } from "./traffic.ts";

export type { ServerStatus } from "./status.ts";

/** An XMPP server. */
export class Server {
  readonly lifecycle: Lifecycle<PhaseName>;
  #options: ServerOptions;
  #tools: { readonly clock: Clock; readonly random: Random; readonly log: Logger };
  #live: LiveConfig;
  #startedAt: number;
  #inherited: InheritedListeners;
  #handover: Handover;
  /** The start as somebody's successor. */
  #takingOver: TakingOver | undefined;
  /** What the start is to end in, if it is not to let everybody in. */
  #startsSuspended: SuspendRequest | undefined;
  #parts: Parts | undefined;
  #reloading: Reloading | undefined;
  #reloadParts: ReloadPart[] = [];
  #previousReport: DrainReport | undefined;
  #cancelledReport: DrainReport | undefined;

  constructor(options: ServerOptions) {
    const { log, clock = systemClock, random = systemRandom } = options;
    this.#live = new LiveConfig(options.config);
    const config = this.#live.current;
    const { reportDir = config.data, inheritance, spawnSuccessor, suspended } = options;
    this.#options = { ...options, config, reportDir };
    this.#tools = { clock, random, log };
    this.#startedAt = clock.wallTime();
    this.#inherited = options.inherited ?? new InheritedListeners([]);
    this.#startsSuspended = suspended && suspendRequest(config.suspend, suspended);
    this.#handover = new Handover({
      clock,
      log,
      limits: {
        get whole() {
          return config.restart.timeout;
        },
      },
      ...(spawnSuccessor === undefined ? {} : { spawn: spawnSuccessor }),
    });
    this.lifecycle = new Lifecycle<PhaseName>({
      ...this.#tools,
      plan: planOf(config.shutdown),
      pointOfNoReturn: POINT_OF_NO_RETURN,
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
    this.#takingOver = inheritance && new TakingOver({ inheritance, lifecycle: this.lifecycle, log });
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
        if (this.isSuperfluous) await this.#takingOver?.giveBack(this.#parts?.c2s);
      } catch (thrown) {
        if (this.isSuperfluous) await this.#takingOver?.giveBack(this.#parts?.c2s, thrown);
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
    return await new PassingOn({ ...parts, handover, lifecycle, log: this.#tools.log, passable }).run(request);
  }

  /** Brings the server to stand still, in the configured mode and time unless told: see `Lifecycle.suspend`. */
  suspend(wish: SuspendWish): Promise<SuspendReport> {
    return this.lifecycle.suspend(suspendRequest(this.config.suspend, wish));
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
    return this.#takingOver?.isDone === false;
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
    return this.config.shutdown.delay;
  }

  /**
   * Tells every available session something, or those of one host, as a headline from its host (XEP-0133 §4.23). Resolves
   * to how many, without waiting for clients that are slow to read. Rejects with `MORENDO_NO_HOST` for a host that is not
   * served here.
   */
  async announce(text: string, host?: string): Promise<{ readonly told: number }> {
    return { told: await announce({ ...this.#tools, ...this.#started() }, text, host) };
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
    return statusOf({
      lifecycle: this.lifecycle,
      startedAt: this.#startedAt,
      hosts: this.config.hosts.map(({ name }) => name),
      parts: this.#parts,
      alongside: this.#options.alongside?.listening ?? [],
    });
  }

  /**
   * Returns what a stop would do now; changes nothing. It reads the rosters of users who are online. Rejects with
   * `MORENDO_STOPPING` when there is nothing to plan any more.
   */
  async plan(): Promise<ShutdownPlan> {
    const { state } = this.lifecycle;
    if (state !== "running") {
      throw new MorendoError("MORENDO_STOPPING", `there is nothing to plan: the server is ${state}`);
    }
    return await planNow({
      config: this.config.shutdown,
      clock: this.#tools.clock,
      lifecycle: this.lifecycle,
      parts: this.#started(),
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

  /**
   * The order of a start. Each step attaches what takes it down before the next begins, so that a start that ends early leaves
   * nothing behind; a stop that is asked for meanwhile ends it after the step under way.
   */
  async #start(signal: AbortSignal): Promise<void> {
    const takingOver = this.#takingOver;
    this.#previousReport = this.#readPreviousReport();
    const store = await this.#openStore();
    if (signal.aborted) return;
    const parts = await this.#makeParts(store);
    if (signal.aborted) return;
    await this.#loadModules(parts);
    if (signal.aborted) return;
    const kept = new KeptSessions({ ...parts, ...this.#tools, store });
    const hasTakenOver = await this.#takeSessions(parts, kept);
    if (signal.aborted) return;
    await this.#startServers(parts);
    if (signal.aborted) return;
    if (!hasTakenOver) await kept.begin();
    if (signal.aborted) return;
    await this.#startClients(parts);
    if (takingOver !== undefined && signal.aborted) return;
    await takingOver?.serve(parts);
    const unclaimed = await this.#inherited.closeUnclaimed();
    if (unclaimed.length > 0) {
      this.#tools.log.info({ unclaimed }, "inherited sockets that nobody listens on any more are closed");
    }
    parts.notifications.notify("server-started", undefined);
    void this.#goOnAlone(parts);
  }

  async #openStore(): Promise<Store> {
    const path = join(this.config.data, "store");
    const store = this.#options.store ?? (await LmdbStore.open({ path, ...this.#tools }));
    this.lifecycle.attach("quit", {
      name: "store",
      run: async (context) => {
        // What the disk is busy with for the journal has its fate when the store is closed, or when there is no more time.
        const abandon = (): void => this.#parts?.s2s.abandonJournal();
        context.signal.addEventListener("abort", abandon);
        try {
          await this.#parts?.unloadModules(context);
          await store.close();
          await this.#parts?.s2s.journalIdle();
        } finally {
          context.signal.removeEventListener("abort", abandon);
          abandon();
        }
      },
    });
    return store;
  }

  async #makeParts(store: Store): Promise<Parts> {
    const { config, lifecycle } = this;
    const certificates = this.#options.certificates ?? (await loadCertificates(config, this.#tools));
    const secret = await dialbackSecret(store, this.#tools.random);
    const parts = joinParts({
      ...this.#options,
      ...this.#tools,
      inherited: this.#inherited,
      lifecycle,
      store,
      certificates,
      secret,
      previousReport: this.#previousReport,
    });
    this.#parts = parts;
    this.#reloading = this.#makeReloading(parts, certificates);
    if (this.#startsSuspended !== undefined) parts.suspending.begin(this.#startsSuspended);
    return parts;
  }

  #makeReloading(parts: Parts, certificates: CertificateSource): Reloading {
    return new Reloading({
      live: this.#live,
      modules: parts.modules,
      hasOwnModules: this.#options.modules === undefined,
      certificates: new CertificateReload({ live: this.#live, certificates, ...this.#tools }),
      parts: this.#reloadParts,
      reconfigured: () => parts.reconfigured(),
      state: () => this.lifecycle.state,
      isRestarting: () => this.#handover.step !== undefined || this.passedTo !== undefined,
      log: this.#tools.log,
    });
  }

  async #loadModules({ modules, notifications, unloadModules }: Parts): Promise<void> {
    const { lifecycle, config } = this;
    lifecycle.attach("quit", { name: "modules", run: unloadModules });
    lifecycle.section("modules", () => modules.faults());
    lifecycle.on("state", ({ state, request }) => {
      const why = request === undefined ? {} : { cause: request.cause, reason: request.reason };
      notifications.notify("lifecycle/state", { state, ...why });
    });
    const { modules: own } = this.#options;
    if (own === undefined) await modules.load(config.modules, config.module);
    else await modules.install(own, config.module);
  }

  /** Tells whether they were the predecessor's, and not those that the last run kept. */
  async #takeSessions(parts: Parts, kept: KeptSessions): Promise<boolean> {
    this.lifecycle.attach("quit", {
      name: "c2s",
      when: "before",
      run: (context) => this.#partFromClients(context, parts, kept),
    });
    const takenOver = await this.#takingOver?.take(parts);
    if (takenOver?.suspended !== undefined) {
      this.#startsSuspended = takenOver.suspended;
      parts.suspending.begin(takenOver.suspended);
    }
    if (takenOver === undefined) await kept.take();
    else await kept.drop();
    return takenOver !== undefined;
  }

  async #startServers({ s2s }: Parts): Promise<void> {
    const { lifecycle } = this;
    lifecycle.attach("drain-s2s", { name: "s2s", run: (context) => s2s.drain(context) });
    lifecycle.attach("quit", { name: "s2s", when: "before", run: (context) => s2s.end(context.remaining() / 4) });
    lifecycle.section("journal", () => s2s.journal);
    if (this.config.s2s.enabled) await s2s.start();
    // The predecessor serves until it has said otherwise.
    this.#takingOver?.keepClosed(s2s);
  }

  async #startClients({ c2s, sessions, memory }: Parts): Promise<void> {
    const { lifecycle } = this;
    lifecycle.attach("announce", announcePhase({ clock: this.#tools.clock, lifecycle, sessions, c2s }));
    lifecycle.attach("stop-accepting", {
      name: "c2s",
      run: (context) => c2s.stopAccepting(context),
      cancelled: () => c2s.resumeAccepting(),
    });
    lifecycle.attach("close-sessions", { name: "c2s", run: (context) => c2s.closeSessions(context) });
    lifecycle.section("sessions", () => c2s.closed);
    await c2s.start();
    memory.begin();
  }

  /** What waits for other servers, and for others to tell, is in the hands of the predecessor until it has gone. Never rejects. */
  async #goOnAlone({ s2s, notifications }: Parts): Promise<void> {
    await this.#takingOver?.predecessorGone();
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

  #readPreviousReport(): DrainReport | undefined {
    const { reportDir = false } = this.#options;
    if (reportDir === false) return undefined;
    try {
      return readLastReport(reportDir);
    } catch (thrown) {
      this.#tools.log.warn({ err: asError(thrown) }, "how the last run ended cannot be told");
      return undefined;
    }
  }
}
