// One connection to the control socket: bounds what its peer may send, ask at a time and leave unread, and ends it when
// nothing is asked any more.

import type { Socket } from "node:net";
import type { Caller } from "../operations/operation.ts";
import type { Operations } from "../operations/operations.ts";
import type { Clock, Timer } from "../util/clock.ts";
import type { Logger } from "../util/log.ts";
import {
  type EventLine,
  failure,
  LineReader,
  MAX_REQUEST_LENGTH,
  parseRequest,
  type Request,
  type Response,
} from "./protocol.ts";

/** Who can open the socket may do everything. */
const CALLER: Caller = { trigger: "control socket", may: () => true };
const MAX_REQUESTS_AT_ONCE = 8;
const IDLE_MS = 30_000;
/** How long a connection that has asked nothing yet is waited for at the end: its first request is on its way. */
const FIRST_REQUEST_MS = 200;
/** Events are dropped for a peer that leaves this much unread; responses are not. */
const MAX_UNREAD_EVENTS = 64 * 1024;

/** What a connection is made of. */
export interface ControlConnectionOptions {
  readonly socket: Socket;
  readonly operations: Pick<Operations, "perform">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** One connection to the control socket. */
export class ControlConnection {
  #options: ControlConnectionOptions;
  #reader = new LineReader(MAX_REQUEST_LENGTH);
  #running = new Set<Promise<void>>();
  #gone = new AbortController();
  #idle: Timer | undefined;
  #ended = false;
  /** Resolves when something was asked, or nothing will be. */
  #asked: Promise<void>;
  #hasAsked: () => void = () => undefined;

  constructor(options: ControlConnectionOptions) {
    this.#options = options;
    const { socket, log } = options;
    this.#asked = new Promise((resolve) => {
      this.#hasAsked = resolve;
    });
    socket.on("data", (chunk) => this.#onData(chunk));
    socket.on("end", () => this.#onEnd());
    socket.on("error", (error) => log.debug({ error: error.message }, "control connection failed"));
    socket.on("close", () => {
      this.#idle?.cancel();
      this.#gone.abort();
      this.#hasAsked();
    });
    this.#waitForRequests();
  }

  /** Ends the connection when its requests have their responses, after `limitMs` at the latest. */
  async close(limitMs: number): Promise<void> {
    const { socket, clock } = this.#options;
    const limit = new AbortController();
    await Promise.race([this.#asked, clock.sleep(Math.min(limitMs, FIRST_REQUEST_MS), limit.signal)]);
    const responses = Promise.allSettled(this.#running);
    await Promise.race([responses, clock.sleep(limitMs, limit.signal)]);
    const closed = new Promise<void>((resolve) => {
      if (socket.closed) resolve();
      else socket.once("close", () => resolve());
    });
    this.#end();
    const timer = clock.setTimer(limitMs, () => socket.destroy());
    limit.abort();
    await closed;
    timer.cancel();
  }

  /** Drops the connection now. */
  destroy(): void {
    this.#options.socket.destroy();
  }

  #onData(chunk: Buffer): void {
    if (this.#ended) return;
    const lines = this.#reader.read(chunk);
    if (lines === undefined) {
      this.#refuse(null, "MORENDO_BAD_REQUEST", `a request may have ${MAX_REQUEST_LENGTH} characters`);
      this.#end();
      return;
    }
    for (const line of lines) this.#onLine(line);
  }

  #onLine(line: string): void {
    this.#hasAsked();
    const request = parseRequest(line);
    if (!("action" in request)) {
      this.#refuse(null, request.code, request.message);
      return;
    }
    if (this.#running.size >= MAX_REQUESTS_AT_ONCE) {
      this.#refuse(request.id, "MORENDO_BUSY", `at most ${MAX_REQUESTS_AT_ONCE} requests at a time`);
      return;
    }
    const run = this.#run(request);
    this.#running.add(run);
    this.#idle?.cancel();
    void run.finally(() => {
      this.#running.delete(run);
      this.#waitForRequests();
    });
  }

  async #run({ id, action, args }: Request): Promise<void> {
    const { socket, operations } = this.#options;
    const emit = (event: string, data: unknown): void => {
      if (socket.writableLength < MAX_UNREAD_EVENTS) this.#write({ id, event, data });
    };
    const outcome = await operations.perform(action, args, { caller: CALLER, emit, signal: this.#gone.signal });
    this.#write({ id, ...outcome });
  }

  #refuse(id: number | null, code: string, message: string): void {
    this.#options.log.warn({ trigger: CALLER.trigger, code }, `a request was refused: ${message}`);
    this.#write({ id, ok: false, error: failure(code, message) });
  }

  #write(line: Response | EventLine): void {
    const { socket } = this.#options;
    if (socket.writable) socket.write(`${JSON.stringify(line)}\n`);
  }

  #onEnd(): void {
    this.#ended = true;
    // What was asked before is still answered.
    if (this.#running.size === 0) this.#end();
  }

  #waitForRequests(): void {
    if (this.#running.size > 0) return;
    if (this.#ended) {
      this.#end();
      return;
    }
    this.#idle?.cancel();
    this.#idle = this.#options.clock.setTimer(IDLE_MS, () => this.#end());
  }

  #end(): void {
    this.#ended = true;
    this.#idle?.cancel();
    const { socket } = this.#options;
    // The peer that never closes its own side must not keep us: nothing more is read.
    socket.end(() => socket.destroy());
  }
}
