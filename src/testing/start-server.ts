// A real server inside a test's own process: the sockets, modules and shutdown that operators get, on free loopback ports
// with a temporary data folder. `await using` stops it and checks that nothing of it is left.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { z } from "zod";
import { type Config, configSchema } from "../config/schema.ts";
import { Jid } from "../jid/jid.ts";
import { TcpNetwork } from "../net/tcp.ts";
import { accountsPort } from "../operations/accounts-port.ts";
import { Operations } from "../operations/operations.ts";
import { Rights } from "../operations/rights.ts";
import { operationTable } from "../operations/table.ts";
import { UserAdmin } from "../operations/user-admin.ts";
import type { PhaseName } from "../server/phases.ts";
import type { ReloadResult } from "../server/reloading.ts";
import { Server, type ServerStatus } from "../server/server.ts";
import type { ServerOptions } from "../server/server-options.ts";
import type { LifecycleEvents } from "../shutdown/lifecycle-types.ts";
import type { PhaseProgress } from "../shutdown/phase-progress.ts";
import type { DrainReport } from "../shutdown/report.ts";
import type { StopRequest } from "../shutdown/types.ts";
import { MemoryStore } from "../store/memory.ts";
import type { Store } from "../store/store.ts";
import { systemClock } from "../util/clock.ts";
import { MorendoError } from "../util/errors.ts";
import { silentLog } from "../util/log.ts";
import { ServerWatch } from "./leaks/server-watch.ts";
import { assertNothingLeft } from "./leaks/stock.ts";
import { ManualClock } from "./manual-clock.ts";
import { RawClient, type RawClientOptions } from "./raw-client.ts";
import type { ScriptedPeer } from "./scripted-peer.ts";

/** The password of every account that is given none. */
export const PASSWORD = "orchard";

const NO_FILE = "a server inside a test's process has no configuration file: use TestServer.reload";
const NO_RESTART = "a server inside a test's process has no program to start again";

/** The sections of the configuration, as in the file; each option has the default that it has there. */
export type TestConfig = z.input<typeof configSchema>;

/** What is different about a server in a test. */
export interface StartServerOptions extends Partial<Omit<ServerOptions, "config" | "store">> {
  /** Accounts on the first host, with their passwords or with `PASSWORD`; `romeo` and `juliet` unless told. */
  readonly accounts?: readonly string[] | Readonly<Record<string, string>>;
  /** `memory` unless told; `lmdb` is in the data folder. */
  readonly store?: "memory" | "lmdb" | Store;
  /** Other servers, started already: each learns where the other is. TLS between them is not required if one has none. */
  readonly peers?: readonly ScriptedPeer[];
  /** `false`: what is left after the end is nobody's business. */
  readonly checkLeaks?: boolean;
}

/** The ports a server listens on. */
export interface ServerPorts {
  /** Clients, with STARTTLS. */
  readonly c2s: number;
  /** Clients, with TLS at once. */
  readonly c2sTls: number;
  readonly s2s: number;
}

/**
 * Starts a server for `a.test`, unless the configuration names other hosts, on free ports of 127.0.0.1. Rejects when it
 * does not start, with the reason.
 */
