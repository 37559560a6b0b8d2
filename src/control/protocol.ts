// What goes over the control socket: one JSON object per line. A request has an id, an action and arguments; each gets
// exactly one response with its id, and before it, where the action tells of its progress, any number of events.

import { StringDecoder } from "node:string_decoder";
import type { Failure } from "../operations/operation.ts";

/** Asks for something. The id is the asker's choice and comes back with everything that belongs to the request. */
export interface Request {
  readonly id: number;
  readonly action: string;
  readonly args?: unknown;
}

/** Ends a request; `id` is null when the line could not be understood. */
export type Response =
  | { readonly id: number; readonly ok: true; readonly result: unknown }
  | { readonly id: number | null; readonly ok: false; readonly error: Failure };

/** Tells how a request that is under way gets on. */
export interface EventLine {
  readonly id: number;
  readonly event: string;
  readonly data: unknown;
}

/** The longest line a server takes, in characters. Larger imports come in several requests. */
export const MAX_REQUEST_LENGTH = 1024 ** 2;

/** The longest line a client takes: a list of many accounts is long. */
export const MAX_RESPONSE_LENGTH = 64 * 1024 ** 2;

/** Cuts a stream of bytes into lines of bounded length. */
export class LineReader {
  #decoder = new StringDecoder("utf8");
  #parts: string[] = [];
  #length = 0;
  #limit: number;

  /** `limit` is the longest line allowed, in characters. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Returns the lines that `chunk` completes; undefined when a line is too long: the stream is of no use then. */
  read(chunk: Buffer): readonly string[] | undefined {
    const pieces = this.#decoder.write(chunk).split("\n");
    const last = pieces.pop() ?? "";
    const lines: string[] = [];
    for (const piece of pieces) {
      const line = this.#parts.join("") + piece;
      this.#parts = [];
      this.#length = 0;
      if (line.length > this.#limit) return undefined;
      if (line.trim() !== "") lines.push(line);
    }
    if (last !== "") this.#parts.push(last);
    this.#length += last.length;
    return this.#length > this.#limit ? undefined : lines;
  }
}

/** Returns `line` as a request, or what is wrong with it. */
export function parseRequest(line: string): Request | Failure {
  const value = parseObject(line);
  if (value === undefined) return failure("MORENDO_BAD_REQUEST", "expected one JSON object per line");
  const { id, action, args } = value;
  if (typeof id !== "number" || !Number.isSafeInteger(id)) {
    return failure("MORENDO_BAD_REQUEST", "expected `id`, a whole number");
  }
  if (typeof action !== "string") return failure("MORENDO_BAD_REQUEST", "expected `action`, a text");
  return { id, action, args };
}

/** Returns `line` as an object, or undefined when it is none. */
export function parseObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Makes a failure. */
export function failure(code: string, message: string): Failure {
  return { code, message };
}
