// The asking end of the control socket: what `morendo status`, `stop` and `user` speak through.

import { connect, type Socket } from "node:net";
import type { Clock, Timer } from "../util/clock.ts";
import { codeOf, MorendoError } from "../util/errors.ts";
import { LineReader, MAX_RESPONSE_LENGTH, parseObject } from "./protocol.ts";
import { checkOwner } from "./socket-path.ts";

/** How to reach the server. */
export interface ControlClientOptions {
  readonly path: string;
  readonly clock: Clock;
  /** How long a request may go without a response or an event; without it there is no limit. */
  readonly timeoutMs?: number;
}

/** Told of the events of a request. */
export type EventListener = (event: string, data: unknown) => void;

interface Waiting {
  readonly onEvent: EventListener | undefined;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Connects to the control socket. Rejects with `MORENDO_NOT_RUNNING` when no server is there, and with
 * `MORENDO_CONTROL_DENIED` when this user may not speak to it, or should not: it belongs to somebody else, or others may
 * speak to it as well.
 */
export async function connectControl(options: ControlClientOptions): Promise<ControlClient> {
  await checkOwner(options.path);
  return await new Promise((resolve, reject) => {
    const socket = connect(options.path);
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(new ControlClient(socket, options));
    });
    socket.once("error", (error) => reject(connectError(error, options.path)));
  });
}

function connectError(error: Error, path: string): MorendoError {
  const code = codeOf(error);
  if (code === "ENOENT" || code === "ECONNREFUSED") {
    return new MorendoError("MORENDO_NOT_RUNNING", `Morendo is not running: nobody answers at ${path}`, {
      cause: error,
    });
  }
  if (code === "EACCES" || code === "EPERM") {
    const message = `${path} belongs to another user: run this as the user that runs Morendo`;
    return new MorendoError("MORENDO_CONTROL_DENIED", message, { cause: error });
  }
  return new MorendoError("MORENDO_CONTROL_LOST", `cannot connect to ${path}: ${error.message}`, { cause: error });
}

/** A connection to a running server. */
export class ControlClient {
  #socket: Socket;
  #options: ControlClientOptions;
  #reader = new LineReader(MAX_RESPONSE_LENGTH);
  #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #timer: Timer | undefined;
  #gone = false;

  /** Takes a connected socket; use `connectControl`. */
  constructor(socket: Socket, options: ControlClientOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on("data", (chunk) => this.#onData(chunk));
    // What went wrong does not matter to those who wait; that the server is gone does.
    socket.on("error", () => this.#lose("the connection to the server broke"));
    socket.on("close", () => this.#lose("the server is gone before it answered"));
  }

  /**
   * Asks for an action and resolves with its result. Rejects with the server's code and message, with
   * `MORENDO_CONTROL_LOST` when the connection ends first, or with `MORENDO_CONTROL_TIMEOUT`.
   */
  request(action: string, args: object = {}, onEvent?: EventListener): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#gone) {
        reject(new MorendoError("MORENDO_CONTROL_LOST", "the connection to the server is closed"));
        return;
      }
      const id = this.#nextId++;
      this.#waiting.set(id, { onEvent, resolve, reject });
      this.#socket.write(`${JSON.stringify({ id, action, args })}\n`);
      this.#watch();
    });
  }

  /** Ends the connection. */
  close(): void {
    this.#timer?.cancel();
    this.#socket.end();
    this.#socket.unref();
  }

  #onData(chunk: Buffer): void {
    const lines = this.#reader.read(chunk);
    if (lines === undefined) {
      this.#lose("the server sent more than can be taken");
      this.#socket.destroy();
      return;
    }
    for (const line of lines) this.#onLine(line);
    this.#watch();
  }

  #onLine(line: string): void {
    const value = parseObject(line);
    const id = typeof value?.id === "number" ? value.id : undefined;
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    if (value === undefined || id === undefined || waiting === undefined) {
      this.#lose(`the server answered what was not asked: ${line.slice(0, 200)}`);
      this.#socket.destroy();
      return;
    }
    if (typeof value.event === "string") {
      waiting.onEvent?.(value.event, value.data);
      return;
    }
    this.#waiting.delete(id);
    if (value.ok === true) waiting.resolve(value.result);
    else waiting.reject(remoteError(value.error));
  }

  #watch(): void {
    this.#timer?.cancel();
    const { timeoutMs, clock } = this.#options;
    if (timeoutMs === undefined || this.#waiting.size === 0) return;
    this.#timer = clock.setTimer(timeoutMs, () => {
      this.#fail(new MorendoError("MORENDO_CONTROL_TIMEOUT", "the server does not answer"));
      this.#socket.destroy();
    });
  }

  #lose(message: string): void {
    this.#fail(new MorendoError("MORENDO_CONTROL_LOST", message));
  }

  #fail(error: MorendoError): void {
    this.#gone = true;
    this.#timer?.cancel();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(error);
  }
}

function remoteError(error: unknown): MorendoError {
  const fields = typeof error === "object" && error !== null ? (error as Record<string, unknown>) : {};
  const code = typeof fields.code === "string" ? fields.code : "MORENDO_INTERNAL";
  return new MorendoError(code, typeof fields.message === "string" ? fields.message : "the server did not say why");
}