export async function startServer(config: TestConfig = {}, options: StartServerOptions = {}): Promise<TestServer> {
  const { accounts = ["romeo", "juliet"], peers = [], store = "memory", checkLeaks = true, ...rest } = options;
  const folder = config.data === undefined ? await mkdtemp(join(tmpdir(), "morendo-test-")) : undefined;
  const data = config.data ?? join(folder ?? "", "data");
  const watch = new ServerWatch({
    clock: rest.clock ?? systemClock,
    network: rest.network ?? new TcpNetwork({ clock: rest.clock ?? systemClock, log: silentLog }),
    folder: data,
  });
  if (!checkLeaks) watch.close();
  const stored = typeof store === "object" ? store : store === "memory" ? new MemoryStore() : undefined;
  const parsed = completed(config, data, peers);
  const hosts = parsed.hosts.map(({ name }) => name);
  const operations = new Operations({
    table: () =>
      operationTable({
        server,
        users: new UserAdmin({ accounts: accountsPort(() => server), hosts }),
        reload: () => Promise.reject(new MorendoError("MORENDO_CONFIG_INVALID", NO_FILE)),
        restart: () => Promise.resolve({ ok: false, step: "refused", why: NO_RESTART, stderrTail: "" }),
      }),
    log: rest.log ?? silentLog,
  });
  const rights = new Rights(parsed.admin);
  const server: Server = new Server({
    log: silentLog,
    operations: operations.forModules(rights),
    ...rest,
    ...(stored === undefined ? {} : { store: stored }),
    clock: watch.clock,
    network: watch.network,
    config: parsed,
  });
  const started = new TestServer({ server, config: parsed, options, folder, watch: checkLeaks ? watch : undefined });
  server.alsoReload({ prepare: (next) => () => rights.replace(next.admin) });
  if (!(await server.start())) {
    const { error = "a stop was asked for" } = await whileTimeGoesOn(started.stop(), rest.clock, 50);
    await started.dispose();
    throw new Error(`the server did not start: ${error}`);
  }
  const pairs = isNames(accounts) ? accounts.map((name) => [name, PASSWORD] as const) : Object.entries(accounts);
  for (const [name, password] of pairs) await started.addAccount(name, password);
  for (const peer of peers) {
    for (const { name } of parsed.hosts) peer.routes.set(name, `127.0.0.1:${started.ports.s2s}`);
  }
  return started;
}

interface Made {
  readonly server: Server;
  readonly config: Config;
  readonly options: StartServerOptions;
  /** The temporary folder to be removed, if it was made here. */
  readonly folder: string | undefined;
  readonly watch: ServerWatch | undefined;
}

/** A running server and the ways to it. */
export class TestServer {
  /** The server itself, with everything it can do. */
  readonly server: Server;
  /** Its configuration, complete. */
  readonly config: Config;
  #made: Made;
  #clients: RawClient[] = [];
  #disposed: Promise<void> | undefined;

  /** Use `startServer`. @internal */
  constructor(made: Made) {
    this.#made = made;
    this.server = made.server;
    this.config = made.config;
  }

  /** The first host. */
  get domain(): string {
    return this.config.hosts[0]?.name ?? "";
  }

  /** Its data folder. */
  get data(): string {
    return this.config.data;
  }

  /** The ports it listens on now; 0 where it does not. */
  get ports(): ServerPorts {
    const { listening } = this.status;
    const port = (kind: string): number =>
      Number(
        listening
          .find((text) => text.startsWith(`${kind} `))
          ?.split(":")
          .at(-1) ?? 0,
      );
    return { c2s: port("c2s"), c2sTls: port("c2s-tls"), s2s: port("s2s") };
  }

  /** What it says of itself. */
  get status(): ServerStatus {
    return this.server.status();
  }

  /** The report of its last run of the pipeline, once that is over. */
  get report(): DrainReport | undefined {
    return this.server.lifecycle.report;
  }

  /** Calls `listener` at each event of its life cycle; the returned function stops that. */
  on<Name extends keyof LifecycleEvents<PhaseName> & string>(
    event: Name,
    listener: (payload: LifecycleEvents<PhaseName>[Name]) => void,
  ): () => void {
    return this.server.on(event, listener);
  }

