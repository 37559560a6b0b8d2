// An XML stream on a transport (RFC 6120 §4): reads it, hands elements to the handler one at a time, and sees to it that
// a stream ends as the RFC says, whoever ends it and in whatever state it is. It knows no authentication and no stanzas;
// the handler, c2s or s2s, does.
//
// A stream has two halves. The output is open until our closing tag is written. The input is open until the peer's
// closing tag, its FIN or a fault; from then on what comes is thrown away, but still read: a socket closed with unread
// input is reset, and a reset eats what was on its way to the peer.

import type {
  TlsClientOptions,
  TlsInfo,
  TlsServerOptions,
  Transport,
  TransportEnd,
  TransportReader,
} from "../net/transport.ts";
import { StreamError } from "../stanza/stream-error.ts";
import type { Clock, Timer } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Element } from "../xml/element.ts";
import { NS } from "../xml/ns.ts";
import { type StreamHeader, StreamParser, type StreamSink, type XmlFault } from "../xml/stream-parser.ts";
import { ByteRate } from "./byte-rate.ts";
import type { HeaderOptions, StreamEnd, StreamHandler, StreamLimits, XmlStream } from "./contract.ts";
import { CLOSING_TAG, type ContentNamespace, openingTag } from "./opening-tag.ts";

/** What a stream is made of. */
export interface XmlStreamOptions {
  readonly transport: Transport;
  readonly handler: StreamHandler;
  readonly clock: Clock;
  readonly limits: StreamLimits;
  /** The content namespace of the opening tag we send. The handler checks that of the peer's. */
  readonly contentNamespace: ContentNamespace;
  /** The opening tag sent when the stream must be closed before the handler has sent one; without attributes otherwise. */
  readonly fallbackHeader?: () => HeaderOptions;
  /** Where what the handler throws is told: it is a bug, and the peer learns only of `internal-server-error`. */
  readonly log?: Logger;
  /** How long the peer has for its half of a close that the stream began by itself; 5 s unless told. */
  readonly closeTimeoutMs?: number;
}

/** What is read and thrown away after the end of the input before the connection is torn down. */
const MAX_DISCARDED = 1024 * 1024;
/** How long a handler may go on with an element after the connection has gone. */
const HANDLER_GRACE_MS = 30_000;

/** Puts an XML stream on a transport, of which it becomes the reader. Nothing is sent until `sendHeader`. */
export function createXmlStream(options: XmlStreamOptions): XmlStream {
  return new TransportXmlStream(options);
}

class TransportXmlStream implements XmlStream, TransportReader, StreamSink {
  readonly transport: Transport;
  #options: XmlStreamOptions;
  #handler: StreamHandler;
  #clock: Clock;
  #parser: StreamParser;
  #rate: ByteRate;
  #lastInputAt: number;

  #headerSent = false;
  #outputOpen = true;
  #inputOpen = true;
  #peerClosed = false;
  #finSeen = false;
  #discarded = 0;

  /** The handler works on what it was given; the parser stands still meanwhile. */
  #busy = false;
  /** Who wants nothing more to be begun. */
  #holders = new Set<string>();
  #whenStill: (() => void)[] = [];
  #isSecuring = false;
  #rateTimer: Timer | undefined;
  #readingPaused = false;

  #deadline: Timer | undefined;
  #deadlineAt = Number.POSITIVE_INFINITY;
  #isDestroyed = false;
  #fault: StreamError | undefined;
  #error: Error | undefined;
  #transportEnd: TransportEnd | undefined;
  #end: StreamEnd | undefined;
  #ended: Promise<StreamEnd> | undefined;
  #tellEnd: ((end: StreamEnd) => void) | undefined;

  constructor(options: XmlStreamOptions) {
    this.#options = options;
    this.#handler = options.handler;
    this.#clock = options.clock;
    this.transport = options.transport;
    this.#parser = new StreamParser(this, options.limits);
    this.#rate = new ByteRate(options.limits, options.clock);
    this.#lastInputAt = options.clock.now();
    this.transport.setReader(this);
  }

  get closing(): boolean {
    return !this.#outputOpen || this.#peerClosed;
  }

  get lastInputAt(): number {
    return this.#lastInputAt;
  }

