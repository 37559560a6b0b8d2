// One end of the channel between a predecessor and its successor: messages out with back-pressure, messages in one after
// the other, bounded in bytes and in number. Judges no order: that is for those who hold the ends.

import type { Duplex } from "node:stream";
import { asError } from "../util/errors.ts";
import { isObject, MAX_LINE_BYTES, type MessageReader } from "./protocol.ts";

/** What comes in: a message, or the reason why no more will come. `raw` is the line itself, for checksums. */
export type Incoming<Message> =
  | { readonly kind: "message"; readonly message: Message; readonly raw: Buffer }
  | { readonly kind: "end" }
  | { readonly kind: "broken"; readonly why: string };

/** Beyond this many bytes waiting to be received, reading pauses and the sender feels it. */
const MAX_WAITING_BYTES = 1024 * 1024;
const NEWLINE = 10;

/** One end of the channel. `Message` is what the other end may say. */
export class Channel<Message> {
  #stream: Duplex;
  #read: MessageReader<Message>;
  #parts: Buffer[] = [];
  #partBytes = 0;
  #queue: Incoming<Message>[] = [];
  #queueBytes = 0;
  #over: Incoming<Message> | undefined;
  #receiver: ((incoming: Incoming<Message>) => void) | undefined;

  constructor(stream: Duplex, read: MessageReader<Message>) {
    this.#stream = stream;
    this.#read = read;
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    stream.on("end", () => this.#finish({ kind: "end" }));
    // A reset is what is left of a process that died with something unread: the end as well.
    stream.on("error", () => this.#finish({ kind: "end" }));
    stream.on("close", () => this.#finish({ kind: "end" }));
  }

  /** Returns the next message or, once and for all, the reason why there is none. One call at a time. */
  receive(): Promise<Incoming<Message>> {
    const next = this.#queue.shift();
    if (next !== undefined) {
      if (next.kind === "message") this.#queueBytes -= next.raw.length;
      if (this.#queueBytes <= MAX_WAITING_BYTES / 2 && this.#stream.isPaused()) this.#stream.resume();
      return Promise.resolve(next);
    }
    if (this.#over !== undefined) return Promise.resolve(this.#over);
    return new Promise((resolve) => {
      this.#receiver = resolve;
    });
  }

  /**
   * Sends a line made by `encode`. Returns undefined when there is room for more, and otherwise a promise that settles
   * when there is, or when the other end has gone (which `receive` tells).
   */
  send(line: string | Buffer): Promise<void> | undefined {
    const stream = this.#stream;
    if (!stream.writable || stream.write(line)) return undefined;
    return new Promise((resolve) => {
      const done = (): void => {
        stream.off("drain", done).off("close", done);
        resolve();
      };
      stream.on("drain", done).on("close", done);
    });
  }

  /** Sends a line without asking for room: for those who wait for an answer anyway. */
  post(line: string): void {
    if (this.#stream.writable) this.#stream.write(line);
  }

  /** Sends a last line, closes our side and resolves when the kernel has it all, or the other end has gone. */
  finish(line?: string): Promise<void> {
    const stream = this.#stream;
    return new Promise((resolve) => {
      if (!stream.writable) {
        resolve();
        return;
      }
      stream.once("close", () => resolve());
      if (line !== undefined) stream.write(line);
      stream.end(() => resolve());
    });
  }

  /** Lets the channel go at once. The other end reads that we are gone. */
  destroy(): void {
    this.#stream.destroy();
  }

  #onData(chunk: Buffer): void {
    if (this.#over !== undefined) return;
    let start = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, start)) {
      const piece = chunk.subarray(start, at);
      start = at + 1;
      const line = this.#parts.length === 0 ? piece : Buffer.concat([...this.#parts, piece]);
      this.#parts = [];
      this.#partBytes = 0;
      if (!this.#onLine(line)) return;
    }
    if (start < chunk.length) {
      this.#parts.push(chunk.subarray(start));
      this.#partBytes += chunk.length - start;
      if (this.#partBytes > MAX_LINE_BYTES) this.#break(`a line is longer than ${MAX_LINE_BYTES} bytes`);
    }
    if (this.#queueBytes > MAX_WAITING_BYTES) this.#stream.pause();
  }

  #onLine(raw: Buffer): boolean {
    if (raw.length > MAX_LINE_BYTES) return this.#break(`a line is longer than ${MAX_LINE_BYTES} bytes`);
    let value: unknown;
    try {
      value = JSON.parse(raw.toString());
    } catch (thrown) {
      return this.#break(`a line is not JSON (${asError(thrown).message}): ${excerpt(raw)}`);
    }
    const message = isObject(value) ? this.#read(value) : undefined;
    if (message === undefined) return this.#break(`a line is not a message that is known here: ${excerpt(raw)}`);
    this.#deliver({ kind: "message", message, raw });
    return true;
  }

  #break(why: string): false {
    this.#finish({ kind: "broken", why });
    return false;
  }

  #deliver(incoming: Incoming<Message>): void {
    const receiver = this.#receiver;
    if (receiver !== undefined) {
      this.#receiver = undefined;
      receiver(incoming);
      return;
    }
    this.#queue.push(incoming);
    if (incoming.kind === "message") this.#queueBytes += incoming.raw.length;
  }

  #finish(over: Incoming<Message>): void {
    if (this.#over !== undefined) return;
    // What came before is still received first; half a line at the end is not a message.
    this.#over = over;
    this.#parts = [];
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.(over);
    // Nothing more is of use; reading on lets the end be seen.
    this.#stream.resume();
  }
}

/** Writes a message as a line. */
export function encode(message: object): string {
  return `${JSON.stringify(message)}\n`;
}

function excerpt(raw: Buffer): string {
  return JSON.stringify(raw.subarray(0, 120).toString());
}
