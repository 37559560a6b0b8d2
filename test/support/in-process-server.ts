// A whole server inside the test's own process: real sockets on free loopback ports, a temporary data folder, accounts
// that all have the same password, and a report instead of an exit.

import { join } from "node:path";
import { configSchema } from "../../src/config/schema.ts";
import type { ServerOptions } from "../../src/server/server.ts";
import { Server } from "../../src/server/server.ts";
import type { DrainReport } from "../../src/shutdown/report.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { RawClient, type RawClientOptions } from "../../src/testing/raw-client.ts";
import { silentLog } from "../../src/util/log.ts";
import { jid } from "./stanzas.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export const PASSWORD = "orchard";

export interface InProcessOptions extends Partial<Omit<ServerOptions, "config">> {
  /** Localparts of the accounts on a.test. */
  readonly accounts?: readonly string[];
  /** Sections of the configuration, as in the file. */
  readonly config?: Record<string, unknown>;
}

/** A running server and the ways to it. */
export class InProcessServer {
  readonly server: Server;
  readonly data: string;
  #remove: () => Promise<void>;
  #clients: RawClient[] = [];

  private constructor(server: Server, data: string, remove: () => Promise<void>) {
    this.server = server;
    this.data = data;
    this.#remove = remove;
  }

  static async start(options: InProcessOptions = {}): Promise<InProcessServer> {
    const folder = await temporaryFolder();
    const { accounts = ["romeo", "juliet"], config = {}, ...rest } = options;
    const { c2s = {}, s2s = {}, ...others } = config as Record<string, object>;
    const server = new Server({
      log: silentLog,
      store: new MemoryStore(),
      ...rest,
      config: configSchema.parse({
        data: join(folder.path, "data"),
        hosts: [{ name: "a.test" }],
        ...others,
        c2s: { listen: ["127.0.0.1:0"], listen_tls: ["127.0.0.1:0"], ...c2s },
        s2s: { listen: ["127.0.0.1:0"], ...s2s },
      }),
    });
    const started = new InProcessServer(server, join(folder.path, "data"), folder.remove);
    if (!(await server.start())) throw new Error(`the server did not start: ${server.lifecycle.report?.error}`);
    for (const name of accounts) await server.accounts.create(jid(`${name}@a.test`), PASSWORD);
    return started;
  }

  /** The port of a listener: `c2s` is the one with STARTTLS, `c2s-tls` the one with direct TLS. */
  port(kind: "c2s" | "c2s-tls" | "s2s"): number {
    const texts = this.server.status().listening.filter((text) => text.startsWith(kind === "s2s" ? "s2s" : "c2s"));
    return Number(texts[kind === "c2s-tls" ? 1 : 0]?.split(":").at(-1));
  }

  /** A client that has not connected yet. */
  client(options: Partial<RawClientOptions> = {}): RawClient {
    const security = options.security ?? "starttls";
    const client = new RawClient({
      host: "127.0.0.1",
      port: this.port(security === "direct" ? "c2s-tls" : "c2s"),
      domain: "a.test",
      password: PASSWORD,
      ...options,
      security,
    });
    this.#clients.push(client);
    return client;
  }

  /** A client that has logged in and bound `username`/`resource`; no presence is sent. */
  async login(username: string, resource: string, options: Partial<RawClientOptions> = {}): Promise<RawClient> {
    const security = options.security ?? "starttls";
    const client = await RawClient.login({
      host: "127.0.0.1",
      port: this.port(security === "direct" ? "c2s-tls" : "c2s"),
      domain: "a.test",
      username,
      password: PASSWORD,
      resource,
      ...options,
      security,
    });
    this.#clients.push(client);
    return client;
  }

  /** Runs the pipeline. */
  stop(reason = "the test is over"): Promise<DrainReport> {
    return this.server.stop({ cause: "stop", reason, trigger: "test" });
  }

  /** Ends everything, stopped or not. */
  async dispose(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await this.stop();
    await this.#remove();
  }
}
