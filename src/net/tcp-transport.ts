// A Transport on a TCP socket, plain at first and inside TLS after `startTls`. There is one object per connection and
// no closure per socket: an idle session should cost little. Not for: listening and dialling (tcp.ts).

import type { Socket } from "node:net";
import { isIP } from "node:net";
import { TLSSocket, connect as tlsConnect } from "node:tls";
import type { Clock } from "../util/clock.ts";
import { MorendoError } from "../util/errors.ts";
import { TlsDetails } from "./tls-info.ts";
import type {
  TlsClientOptions,
  TlsInfo,
  TlsServerOptions,
  Transport,
  TransportEnd,
  TransportReader,
} from "./transport.ts";
import type { WriteBatch } from "./write-batch.ts";

/** How long a connection is idle before the kernel asks whether the peer is still there. */
export const KEEP_ALIVE_MS = 120_000;

/** The most text handed to the socket at once: what waits behind it is joined to one text meanwhile. */
const PIECE = 64 * 1024;

/** What all transports of a network share. */
export interface TransportSurroundings {
  readonly clock: Clock;
  readonly batch: WriteBatch;
  /** `write` returns false when more waits, in UTF-16 units, which for XML are nearly bytes. */
  readonly highWaterMark: number;
}

const owner = Symbol("transport");
type OwnedSocket = Socket & { [owner]?: TcpTransport };

interface Handshake {
  readonly options: TlsServerOptions | TlsClientOptions;
  readonly resolve: (info: TlsInfo) => void;
  readonly reject: (error: Error) => void;
}

export class TcpTransport implements Transport {
  readonly remoteAddress: string;
  readonly remotePort: number;
  #surroundings: TransportSurroundings;
  #socket: OwnedSocket;
  /** The TCP socket under a TLS one. */
  #raw: Socket | undefined;
  #reader: TransportReader | undefined;
  #tls: TlsInfo | undefined;
  #handshake: Handshake | undefined;
  #text = "";
  #isQueued = false;
  /** The socket has a full buffer: the next piece goes at its `drain`. */
  #isBlocked = false;
  #owesDrain = false;
  #isPaused = false;
  #isEnding = false;
  #isReading = false;
  #peerEnded = false;
  #endTold = false;
  #error: Error | undefined;
  #end: TransportEnd | undefined;

  /** Takes over a connected socket that nobody reads from, made with `allowHalfOpen`. */
  constructor(socket: Socket, surroundings: TransportSurroundings) {
    this.#surroundings = surroundings;
    this.remoteAddress = withoutMapping(socket.remoteAddress);
    this.remotePort = socket.remotePort ?? 0;
    this.#socket = socket;
    adopt(socket, this);
  }

