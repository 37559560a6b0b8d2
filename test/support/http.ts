// A server in the test's own process with its HTTP side, and requests to it: plain ones, and bytes as no client would send them.

import { once } from "node:events";
import { connect } from "node:net";
import { HttpServer, type HttpServerOptions } from "../../src/control/http/http-server.ts";
import { ownTokenFile, readToken } from "../../src/control/http/tokens.ts";
import { InheritedListeners } from "../../src/net/inherited.ts";
import { accountsPort } from "../../src/operations/accounts-port.ts";
import { Operations } from "../../src/operations/operations.ts";
import { operationTable } from "../../src/operations/table.ts";
import { UserAdmin } from "../../src/operations/user-admin.ts";
import {
  type StartServerOptions,
  startServer,
  type TestConfig,
  type TestServer,
} from "../../src/testing/start-server.ts";
import { systemClock } from "../../src/util/clock.ts";
import { silentLog } from "../../src/util/log.ts";
import { systemRandom } from "../../src/util/random.ts";

/** What may be different about the HTTP side. */
export type HttpOptions = Partial<Pick<HttpServerOptions, "limits" | "clock" | "log" | "inherited" | "operations">>;

/** A server with its HTTP side; `await using` ends both. */
export class HttpScene {
  readonly server: TestServer;
  readonly http: HttpServer;
  readonly operations: Operations;
  /** The token with all rights. */
  readonly token: string;

  private constructor(server: TestServer, http: HttpServer, operations: Operations, token: string) {
    this.server = server;
    this.http = http;
    this.operations = operations;
    this.token = token;
  }

  static async start(
    config: TestConfig = {},
    options: StartServerOptions = {},
    more: HttpOptions = {},
  ): Promise<HttpScene> {
    const server = await startServer({ ...config, http: { listen: ["127.0.0.1:0"], ...config.http } }, options);
    try {
      const operations = operationsOf(server);
      const http = new HttpServer({
        config: server.config,
        server: server.server,
        operations,
        inherited: new InheritedListeners([]),
        clock: systemClock,
        random: systemRandom,
        log: silentLog,
        ...more,
      });
      await http.start();
      // As `morendo start` does it: HTTP goes last.
      server.on("report", () => void http.close());
      return new HttpScene(server, http, operations, await readToken(ownTokenFile(server.data)));
    } catch (thrown) {
      await server.dispose();
      throw thrown;
    }
  }

  get port(): number {
    return Number(this.http.listening[0]?.split(":").at(-1));
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Asks for a path, with the token unless `authorization` says otherwise; null for none. */
  async ask(
    path: string,
    { authorization = `Bearer ${this.token}`, headers = {}, ...init }: Asking = {},
  ): Promise<Response> {
    const all = new Headers(headers);
    if (authorization !== null) all.set("authorization", authorization);
    return await fetch(this.address + path, { ...init, headers: all, signal: AbortSignal.timeout(15_000) });
  }

  /** Asks for an operation. */
  async perform(operation: string, args?: unknown, options: Asking = {}): Promise<Response> {
    return await this.ask(`/api/${operation}`, {
      method: "POST",
      ...options,
      ...(args === undefined ? {} : { body: JSON.stringify(args) }),
      headers: { "content-type": "application/json", ...options.headers },
    });
  }

  /** Sends bytes and resolves with everything that comes until the server closes. */
  async raw(...pieces: readonly string[]): Promise<string> {
    const socket = connect(this.port, "127.0.0.1");
    let text = "";
    socket.setEncoding("latin1").on("data", (piece: string) => {
      text += piece;
    });
    const closed = new Promise<void>((resolve) => {
      socket.once("close", () => resolve());
      // A server may cut off who misbehaves: what it said before is what counts.
      socket.on("error", () => undefined);
    });
    await once(socket, "connect");
    for (const piece of pieces) socket.write(piece, "latin1");
    const limit = setTimeout(() => socket.destroy(), 15_000);
    await closed;
    clearTimeout(limit);
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.http.close(0);
    await this.server.dispose();
  }
}

interface Asking {
  readonly method?: string;
  readonly authorization?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

function operationsOf(server: TestServer): Operations {
  return new Operations({
    table: () =>
      operationTable({
        server: server.server,
        users: new UserAdmin({
          accounts: accountsPort(() => server.server),
          hosts: server.config.hosts.map(({ name }) => name),
        }),
        reload: () => Promise.reject(new Error("this is a test")),
        restart: () => Promise.resolve({ ok: false, step: "refused", why: "this is a test", stderrTail: "" }),
      }),
    log: silentLog,
  });
}
