// One end of a connection that exists only in memory: bytes, FIN, reset and a make-believe TLS handshake travel as
// packets on a clock, in order. Not for: finding the other end (memory-network.ts).

import type {
  TlsClientOptions,
  TlsInfo,
  TlsServerOptions,
  Transport,
  TransportEnd,
  TransportReader,
} from "../net/transport.ts";
import type { Clock, Timer } from "../util/clock.ts";
import type { Random } from "../util/random.ts";

/** How connections in memory behave. */
export interface MemoryWire {
  readonly clock: Clock;
  readonly random: Random;
  /** How long a packet is under way, in milliseconds. */
  readonly latencyMs: number;
  /** What is added to that at random, at most; the order is kept. */
  readonly jitterMs: number;
  /** The longest piece a reader is given; with `cuts`, pieces are of random lengths up to this. */
  readonly chunkBytes: number;
  readonly cuts: boolean;
  readonly highWaterMark: number;
  /** The names for which a certificate shown in a handshake is trusted. */
  readonly trusted: ReadonlySet<string>;
}

/** Who looks on at one end of a connection. */
export interface MemoryTap {
  /** The end's owner writes `text`, which may still be lost on the way. */
  wrote?(text: string): void;
  /** The end's reader is given `bytes`. */
  read?(bytes: Buffer): void;
  /** The end is closed: nothing more is written or read here. */
  closed?(end: TransportEnd): void;
}

/** Where one end of a connection is. */
export interface MemoryAddress {
  readonly address: string;
  readonly port: number;
}

interface Hello {
  readonly role: "server" | "client";
  readonly serverName: string | undefined;
  /** The name of the certificate shown, if any. */
  readonly shown: string | undefined;
  readonly asksCertificate: boolean;
  readonly secret: Buffer;
}

type Packet =
  | { readonly kind: "data"; at: number; bytes: Buffer }
  | { readonly kind: "fin" | "reset"; at: number }
  | { readonly kind: "hello"; at: number; readonly hello: Hello };

interface Handshake {
  readonly hello: Hello;
  readonly resolve: (info: TlsInfo) => void;
  readonly reject: (error: Error) => void;
}

/** An end of a connection in memory. Everything its reader is told comes from the clock's timers. */
export class MemoryTransport implements Transport {
  #wire: MemoryWire;
  #local: MemoryAddress;
  #remote: MemoryAddress;
  /** The other end; `pair` sets it before anybody sees this one. */
  #peer: MemoryTransport = this;
  #reader: TransportReader | undefined;
  #outgoing = "";
  #flushTimer: Timer | undefined;
  #inbox: Packet[] = [];
  #inboxBytes = 0;
  #lastAt = 0;
  #deliveryTimer: Timer | undefined;
  #isPaused = false;
  #owesDrain = false;
  #finSent = false;
  #isEnding = false;
  #finReceived = false;
  #isClosed = false;
  #handshake: Handshake | undefined;
  #tls: TlsInfo | undefined;
  #end: TransportEnd | undefined;
  /** Nothing arrives before this moment. */
  #heldUntil = 0;
  #hasVanished = false;
  /** Told of what happens at this end; set by whoever wants to know, at any time. */
  tap: MemoryTap | undefined;

  private constructor(wire: MemoryWire, local: MemoryAddress, remote: MemoryAddress) {
    this.#wire = wire;
    this.#local = local;
    this.#remote = remote;
  }

  /** Returns the two ends of a new connection. */
  static pair(wire: MemoryWire, one: MemoryAddress, other: MemoryAddress): [MemoryTransport, MemoryTransport] {
    const first = new MemoryTransport(wire, one, other);
    const second = new MemoryTransport(wire, other, one);
    first.#peer = second;
    second.#peer = first;
    return [first, second];
  }

  get remoteAddress(): string {
    return this.#remote.address;
  }
  get remotePort(): number {
    return this.#remote.port;
  }
  get localAddress(): string {
    return this.#local.address;
  }
  get localPort(): number {
    return this.#local.port;
  }
  get tls(): TlsInfo | undefined {
    return this.#tls;
  }
  /** The other end. */
  get peer(): MemoryTransport {
    return this.#peer;
  }
  get isClosed(): boolean {
    return this.#isClosed;
  }
  get handshaking(): boolean {
    return this.#handshake !== undefined;
  }
  get buffered(): number {
    return this.#outgoing.length + this.#peer.#inboxBytes;
  }

