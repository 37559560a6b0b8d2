// The running parts of a server, made and joined: what each needs of the others is said here and nowhere else. Starts
// nothing; the order in which parts start and end is in server.ts.

import type { Config } from "../config/schema.ts";
import { Jid } from "../jid/jid.ts";
import type { InheritedListeners } from "../net/inherited.ts";
import { Resolver } from "../net/resolver.ts";
import { TcpNetwork } from "../net/tcp.ts";
import type { CertificateSource, Network } from "../net/transport.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { DrainReport } from "../shutdown/report.ts";
import type { PhaseContext } from "../shutdown/types.ts";
import type { Store } from "../store/store.ts";
import type { Clock } from "../util/clock.ts";
import { asError, MorendoError } from "../util/errors.ts";
import { Notifier } from "../util/events.ts";
import { HeldClock } from "../util/held-clock.ts";
import { Hooks } from "../util/hooks.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { TimerWheel } from "../util/timer-wheel.ts";
import { Accounts } from "./accounts.ts";
import { C2s } from "./c2s/c2s.ts";
import type { NotificationCatalogue } from "./catalogue.ts";
import { Evacuation } from "./evacuation.ts";
import { FateWatch } from "./fate-watch.ts";
import { MemoryGuard } from "./memory-guard.ts";
import type { ModuleOperations } from "./module-api.ts";
import { ModuleLoader } from "./module-loader.ts";
import { moduleUnloading } from "./module-unloading.ts";
import { noOperations } from "./no-operations.ts";
import type { PhaseName } from "./phases.ts";
import { StoredRosters } from "./rosters.ts";
import { type Remote, Router } from "./router.ts";
import { S2s } from "./s2s/s2s.ts";
import type { Session } from "./session.ts";
import { endSession, partSession } from "./session-ending.ts";
import { SessionTable } from "./session-table.ts";
import { Suspending } from "./suspending.ts";
import { noTraffic, type Traffic } from "./traffic.ts";
import { version } from "./version.ts";

/** A module's handler that has not settled after this time is named in the log. */
const SLOW_HANDLER_MS = 30_000;

/** The running parts of a server. */
export interface Parts {
  /** The domains served here, as they stand in addresses. */
  readonly hosts: readonly string[];
  readonly hooks: Hooks;
  readonly accounts: Accounts;
  readonly rosters: StoredRosters;
  readonly sessions: SessionTable;
  readonly notifications: Notifier<NotificationCatalogue>;
  readonly modules: ModuleLoader;
  readonly router: Router;
  readonly s2s: S2s;
  readonly c2s: C2s;
  readonly traffic: Traffic;
  readonly suspending: Suspending;
  readonly evacuation: Evacuation;
  readonly memory: MemoryGuard;
  /** Unloads all modules, in the phase `quit`: once, and so that the store still has time to close. */
  unloadModules(context: Pick<PhaseContext, "remaining">): Promise<void>;
  /** The values of the configuration have changed: what parts have computed from them is computed anew. */
  reconfigured(): void;
}

/** What the parts are made of. */
export interface PartsOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly network?: Network;
  readonly moduleFolders?: readonly URL[];
  readonly moduleBase?: string;
  readonly inherited: InheritedListeners;
  readonly clock: Clock;
  readonly random: Random;
  readonly lifecycle: Lifecycle<PhaseName>;
  readonly store: Store;
  readonly certificates: CertificateSource;
  /** What dialback keys are made from. */
  readonly secret: string;
  readonly previousReport: DrainReport | undefined;
  /** What operators can ask for; without it nobody may ask for anything by way of a module. */
  readonly operations?: ModuleOperations;
  /** How many bytes the process uses; what the system says unless told. */
  readonly memoryUsed?: () => number;
}