  get localAddress(): string {
    return withoutMapping(this.#socket.localAddress);
  }

  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  get tls(): TlsInfo | undefined {
    return this.#tls;
  }

  get handshaking(): boolean {
    return this.#handshake !== undefined;
  }

  /** True once the connection is gone. */
  get isClosed(): boolean {
    return this.#end !== undefined || this.#socket.destroyed;
  }

  get buffered(): number {
    return this.#text.length + this.#socket.writableLength;
  }

  setReader(reader: TransportReader): void {
    this.#reader = reader;
    if (this.#end !== undefined || this.#peerEnded) this.#surroundings.clock.soon(() => this.#catchUp());
    else this.#startReading();
  }

  write(text: string): boolean {
    if (this.#isEnding || this.#end !== undefined || text === "") return true;
    this.#text += text;
    if (!this.#isQueued && !this.#isBlocked && this.#handshake === undefined) {
      this.#isQueued = true;
      this.#surroundings.batch.add(this);
    }
    if (this.#text.length + this.#socket.writableLength <= this.#surroundings.highWaterMark) return true;
    this.#owesDrain = true;
    return false;
  }

  pause(): void {
    this.#isPaused = true;
    if (this.#isReading) this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#isReading) this.#socket.resume();
  }

  startTls(options: TlsServerOptions | TlsClientOptions): Promise<TlsInfo> {
    if (this.#end !== undefined || this.#socket.destroyed || this.#isEnding || this.#peerEnded) {
      return Promise.reject(new MorendoError("MORENDO_TLS_CLOSED", "the connection was closed before TLS could start"));
    }
    if (this.#tls !== undefined || this.#handshake !== undefined) {
      return Promise.reject(new MorendoError("MORENDO_TLS_STATE", "TLS was started already on this connection"));
    }
    return new Promise((resolve, reject) => {
      this.#socket.pause();
      this.#handOver();
      this.#handshake = { options, resolve, reject };
      // What was written in plain text must be on its way before TLS takes the handle over.
      if (this.buffered === 0) this.#upgrade();
      else this.#socket.write("", () => this.#upgrade());
    });
  }

  end(): void {
    if (this.#isEnding || this.#end !== undefined) return;
    this.#isEnding = true;
    // Nobody reads: what comes is thrown away, so that the peer's FIN is seen and closing is no reset.
    if (this.#reader === undefined && this.#handshake === undefined) this.#socket.resume();
    this.flush();
  }

  destroy(error?: Error): void {
    if (this.#end !== undefined) return;
    this.#error ??= error;
    this.#socket.destroy();
  }

  reset(): void {
    if (this.#end !== undefined || this.#socket.destroyed) return;
    // A TLS socket cannot reset; it closes with the socket under it.
    (this.#raw ?? this.#socket).resetAndDestroy();
  }

  /** Hands the gathered text to the socket; called at the end of the turn. */
  flush(): void {
    this.#isQueued = false;
    if (this.#isBlocked || this.#handshake !== undefined || this.#end !== undefined) return;
    this.#handOver();
    if (this.#text !== "") return;
    if (this.#isEnding) this.#socket.end();
    else if (this.#owesDrain && !this.#isBlocked) this.#tellDrain();
  }

  /** Gives the socket pieces until its buffer is full or nothing is left. */
  #handOver(): void {
    while (this.#text !== "" && !this.#isBlocked) {
      const piece = firstPiece(this.#text);
      this.#text = piece.length === this.#text.length ? "" : this.#text.slice(piece.length);
      this.#isBlocked = !this.#socket.write(piece, "utf8");
    }
  }

  #tellDrain(): void {
    this.#owesDrain = false;
    this.#reader?.onDrain();
  }

  #startReading(): void {
    if (this.#isReading || this.#reader === undefined || this.#handshake !== undefined) return;
    this.#isReading = true;
    this.#socket.on("data", onData);
    if (!this.#isPaused) this.#socket.resume();
  }

  #upgrade(): void {
    const { options } = this.#handshake as Handshake;
    const raw = this.#socket;
    if (raw.destroyed) return;
    release(raw);
    this.#isReading = false;
    this.#isBlocked = false;
    try {
      this.#socket = options.role === "server" ? acceptTls(raw, options) : dialTls(raw, options);
    } catch (thrown) {
      adopt(raw, this);
      this.destroy(new MorendoError("MORENDO_TLS_FAILED", "TLS could not be started", { cause: thrown }));
      return;
    }
    this.#raw = raw;
    adopt(this.#socket, this);
    this.#socket.on(options.role === "server" ? "secure" : "secureConnect", onSecure);
  }

  /** @internal */
  handleSecure(): void {
    const handshake = this.#handshake;
    const socket = this.#socket;
    if (handshake === undefined || !(socket instanceof TLSSocket)) return;
    const { options } = handshake;
    socket.off(options.role === "server" ? "secure" : "secureConnect", onSecure);
    this.#handshake = undefined;
    this.#tls =
      options.role === "server"
        ? new TlsDetails(socket, serverNameOf(socket), options.requestCertificate)
        : new TlsDetails(socket, options.serverName, true);
    handshake.resolve(this.#tls);
    // Data may follow the handshake in the same packet: it waits until those who await the handshake have run.
    this.#surroundings.clock.soon(() => {
      if (this.#end !== undefined) return;
      if (this.#isEnding && this.#reader === undefined) socket.resume();
      this.#startReading();
      this.flush();
    });
  }

  /** @internal */
  handleData(chunk: Buffer): void {
    this.#reader?.onData(chunk);
  }

  /** @internal */
  handleEnd(): void {
    this.#peerEnded = true;
    if (this.#handshake !== undefined) {
      this.destroy(new MorendoError("MORENDO_TLS_FAILED", "the peer closed during the TLS handshake"));
      return;
    }
    this.#tellEnd();
  }

  /** @internal */
  handleDrain(): void {
    this.#isBlocked = false;
    this.flush();
  }

  /** @internal */
  handleError(error: Error): void {
    this.#error ??= error;
  }

  /** @internal */
  handleClose(): void {
    if (this.#end !== undefined) return;
    const error = this.#error;
    const end: TransportEnd =
      error === undefined
        ? { orderly: this.#peerEnded }
        : { orderly: this.#peerEnded && this.#handshake === undefined, error };
    this.#end = end;
    this.#text = "";
    const handshake = this.#handshake;
    this.#handshake = undefined;
    handshake?.reject(handshakeError(error));
    this.#reader?.onClose(end);
  }

  /** Tells a reader that came late of what it has missed. */
  #catchUp(): void {
    if (this.#peerEnded) this.#tellEnd();
    if (this.#end !== undefined) this.#reader?.onClose(this.#end);
  }

  #tellEnd(): void {
    if (this.#endTold || this.#reader === undefined) return;
    this.#endTold = true;
    this.#reader.onEnd();
  }
}

function acceptTls(raw: Socket, options: TlsServerOptions): TLSSocket {
  const { certificates } = options;
  return new TLSSocket(raw, {
    isServer: true,
    secureContext: certificates.contextFor(undefined, options.requestCertificate),
    requestCert: options.requestCertificate,
    rejectUnauthorized: false,
    SNICallback: (name, done) => done(null, certificates.contextFor(name, options.requestCertificate)),
    ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
  });
}

function dialTls(raw: Socket, options: TlsClientOptions): TLSSocket {
  return tlsConnect({
    socket: raw,
    secureContext: options.certificates.contextFor(options.localName, true),
    rejectUnauthorized: false,
    // Names are checked by s2s, against the domain and not against a host name.
    checkServerIdentity: () => undefined,
    ...(isIP(options.serverName) === 0 ? { servername: options.serverName } : {}),
    ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
  });
}

function serverNameOf(socket: TLSSocket): string | undefined {
  const { servername } = socket as TLSSocket & { servername?: string | false };
  return typeof servername === "string" && servername !== "" ? servername : undefined;
}

function handshakeError(cause: Error | undefined): Error {
  if (cause instanceof MorendoError) return cause;
  const text = cause === undefined ? "the connection was closed" : cause.message;
  return new MorendoError("MORENDO_TLS_FAILED", `the TLS handshake failed: ${text}`, { cause });
}

/** Returns the beginning of `text`, at most a piece, without cutting a surrogate pair in two. */
function firstPiece(text: string): string {
  if (text.length <= PIECE) return text;
  const last = text.charCodeAt(PIECE - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? PIECE - 1 : PIECE);
}

/** An IPv4 peer of a socket that listens on both families is shown as what it is. */
function withoutMapping(address: string | undefined): string {
  if (address === undefined) return "";
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}

function adopt(socket: OwnedSocket, transport: TcpTransport): void {
  socket[owner] = transport;
  socket.on("error", onError).on("end", onEnd).on("drain", onDrain).on("close", onClose);
}

/** Leaves only the error listener: a socket must never be without one. */
function release(socket: OwnedSocket): void {
  socket.off("data", onData).off("end", onEnd).off("drain", onDrain).off("close", onClose);
}

function onData(this: OwnedSocket, chunk: Buffer): void {
  this[owner]?.handleData(chunk);
}

function onEnd(this: OwnedSocket): void {
  this[owner]?.handleEnd();
}

function onDrain(this: OwnedSocket): void {
  this[owner]?.handleDrain();
}

function onError(this: OwnedSocket, error: Error): void {
  this[owner]?.handleError(error);
}

function onClose(this: OwnedSocket): void {
  this[owner]?.handleClose();
}

function onSecure(this: OwnedSocket): void {
  this[owner]?.handleSecure();
}