  setReader(reader: TransportReader): void {
    this.#reader = reader;
    this.#schedule();
  }

  write(text: string): boolean {
    if (this.#isEnding || this.#isClosed || text === "") return true;
    this.tap?.wrote?.(text);
    this.#outgoing += text;
    this.#flushSoon();
    if (this.buffered <= this.#wire.highWaterMark) return true;
    this.#owesDrain = true;
    return false;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#schedule();
  }

  startTls(options: TlsServerOptions | TlsClientOptions): Promise<TlsInfo> {
    if (this.#isClosed || this.#isEnding || this.#finReceived)
      return Promise.reject(failure("the connection is closed"));
    if (this.#tls !== undefined || this.#handshake !== undefined)
      return Promise.reject(failure("TLS was started already"));
    this.#flush();
    const isClient = options.role === "client";
    const hello: Hello = {
      role: options.role,
      serverName: isClient ? options.serverName : undefined,
      shown: isClient ? options.localName : undefined,
      asksCertificate: isClient || options.requestCertificate,
      secret: this.#wire.random.bytes(32),
    };
    // What came in plain text is not part of the secured stream.
    this.#inbox = this.#inbox.filter((packet) => packet.kind !== "data" || packet.at > this.#wire.clock.now());
    this.#inboxBytes = 0;
    for (const packet of this.#inbox) if (packet.kind === "data") this.#inboxBytes += packet.bytes.length;
    return new Promise((resolve, reject) => {
      this.#handshake = { hello, resolve, reject };
      this.#peer.#arrive({ kind: "hello", at: this.#due(), hello });
      this.#schedule();
    });
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return;
    this.#isEnding = true;
    this.#flushSoon();
  }

  destroy(error?: Error): void {
    if (this.#isClosed) return;
    // As with TCP: an end that goes away leaving input unread resets the connection, and the reset eats data.
    const kind = this.#inbox.some((packet) => packet.kind === "data") ? "reset" : "fin";
    if (!this.#finSent || kind === "reset") this.#peer.#arrive({ kind, at: this.#due() });
    this.#close(error);
  }

  reset(): void {
    if (this.#isClosed) return;
    this.#peer.#arrive({ kind: "reset", at: this.#due() });
    this.#close(undefined);
  }

  /** Keeps whatever is on its way to this end, now and later, from arriving within the next `ms`. */
  hold(ms: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, this.#wire.clock.now() + ms);
    for (const packet of this.#inbox) packet.at = Math.max(packet.at, this.#heldUntil);
  }

  /** This end is gone without a word, as when its cable is pulled: the peer learns nothing, and its bytes go nowhere. */
  vanish(): void {
    this.#hasVanished = true;
    this.#close(undefined);
  }

  /** This end's process is killed: its reader hears nothing more, and its peer sees what a kernel sends then. */
  kill(): void {
    this.#reader = undefined;
    this.tap = undefined;
    this.destroy();
  }

  /** Breaks the connection at both ends, as a network that fails does. */
  cut(): void {
    this.#close(reset());
    this.#peer.#close(reset());
  }

  #flushSoon(): void {
    if (this.#handshake !== undefined) return;
    this.#flushTimer ??= this.#wire.clock.setTimer(0, () => this.#flush());
  }

  #flush(): void {
    this.#flushTimer?.cancel();
    this.#flushTimer = undefined;
    if (this.#isClosed || this.#handshake !== undefined) return;
    if (this.#outgoing !== "") {
      const bytes = Buffer.from(this.#outgoing);
      this.#outgoing = "";
      this.#peer.#arrive({ kind: "data", at: this.#due(), bytes });
    }
    if (!this.#isEnding || this.#finSent) return;
    this.#finSent = true;
    this.#peer.#arrive({ kind: "fin", at: this.#due() });
    if (this.#finReceived) this.#close(undefined);
  }

  /** When a packet sent now arrives: never before the one before it. */
  #due(): number {
    const { clock, latencyMs, jitterMs, random } = this.#wire;
    const jitter = jitterMs > 0 ? random.below(jitterMs + 1) : 0;
    this.#lastAt = Math.max(this.#lastAt, clock.now() + latencyMs + jitter);
    return this.#lastAt;
  }

  #arrive(packet: Packet): void {
    if (packet.at < this.#heldUntil) packet.at = this.#heldUntil;
    if (this.#isClosed) {
      if (packet.kind === "data" && this.#hasVanished) this.#inboxBytes += packet.bytes.length;
      // Nobody is here any more: whoever still sends data is told so.
      else if (packet.kind === "data") this.#peer.#arrive({ kind: "reset", at: this.#due() });
      return;
    }
    if (packet.kind === "data") this.#inboxBytes += packet.bytes.length;
    this.#inbox.push(packet);
    this.#schedule();
  }

  #schedule(): void {
    const next = this.#inbox[0];
    if (this.#deliveryTimer !== undefined || this.#isClosed || next === undefined) return;
    const wait = Math.max(0, next.at - this.#wire.clock.now());
    this.#deliveryTimer = this.#wire.clock.setTimer(wait, () => {
      this.#deliveryTimer = undefined;
      if (this.#deliver()) this.#schedule();
    });
  }

  /** Hands over the next packet, or a piece of it; false when the reader is not ready for it. */
  #deliver(): boolean {
    const packet = this.#inbox[0];
    if (packet === undefined) return false;
    if (packet.at > this.#wire.clock.now()) return true;
    if (this.#inbox.some((other) => other.kind === "reset" && other.at <= this.#wire.clock.now())) {
      this.#close(reset());
      return false;
    }
    if (packet.kind === "hello") return this.#onHello(packet.hello);
    if (this.#handshake !== undefined) {
      this.#close(failure("the peer did not speak TLS"));
      return false;
    }
    if (this.#reader === undefined || this.#isPaused) return false;
    if (packet.kind === "data") this.#onBytes(packet);
    else this.#onFin();
    return !this.#isClosed;
  }

  #onBytes(packet: Packet & { kind: "data" }): void {
    const { chunkBytes, cuts, random } = this.#wire;
    const length = cuts ? 1 + random.below(chunkBytes) : chunkBytes;
    const piece = packet.bytes.subarray(0, length);
    packet.bytes = packet.bytes.subarray(piece.length);
    if (packet.bytes.length === 0) this.#inbox.shift();
    this.#inboxBytes -= piece.length;
    this.tap?.read?.(piece);
    this.#reader?.onData(Buffer.from(piece));
    const peer = this.#peer;
    if (peer.#owesDrain && peer.buffered === 0) {
      peer.#owesDrain = false;
      this.#wire.clock.setTimer(0, () => {
        if (!peer.#isClosed) peer.#reader?.onDrain();
      });
    }
  }

  #onFin(): void {
    this.#inbox.shift();
    this.#finReceived = true;
    this.#reader?.onEnd();
    if (this.#finSent) this.#close(undefined);
  }

  #onHello(theirs: Hello): boolean {
    const handshake = this.#handshake;
    if (handshake === undefined) return false;
    this.#inbox.shift();
    const ours = handshake.hello;
    if (theirs.role === ours.role) {
      this.#close(failure(`both ends are ${ours.role}s`));
      return false;
    }
    const client = ours.role === "client" ? ours : theirs;
    const shown = ours.role === "client" ? client.serverName : client.shown;
    const name = ours.asksCertificate ? shown : undefined;
    const isTrusted = name !== undefined && this.#wire.trusted.has(name);
    this.#tls = {
      protocol: "TLSv1.3",
      cipher: "TLS_AES_256_GCM_SHA384",
      alpn: undefined,
      serverName: client.serverName?.toLowerCase(),
      chainTrusted: isTrusted,
      chainError: isTrusted ? undefined : "DEPTH_ZERO_SELF_SIGNED_CERT",
      peerNames: name === undefined ? [] : [name],
      exporter: () => client.secret,
    };
    this.#handshake = undefined;
    handshake.resolve(this.#tls);
    this.#flushSoon();
    return true;
  }

  #close(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#deliveryTimer?.cancel();
    this.#flushTimer?.cancel();
    this.#inbox = [];
    this.#inboxBytes = 0;
    const handshake = this.#handshake;
    this.#handshake = undefined;
    const orderly = this.#finReceived;
    this.#end = error === undefined ? { orderly } : { orderly, error };
    const end = this.#end;
    this.tap?.closed?.(end);
    this.#wire.clock.setTimer(0, () => {
      handshake?.reject(error ?? failure("the connection was closed"));
      this.#reader?.onClose(end);
    });
  }
}

function reset(): Error {
  return Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
}

function failure(text: string): Error {
  return Object.assign(new Error(`the TLS handshake failed: ${text}`), { code: "MORENDO_TLS_FAILED" });
}
