// The contract of an XML stream (RFC 6120 §4) as c2s and s2s use it; xml-stream.ts is the implementation.

import type { TlsClientOptions, TlsInfo, TlsServerOptions, Transport } from "../net/transport.ts";
import type { StreamError } from "../stanza/stream-error.ts";
import type { Element } from "../xml/element.ts";
import type { StreamHeader } from "../xml/stream-parser.ts";

export type { StreamHeader } from "../xml/stream-parser.ts";

/** How a stream came to its end. */
export interface StreamEnd {
  /** The peer sent `</stream:stream>`: what we had sent before ours has been read (RFC 6120 §4.4). */
  readonly peerClosed: boolean;
  /** The transport was closed in order by both sides, not reset or cut. */
  readonly orderly: boolean;
  /** The stream error we sent or received, if any. */
  readonly fault?: StreamError;
  /** What broke the transport, if it broke. */
  readonly error?: Error;
}

/** Who handles what a stream receives. Calls come one at a time and in order. */
export interface StreamHandler {
  /** The peer opened the stream, or opened it anew after a restart. While a promise is pending nothing else is read. */
  onHeader(header: StreamHeader): void | Promise<void>;
  /**
   * A complete child of the stream came. While a promise is pending the next one waits and reading pauses: a slow
   * handler slows its own peer and nobody else. Elements keep coming after `close` until the peer closes too.
   */
  onElement(element: Element): void | Promise<void>;
  /** The peer sent `</stream:stream>`. The stream answers it by itself and then closes. */
  onPeerClosing(): void;
  /**
   * Nothing can be sent any more, whoever closed or broke the stream; called once, before the `onClosed` that may be
   * seconds away. What is handed to `send` from now on is lost. `closed`: our closing tag was written; `broken`: the
   * connection went away without one.
   */
  onOutputClosed?(how: "closed" | "broken"): void;
  /**
   * The peer ended its side of the connection without a closing tag. The stream then says its own and closes, unless the
   * handler destroys it here.
   */
  onInputLost?(): void;
  /** There is room again after `send` had returned false. */
  onDrain(): void;
  /** The stream is over; the last call. Elements that were complete have all been handled. */
  onClosed(end: StreamEnd): void;
}

/** Bounds on what a peer may send; a breach ends the stream with `policy-violation`. */
export interface StreamLimits {
  readonly maxStanzaBytes: number;
  readonly maxDepth: number;
  readonly maxAttributes: number;
  /** Bytes a second on the long run; more is read later, not refused. */
  readonly rate: number;
  readonly burst: number;
}

/** Attributes of the opening tag we send. */
export interface HeaderOptions {
  readonly from?: string;
  readonly to?: string;
  readonly id?: string;
  readonly lang?: string;
}

/** An XML stream on a transport. */
export interface XmlStream {
  readonly transport: Transport;
  /** True once `close` was called or the peer closed: nothing more can be sent. */
  readonly closing: boolean;
  /** When bytes last came, by `Clock.now()`, white space that keeps the connection alive included: for idle timers. */
  readonly lastInputAt: number;
  /** Sends the opening tag. */
  sendHeader(options: HeaderOptions): void;
  /** Sends XML text as it is; false when the peer is slow: go on at `onDrain`. Ignored once closing. */
  send(text: string): boolean;
  /** Replaces the parser: the next thing the peer sends must be an opening tag (RFC 6120 §4.3.3). */
  restart(): void;
  /** Other bounds from now on, such as after authentication. */
  setLimits(limits: StreamLimits): void;
  /**
   * Stops reading and begins with nothing more of what has come, until `release`. Resolves when what was under way is
   * done: from then on the handler is not called with anything the peer sent. Sending goes on as before. Several can hold
   * a stream, each by its own name. That the connection breaks is told at the release.
   */
  hold(holder?: string): Promise<void>;
  /** Goes on after `hold`, once nobody holds it any more, with what has come meanwhile first. */
  release(holder?: string): void;
  /** Runs the TLS handshake and then restarts. Rejects when it fails; the stream is then over. */
  startTls(options: TlsServerOptions | TlsClientOptions): Promise<TlsInfo>;
  /**
   * Closes in order (RFC 6120 §4.4): sends the opening tag if none was sent, `error` if given, the closing tag; then
   * handles what the peer still sends until it closes too, at most `timeoutMs`. Resolves when the stream is over; never
   * rejects. Called again it can shorten the time, and returns the same promise.
   */
  close(options: { readonly error?: StreamError; readonly timeoutMs: number }): Promise<StreamEnd>;
  /**
   * Ends the stream for a fault of the peer (RFC 6120 §4.9.1.1): sends `error` if given and the closing tag, and closes
   * our side of the connection. What the peer still says is not heard. `onClosed` follows.
   */
  fail(error?: StreamError): void;
  /**
   * Ends the connection in order and the stream not at all: what was written goes out, then our end of TLS and TCP, but no
   * closing tag. What still comes is read and thrown away until the peer closes too, within the limits of any close.
   * Resolves when the stream is over; never rejects.
   */
  hangUp(): Promise<StreamEnd>;
  /** Ends the stream now, without a word. */
  destroy(error?: Error): void;
}