/** Makes the parts and joins them; starts nothing. */
export function joinParts(tools: PartsOptions): Parts {
  const { config, clock, random, log, lifecycle, store, certificates } = tools;
  const obligations = new FateWatch(lifecycle.obligations);
  const hosts = config.hosts.map(({ name }) => preparedHost(name));
  const wheel = new TimerWheel(clock);
  const pausedWheel = new TimerWheel(clock);
  const moduleClock = new HeldClock(clock);
  const network = tools.network ?? new TcpNetwork({ clock, log, inherited: tools.inherited });
  const notifications = new Notifier<NotificationCatalogue>((event, thrown) =>
    log.error({ err: asError(thrown), event }, "a listener failed"),
  );
  const hooks = new Hooks(
    (hook, module, thrown) => {
      if (modules.blame(module, `failed at ${hook}`)) {
        log.error({ err: asError(thrown), hook, module }, "a module's handler failed");
      }
    },
    {
      clock,
      afterMs: SLOW_HANDLER_MS,
      tell: (hook, module) => {
        if (modules.blame(module, `did not settle at ${hook}`)) {
          log.warn({ hook, module, afterMs: SLOW_HANDLER_MS }, "a module's handler does not settle");
        }
      },
    },
  );
  const sessions = new SessionTable();
  const traffic = noTraffic();
  const accounts = new Accounts({
    store,
    random,
    iterations: config.auth.iterations,
    removed: async (account) => {
      // While there is still a roster to say who is to be told.
      await c2s.accountRemoved(account);
      await rosters.removeAll(account);
      notifications.notify("account/removed", account);
    },
  });
  const rosters: StoredRosters = new StoredRosters({
    store,
    random,
    changed: (change) => notifications.notify("roster/changed", change),
  });
  const resolver = new Resolver({ config: config.dns, routes: config.s2s.routes, clock, random });
  const s2s: S2s = new S2s({
    config: config.s2s,
    hosts,
    clock,
    random,
    wheel: pausedWheel,
    steadyWheel: wheel,
    log: log.child({ part: "s2s" }),
    network,
    resolver,
    certificates,
    obligations,
    dialbackSecret: tools.secret,
    deliver: (stanza) => {
      traffic.fromServers[stanza.kind]++;
      return router.route(stanza);
    },
    returnToSender: (stanza, error) => router.returnToSender(stanza, error),
    returnLate: (stanza, error) => router.returnLate(stanza, error),
    journal: {
      store,
      isAvailable: (full) => {
        const session = sessions.get(full);
        return session?.open === true && session.presence !== undefined;
      },
    },
  });
  const remote: Remote = {
    send: (stanza) => {
      traffic.toServers[stanza.kind]++;
      return s2s.send(stanza);
    },
    onIqAnswer: (stanza) => s2s.onIqAnswer(stanza),
  };
  const router: Router = new Router({ hosts, sessions, accounts, hooks, remote, obligations });
  const modules: ModuleLoader = new ModuleLoader({
    hooks,
    notifications,
    store,
    rosters,
    lifecycle,
    hosts,
    clock,
    moduleClock,
    random,
    log,
    serverVersion: version,
    ...(tools.moduleFolders === undefined ? {} : { folders: tools.moduleFolders }),
    ...(tools.moduleBase === undefined ? {} : { base: tools.moduleBase }),
    previousReport: tools.previousReport,
    operations: tools.operations ?? noOperations,
    router: {
      route: (stanza, settled) =>
        settled === undefined ? router.route(stanza) : obligations.route(router, stanza, settled),
      isLocal: (jid) => router.isLocal(jid),
      accountExists: async (account: Jid) => await accounts.exists(account.local, account.domain),
      sessionsOf: (account) => [...sessions.of(account).values()],
      session: (full) => sessions.get(full),
      sessions: () => sessions.all(),
    },
  });
  const c2s: C2s = new C2s({
    config: config.c2s,
    get batch() {
      return config.shutdown.batch;
    },
    hosts,
    network,
    certificates,
    accounts,
    sessions,
    router,
    traffic,
    clock,
    random,
    wheel: pausedWheel,
    log: log.child({ part: "c2s" }),
    moduleFeatures: () => modules.streamFeatures(),
    sessionBound: (session) => notifications.notify("session/bound", session),
    sessionReachable: (session) => notifications.notify("session/available", session),
    keeping: {
      get parting() {
        if (config.shutdown.resumable === "keep") return undefined;
        return (session: Session, reason: string) =>
          partSession({ hooks, wheel, log, limitMs: config.c2s.close_timeout }, { session, reason });
      },
      returned: async (session, stanza) => {
        await hooks.run("presence/sent", { session, stanza, again: true });
      },
    },
    stanzaReferred: (session, ref, isTaken) =>
      notifications.notify(isTaken ? "stanza/taken" : "stanza/left", { session, ref }),
    sessionDetached: (session) => notifications.notify("session/detached", session),
    sessionResumed: (session) => notifications.notify("session/resumed", session),
    sessionEnding: (session, reason) =>
      endSession({ hooks, notifications, wheel, log, limitMs: config.c2s.close_timeout }, { session, reason }),
  });
  const suspending = new Suspending({
    config: config.suspend,
    get batch() {
      return config.shutdown.batch;
    },
    clock,
    log,
    lifecycle,
    c2s,
    s2s,
    store,
    wheel: pausedWheel,
    steadyWheel: wheel,
    moduleClock,
  });
  const evacuation = new Evacuation({
    clock,
    random,
    lifecycle,
    c2s,
    sessions: () => sessions.all(),
    operators: () => config.admin.accounts,
  });
  const memory = new MemoryGuard({
    limits: config.limits,
    wheel,
    log,
    lifecycle,
    c2s,
    s2s,
    used: tools.memoryUsed ?? (() => process.memoryUsage.rss()),
  });
  const reconfigured = (): void => {
    memory.reconfigured();
    accounts.iterations = config.auth.iterations;
    resolver.reconfigure({ config: config.dns, routes: config.s2s.routes });
    c2s.reconfigured();
    s2s.reconfigured();
  };
  return {
    hosts,
    hooks,
    accounts,
    rosters,
    sessions,
    notifications,
    modules,
    router,
    s2s,
    c2s,
    traffic,
    suspending,
    evacuation,
    memory,
    unloadModules: moduleUnloading({ hooks, modules, log }),
    reconfigured,
  };
}

/** The name of a host as it stands in addresses; it may be configured in the form that DNS has it in. */
function preparedHost(name: string): string {
  const host = Jid.parse(name);
  if (host === undefined || host.local !== "" || host.resource !== "") {
    throw new MorendoError("MORENDO_HOST_NAME", `hosts.name: ${JSON.stringify(name)} is not a domain`);
  }
  return host.domain;
}