  /** How far the shutdown is, again and again, from the first call of `next()` until the report is there. */
  async *progress(): AsyncGenerator<PhaseProgress, void, undefined> {
    const waiting: PhaseProgress[] = [];
    let isOver = this.report !== undefined;
    let wake = (): void => undefined;
    const stops = [
      this.on("progress", (progress) => {
        waiting.push(progress);
        wake();
      }),
      this.on("report", () => {
        isOver = true;
        wake();
      }),
    ];
    try {
      for (;;) {
        yield* waiting.splice(0);
        if (isOver && waiting.length === 0) return;
        if (waiting.length > 0) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      for (const stop of stops) stop();
    }
  }

  /** Makes an account on the first host, or on that of the address. */
  async addAccount(name: string, password = PASSWORD): Promise<void> {
    const account = Jid.parse(name.includes("@") ? name : `${name}@${this.domain}`);
    if (account === undefined) throw new Error(`${name} cannot be an account`);
    await this.server.accounts.create(account, password);
  }

  /** Returns a client that has not connected yet; it is torn down with the server. */
  client(options: Partial<RawClientOptions> = {}): RawClient {
    const client = new RawClient(this.#clientOptions(options));
    this.#clients.push(client);
    return client;
  }

  /** Returns a client that has logged in and bound a resource; it has sent no presence. It is torn down with the server. */
  async login(username: string, resource?: string, options: Partial<RawClientOptions> = {}): Promise<RawClient> {
    const { accounts = [] } = this.#made.options;
    const password = isNames(accounts) ? PASSWORD : (accounts[username] ?? PASSWORD);
    const named = resource === undefined ? {} : { resource };
    const client = this.client({ username, password, ...named, ...options });
    const { clock, network } = this.#made.options;
    // In memory nothing arrives unless time goes on.
    await (network === undefined ? client.login() : whileTimeGoesOn(client.login(), clock, 1));
    return client;
  }

  /** Lets it take in another configuration, given as that of `startServer` is; what is left out has its default there. */
  reload(config: TestConfig): Promise<ReloadResult> {
    return this.server.reload(completed(config, this.data, this.#made.options.peers ?? []));
  }

  /** Stops it as an operator does, for the given reason or as the request says. Resolves with the report. */
  stop(request: string | Partial<StopRequest> = {}): Promise<DrainReport> {
    const told = typeof request === "string" ? { reason: request } : request;
    return this.server.stop({ cause: "stop", reason: "the test is over", trigger: "test", ...told });
  }

  /**
   * Ends everything, stopped or not: clients made here are torn down, the server is stopped, a temporary folder is removed.
   * On a manual clock time goes on until the server has stopped. Rejects when something of the server is left.
   */
  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #dispose(): Promise<void> {
    const { folder, watch, options } = this.#made;
    for (const client of this.#clients) client.destroy();
    await whileTimeGoesOn(this.stop(), options.clock, 50);
    try {
      if (watch !== undefined) await whileTimeGoesOn(assertNothingLeft(watch), options.clock, 0);
    } finally {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    }
  }

  #clientOptions(options: Partial<RawClientOptions>): RawClientOptions {
    const { clock, network } = this.#made.options;
    const { c2s, c2sTls } = this.ports;
    return {
      host: "127.0.0.1",
      port: options.security === "direct" ? c2sTls : c2s,
      domain: this.domain,
      password: PASSWORD,
      ...(clock === undefined ? {} : { clock }),
      ...(network === undefined ? {} : { network }),
      ...options,
    };
  }
}

/** The configuration with what a test does not want to say. */
function completed(config: TestConfig, data: string, peers: readonly ScriptedPeer[]): Config {
  const routes = Object.fromEntries(peers.map(({ domain, address }) => [domain, address]));
  const plainPeers = peers.some(({ abilities }) => !abilities.tls) ? { require_tls: false } : {};
  return configSchema.parse({
    hosts: [{ name: "a.test" }],
    ...config,
    data,
    c2s: { listen: ["127.0.0.1:0"], listen_tls: ["127.0.0.1:0"], ...config.c2s },
    s2s: { listen: ["127.0.0.1:0"], ...plainPeers, ...config.s2s, routes: { ...routes, ...config.s2s?.routes } },
  });
}

function isNames(accounts: readonly string[] | Readonly<Record<string, string>>): accounts is readonly string[] {
  return Array.isArray(accounts);
}

/** Waits for `work`; if the clock is moved by hand, moves it by `stepMs` again and again meanwhile. */
async function whileTimeGoesOn<T>(work: Promise<T>, clock: unknown, stepMs: number): Promise<T> {
  if (!(clock instanceof ManualClock)) return work;
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  work.then(over, over);
  while (!isOver) await clock.advance(stepMs);
  return work;
}
