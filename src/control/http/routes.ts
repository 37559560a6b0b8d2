// What each path answers, and to whom: health to everybody, the rest to who has a token. Not for: listening, and limits of
// connections (http-server.ts).

import type { IncomingMessage, ServerResponse } from "node:http";
import { OPERATION_NAMES } from "../../config/operation-names.ts";
import type { Config } from "../../config/schema.ts";
import type { Outcome } from "../../operations/operation.ts";
import type { Operations } from "../../operations/operations.ts";
import { whyNotReady } from "../../server/readiness.ts";
import { type Clock, repeat } from "../../util/clock.ts";
import type { Logger } from "../../util/log.ts";
import { answer, answerJson, refuse, TEXT } from "./answers.ts";
import { readJson } from "./body.ts";
import { callerFor, goneSignal } from "./caller.ts";
import { EventStream, streamFormat } from "./event-stream.ts";
import { CONTENT_TYPES, expose, type Family, negotiate } from "./exposition.ts";
import type { TokenFailures } from "./failures.ts";
import { labelled, type MeasuredServer, measure } from "./metrics.ts";
import type { Page } from "./page.ts";
import { type ObservedServer, takeSnapshot } from "./snapshot.ts";
import type { TokenHolder, Tokens } from "./tokens.ts";
import { Watchers } from "./watchers.ts";

/** Operations under way at a time, of all clients. */
const MAX_RUNNING = 32;
const HEARTBEAT_MS = 10_000;
const OPERATIONS: ReadonlySet<string> = new Set(OPERATION_NAMES);
/** The operations that can be asked for by GET, because they take no arguments and change nothing. */
const READS: ReadonlySet<string> = new Set(["status", "plan", "report"]);

/** What answers are made from. */
export interface RoutesOptions {
  readonly config: Config;
  readonly server: MeasuredServer & ObservedServer;
  readonly operations: Pick<Operations, "perform">;
  readonly tokens: Tokens;
  readonly failures: TokenFailures;
  readonly page: Page;
  readonly clock: Clock;
  readonly log: Logger;
  /** More to be told by the metrics. */
  readonly families: () => readonly Family[];
}

type Handler = (exchange: Exchange) => void | Promise<void>;

/** A request and where its answer goes. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
}

/** Answers requests. */
export class Routes {
  #options: RoutesOptions;
  #watchers: Watchers;
  #running = 0;
  #answered = new Map<string, number>();