  sendHeader(options: HeaderOptions): void {
    if (!this.#outputOpen) return;
    this.#headerSent = true;
    this.transport.write(openingTag(this.#options.contentNamespace, options));
  }

  send(text: string): boolean {
    return this.#outputOpen ? this.transport.write(text) : true;
  }

  restart(): void {
    this.#headerSent = false;
    this.#parser.reset(false);
  }

  setLimits(limits: StreamLimits): void {
    this.#parser.setLimits(limits);
    this.#rate.setLimits(limits);
  }

  async startTls(options: TlsServerOptions | TlsClientOptions): Promise<TlsInfo> {
    this.#headerSent = false;
    this.#isSecuring = true;
    // What came in plain text before the handshake is not part of the secured stream (RFC 6120 §5.4.3.3).
    this.#parser.reset(true);
    this.#updateReading();
    try {
      return await this.transport.startTls(options);
    } catch (thrown) {
      this.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
      throw thrown;
    } finally {
      this.#isSecuring = false;
    }
  }

  hold(holder = ""): Promise<void> {
    this.#holders.add(holder);
    this.#parser.pause();
    this.#updateReading();
    if (!this.#busy) return Promise.resolve();
    return new Promise((resolve) => this.#whenStill.push(resolve));
  }

  release(holder = ""): void {
    if (!this.#holders.delete(holder) || this.#isHeld) return;
    // The connection has gone meanwhile.
    if (this.#transportEnd !== undefined) this.#outputOver("broken");
    if (!this.#busy) this.#goOn();
    else if (this.#transportEnd !== undefined) this.#limitTime(HANDLER_GRACE_MS);
  }

  close(options: { readonly error?: StreamError; readonly timeoutMs: number }): Promise<StreamEnd> {
    if (this.#end !== undefined) return Promise.resolve(this.#end);
    const ended = this.#whenEnded();
    this.#closeOutput(options.error);
    this.#limitTime(options.timeoutMs);
    return ended;
  }

  fail(error?: StreamError): void {
    if (!this.#inputOpen) return;
    this.#closeOutput(error);
    this.#fault ??= error;
    this.#closeTransport(this.#closeTimeoutMs);
  }

  hangUp(): Promise<StreamEnd> {
    if (this.#end !== undefined) return Promise.resolve(this.#end);
    const ended = this.#whenEnded();
    if (!this.#isDestroyed) {
      // What is held back will never be handled.
      this.#holders.clear();
      this.#outputOver("broken");
      this.#closeTransport(this.#closeTimeoutMs);
      if (this.#transportEnd !== undefined && !this.#busy) this.#finish(this.#transportEnd);
    }
    return ended;
  }

  destroy(error?: Error): void {
    if (this.#end !== undefined || this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.#error ??= error;
    this.#outputOver("broken");
    this.#endInput();
    if (this.#transportEnd === undefined) this.transport.destroy(error);
    else this.#finish(this.#transportEnd);
  }

  // The transport's calls.

  onData(chunk: Buffer): void {
    const now = this.#clock.now();
    this.#lastInputAt = now;
    if (!this.#inputOpen) {
      this.#discarded += chunk.length;
      if (this.#discarded > MAX_DISCARDED) this.destroy();
      return;
    }
    const waitMs = this.#rate.take(chunk.length, now);
    if (waitMs > 0) this.#slowDown(waitMs);
    try {
      this.#parser.write(chunk);
    } catch (thrown) {
      this.#handlerFailed(thrown);
    }
    // Not before: a handler that is done by the next read never makes the socket stop and start.
    if (this.#busy) this.#updateReading();
  }

  onEnd(): void {
    this.#finSeen = true;
    if (!this.#standsStill) this.#afterFin();
  }

  onDrain(): void {
    if (this.#outputOpen) this.#handler.onDrain();
  }

  onClose(end: TransportEnd): void {
    this.#transportEnd = end;
    // While everything is to stand still, a connection that breaks sets nothing off.
    if (this.#isHeld && this.#outputOpen && !this.#isDestroyed) return;
    this.#outputOver("broken");
    if (this.#standsStill && !this.#isDestroyed) this.#limitTime(HANDLER_GRACE_MS);
    else this.#finish(end);
  }

  // The parser's calls.

  onHeader(header: StreamHeader): void {
    this.#wait(this.#handler.onHeader(header));
  }

  onElement(element: Element): void {
    if (element.is("error", NS.streams)) this.#peerFailed(element);
    else this.#wait(this.#handler.onElement(element));
  }

  onEndTag(): void {
    this.#peerClosed = true;
    this.#handler.onPeerClosing();
    this.#closeOutput();
    this.#closeTransport(this.#closeTimeoutMs);
  }

  onFault(fault: XmlFault): void {
    this.fail(new StreamError(fault.condition, fault.text));
  }

  /** RFC 6120 §4.9.1.1: whoever sends an error closes the stream; its closing tag is still to come. */
  #peerFailed(element: Element): void {
    this.#fault ??= StreamError.read(element);
    this.#closeOutput();
    this.#limitTime(this.#closeTimeoutMs);
  }

  #whenEnded(): Promise<StreamEnd> {
    this.#ended ??= new Promise((resolve) => {
      this.#tellEnd = resolve;
    });
    return this.#ended;
  }

  get #closeTimeoutMs(): number {
    return this.#options.closeTimeoutMs ?? 5000;
  }

  /** Stops the parser while `work`, what the handler returned, is under way. */
  #wait(work: void | Promise<void>): void {
    if (work === undefined) return;
    this.#busy = true;
    this.#parser.pause();
    work.then(
      () => this.#goOn(),
      (thrown: unknown) => {
        this.#handlerFailed(thrown);
        this.#goOn();
      },
    );
  }

  get #isHeld(): boolean {
    return this.#holders.size > 0;
  }

  /** What has come is not handed over now. */
  get #standsStill(): boolean {
    return this.#busy || this.#isHeld;
  }

  /** The handler is done: it gets the next of what has come, and reading goes on. */
  #goOn(): void {
    this.#busy = false;
    for (const tell of this.#whenStill.splice(0)) tell();
    if (this.#end !== undefined || this.#isHeld) return;
    try {
      this.#parser.resume();
    } catch (thrown) {
      this.#handlerFailed(thrown);
    }
    if (this.#busy) return;
    if (this.#transportEnd !== undefined) this.#finish(this.#transportEnd);
    else if (this.#finSeen) this.#afterFin();
    else this.#updateReading();
  }

  #handlerFailed(thrown: unknown): void {
    const error = asError(thrown);
    this.#options.log?.error({ err: error, address: this.transport.remoteAddress }, "a stream's handler failed");
    this.#error ??= error;
    this.fail(new StreamError("internal-server-error"));
  }

  /** The peer will send no more, with a closing tag or without, and all it sent has been handled. */
  #afterFin(): void {
    if (this.#transportEnd !== undefined) return;
    if (!this.#peerClosed) this.#handler.onInputLost?.();
    if (this.#isDestroyed) return;
    // Somebody who never spoke XMPP needs no answer.
    if (this.#headerSent) this.#closeOutput();
    this.#outputOver("broken");
    this.#closeTransport(this.#closeTimeoutMs);
  }

  #closeOutput(error?: StreamError): void {
    if (!this.#outputOpen) return;
    // RFC 6120 §4.9.1.2: an error before the stream is open still comes inside of one.
    let text = this.#headerSent
      ? ""
      : openingTag(this.#options.contentNamespace, this.#options.fallbackHeader?.() ?? {});
    if (error !== undefined) {
      this.#fault ??= error;
      text += error.toElement().toString();
    }
    this.#headerSent = true;
    this.transport.write(text + CLOSING_TAG);
    this.#outputOver("closed");
  }

  #outputOver(how: "closed" | "broken"): void {
    if (!this.#outputOpen) return;
    this.#outputOpen = false;
    this.#handler.onOutputClosed?.(how);
  }

  /** Nothing is left to read or to say: closes the connection, and gives the peer a while to do the same. */
  #closeTransport(timeoutMs: number): void {
    this.#endInput();
    this.transport.end();
    this.#limitTime(timeoutMs);
  }

  #endInput(): void {
    this.#inputOpen = false;
    this.#parser.stop();
    this.#rateTimer?.cancel();
    this.#rateTimer = undefined;
    this.#updateReading();
  }

  #limitTime(ms: number): void {
    const at = this.#clock.now() + ms;
    if (this.#end !== undefined || at >= this.#deadlineAt) return;
    this.#deadlineAt = at;
    this.#deadline?.cancel();
    this.#deadline = this.#clock.setTimer(ms, () => this.destroy());
  }

  #slowDown(waitMs: number): void {
    this.#rateTimer?.cancel();
    this.#rateTimer = this.#clock.setTimer(waitMs, () => {
      this.#rateTimer = undefined;
      this.#updateReading();
    });
    this.#updateReading();
  }

  #updateReading(): void {
    // A handshake needs to read whatever else goes on, and so does a close: its sign is the peer's FIN.
    const pause = this.#inputOpen && !this.#isSecuring && (this.#standsStill || this.#rateTimer !== undefined);
    if (pause === this.#readingPaused || this.#transportEnd !== undefined) return;
    this.#readingPaused = pause;
    if (pause) this.transport.pause();
    else this.transport.resume();
  }

  #finish(transportEnd: TransportEnd): void {
    if (this.#end !== undefined) return;
    const error = this.#error ?? transportEnd.error;
    const end: StreamEnd = {
      peerClosed: this.#peerClosed,
      orderly: transportEnd.orderly,
      ...(this.#fault === undefined ? {} : { fault: this.#fault }),
      ...(error === undefined ? {} : { error }),
    };
    this.#end = end;
    this.#endInput();
    for (const tell of this.#whenStill.splice(0)) tell();
    this.#deadline?.cancel();
    this.#handler.onClosed(end);
    this.#tellEnd?.(end);
  }
}