  constructor(options: RoutesOptions) {
    this.#options = options;
    const { operations, server, config, clock } = options;
    this.#watchers = new Watchers({
      operations,
      clock,
      get max() {
        return config.http.max_watchers;
      },
      snapshot: () => takeSnapshot(server, config.shutdown, clock.wallTime()),
    });
  }

  /** Answers a request. Rejects when the connection breaks meanwhile. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.once("finish", () => this.#count(response.statusCode));
    const path = pathOf(request.url ?? "");
    if (path === undefined) {
      refuse(response, 400, "MORENDO_BAD_REQUEST", "expected a path");
      return;
    }
    const exchange = { request, response, path };
    const allowed = this.#methodsOf(path, request.method);
    if (allowed === undefined) {
      // Whoever may not ask learns nothing of what there is.
      if (this.#admit(exchange) !== undefined)
        refuse(response, 404, "MORENDO_NOT_FOUND", "there is nothing at this path");
      return;
    }
    const handler = allowed[request.method ?? ""];
    if (handler === undefined) {
      const methods = Object.keys(allowed).join(", ");
      refuse(response, 405, "MORENDO_BAD_METHOD", `this path takes ${methods}`, { Allow: methods });
      return;
    }
    await handler(exchange);
  }

  #methodsOf(path: string, method: string | undefined): Readonly<Record<string, Handler>> | undefined {
    const get = (handler: Handler): Readonly<Record<string, Handler>> => ({ GET: handler, HEAD: handler });
    if (path === "/live") return get(({ response }) => answer(response, 200, TEXT, "live\n"));
    if (path === "/ready") return get((exchange) => this.#ready(exchange));
    if (path === "/metrics") return get((exchange) => this.#metrics(exchange));
    if (path === "/api/events") return { GET: (exchange) => this.#events(exchange) };
    if (path.startsWith("/api/")) {
      const name = path.slice("/api/".length);
      // Whoever asks for one that does not exist in the right way is told which ones do; there is no right way to the others.
      if (method !== "POST" && !OPERATIONS.has(name)) return undefined;
      const perform: Handler = (exchange) => this.#perform(exchange, name);
      return READS.has(name) ? { ...get(perform), POST: perform } : { POST: perform };
    }
    const { page } = this.#options;
    if (page.has(path)) return get(({ request, response }) => page.serve(path, request, response));
    return undefined;
  }

  #ready({ response }: Exchange): void {
    const why = whyNotReady(this.#options.server.lifecycle);
    if (why === undefined) answer(response, 200, TEXT, "ready\n");
    else answer(response, 503, TEXT, `not ready: ${why}\n`, { "Retry-After": "5" });
  }

  async #metrics(exchange: Exchange): Promise<void> {
    const { config, server, families } = this.#options;
    if (config.http.metrics === "token" && this.#admit(exchange, "metrics") === undefined) return;
    const { request, response } = exchange;
    const format = negotiate(request.headers.accept);
    const all = await measure({ server, config, own: () => [...this.#families(), ...families()] });
    answer(response, 200, CONTENT_TYPES[format], expose(all, format), { Vary: "Accept" });
  }

  async #events(exchange: Exchange): Promise<void> {
    const holder = this.#admit(exchange, "watch");
    if (holder === undefined) return;
    const { request, response } = exchange;
    if (this.#watchers.isFull) {
      const limit = this.#options.config.http.max_watchers;
      refuse(response, 503, "MORENDO_BUSY", `at most ${limit} may watch at a time`, { "Retry-After": "5" });
      return;
    }
    await this.#watchers.serve(request, response, holder, streamFormat(request.headers.accept) ?? "events");
  }

  async #perform(exchange: Exchange, name: string): Promise<void> {
    const holder = this.#admit(exchange);
    if (holder === undefined) return;
    const { request, response } = exchange;
    const body = request.method === "POST" ? await readJson(request) : { value: undefined };
    if ("status" in body) {
      const headers = body.status === 413 ? { Connection: "close" } : {};
      refuse(response, body.status, body.code, body.message, headers);
      return;
    }
    if (this.#running >= MAX_RUNNING) {
      refuse(response, 503, "MORENDO_BUSY", `at most ${MAX_RUNNING} operations at a time`, { "Retry-After": "1" });
      return;
    }
    this.#running++;
    try {
      await this.#run(exchange, { name, args: body.value, holder });
    } finally {
      this.#running--;
    }
  }

  async #run(
    { request, response }: Exchange,
    { name, args, holder }: { readonly name: string; readonly args: unknown; readonly holder: TokenHolder },
  ): Promise<void> {
    const { operations, clock } = this.#options;
    const signal = goneSignal(request, response);
    const format = streamFormat(request.headers.accept);
    const stream = format === undefined ? undefined : new EventStream(response, format);
    // An outcome that comes before any event has the status it deserves.
    const stopBeating = stream && repeat(clock, HEARTBEAT_MS, () => stream.heartbeat());
    const emit = (event: string, data: unknown): void => stream?.event(event, JSON.stringify(data));
    const outcome = await operations.perform(name, args, { caller: callerFor(holder), emit, signal });
    stopBeating?.();
    if (stream !== undefined && (outcome.ok || stream.hasBegun)) {
      stream.event(outcome.ok ? "result" : "error", JSON.stringify(outcome.ok ? outcome.result : outcome.error));
      stream.end();
    } else answerOutcome(response, outcome);
  }

  /** Returns who asks, if they may; otherwise they have their answer. */
  #admit({ request, response }: Exchange, right?: string): TokenHolder | undefined {
    const { tokens, failures, log } = this.#options;
    const presented = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    const holder = presented === undefined ? undefined : tokens.find(presented);
    if (holder !== undefined && (right === undefined || holder.may(right))) return holder;
    if (holder !== undefined) {
      log.warn({ token: holder.name, right }, "http: a token was used for what it does not allow");
      refuse(response, 403, "MORENDO_NOT_ALLOWED", `this token has no right to ${right}`);
      return undefined;
    }
    const challenge = { "WWW-Authenticate": 'Bearer realm="Morendo"' };
    if (presented === undefined) {
      refuse(response, 401, "MORENDO_NO_TOKEN", "this wants the header Authorization: Bearer TOKEN", challenge);
      return undefined;
    }
    const address = request.socket.remoteAddress ?? "";
    const wait = failures.add(address);
    if (wait > 0) {
      refuse(response, 429, "MORENDO_TOO_MANY", "too many wrong tokens from this address", {
        "Retry-After": String(wait),
      });
      return undefined;
    }
    log.warn({ address }, "http: a wrong token");
    refuse(response, 401, "MORENDO_BAD_TOKEN", "this token is not known", challenge);
    return undefined;
  }

  #count(status: number): void {
    const kind = `${Math.floor(status / 100)}xx`;
    this.#answered.set(kind, (this.#answered.get(kind) ?? 0) + 1);
  }

  #families(): Family[] {
    return [
      labelled(
        "morendo_http_answers",
        "Answers of the HTTP side, by the first digit of the status.",
        "status",
        this.#answered,
      ),
      {
        name: "morendo_http_wrong_tokens",
        type: "counter",
        help: "Requests with a token that is not known.",
        samples: [{ value: this.#options.failures.total }],
      },
      {
        name: "morendo_http_watchers",
        type: "gauge",
        help: "Clients that watch the life cycle.",
        samples: [{ value: this.#watchers.size }],
      },
    ];
  }
}

const STATUSES: Readonly<Record<string, number>> = {
  MORENDO_UNKNOWN_ACTION: 404,
  MORENDO_NOT_ALLOWED: 403,
  MORENDO_BAD_ARGUMENTS: 400,
  MORENDO_NOT_STARTED: 503,
  MORENDO_BUSY: 503,
  MORENDO_INTERNAL: 500,
};

/** What Morendo refuses for a reason of its own conflicts with how things are; anything else is a fault. */
function answerOutcome(response: ServerResponse, outcome: Outcome): void {
  if (outcome.ok) {
    answerJson(response, outcome.result);
    return;
  }
  const { code, message } = outcome.error;
  refuse(response, STATUSES[code] ?? (code.startsWith("MORENDO_") ? 409 : 500), code, message);
}

/** Returns the path that is asked for; queries mean nothing here. */
function pathOf(url: string): string | undefined {
  return /^(\/[\w./-]*)(?:\?|$)/.exec(url)?.[1];
}
