// The contract between the network and everything above it: a byte stream both ways, that may become a TLS stream, and
// that says which end closed and how. tcp.ts is the real one; the test network is another. Nothing above this room
// touches a socket.

import type { SecureContext } from "node:tls";

/** How a transport came to its end: both sides closed in order, or it broke (`ECONNRESET`, `ETIMEDOUT`, …). */
export interface TransportEnd {
  /** True when the peer closed its side (FIN) before the transport was torn down. */
  readonly orderly: boolean;
  readonly error?: Error;
}

/** Who is told what a transport receives. Calls never nest: nothing is called from inside `write` or `setReader`. */
export interface TransportReader {
  /** Bytes came. The buffer belongs to the reader only during the call. */
  onData(chunk: Buffer): void;
  /** The peer will send nothing more (FIN). Writing is still possible. */
  onEnd(): void;
  /** The buffer of outgoing bytes has run empty after `write` had returned false. */
  onDrain(): void;
  /** The transport is gone; the last call. */
  onClose(end: TransportEnd): void;
}

/** What TLS was agreed on. */
export interface TlsInfo {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly protocol: string;
  readonly cipher: string;
  /** The protocol agreed by ALPN, if any. */
  readonly alpn: string | undefined;
  /** The server name the client asked for by SNI, in lower case, if any. */
  readonly serverName: string | undefined;
  /** True when the peer's certificate chain leads to a trusted root; the name is NOT checked here. */
  readonly chainTrusted: boolean;
  /** Why the chain is not trusted, such as `DEPTH_ZERO_SELF_SIGNED_CERT`. */
  readonly chainError: string | undefined;
  /** The names the peer's certificate is for: DNS names (wildcards as they stand), SRV-IDs and XmppAddrs. */
  readonly peerNames: readonly string[];
  /** Returns 32 bytes of tls-exporter channel binding (RFC 9266); undefined below TLS 1.3. */
  exporter(): Buffer | undefined;
}

/** What a TLS handshake is to do on the accepting side. */
export interface TlsServerOptions {
  readonly role: "server";
  readonly certificates: CertificateSource;
  readonly alpn?: readonly string[];
  /** Asks the peer for a certificate (it may have none). */
  readonly requestCertificate: boolean;
}

/** What a TLS handshake is to do on the dialling side. */
export interface TlsClientOptions {
  readonly role: "client";
  readonly certificates: CertificateSource;
  /** The name put into SNI. */
  readonly serverName: string;
  /** The local host whose certificate is shown when the peer asks for one. */
  readonly localName: string | undefined;
  readonly alpn?: readonly string[];
}

/** Chooses a certificate by name. Implemented by tls-contexts.ts; opaque to everybody else. */
export interface CertificateSource {
  /**
   * Returns the secure context for a host name, the default one when the name is not known. One that `verifiesPeer` has
   * the configured roots.
   */
  contextFor(serverName: string | undefined, verifiesPeer: boolean): SecureContext;
}

/** A byte stream both ways. */
export interface Transport {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** What TLS was agreed on; undefined before TLS. */
  readonly tls: TlsInfo | undefined;
  /** True between the start of a TLS handshake and its end. */
  readonly handshaking: boolean;
  /** Bytes written that the kernel has not taken yet. */
  readonly buffered: number;
  /** Says who is told from now on. Data is delivered only once there is a reader. */
  setReader(reader: TransportReader): void;
  /** Sends text as UTF-8. Texts of one turn of the event loop leave as one piece. False: more than the high-water mark waits; go on at `onDrain`. */
  write(text: string): boolean;
  /** Stops reading (the peer feels TCP back-pressure), and goes on. */
  pause(): void;
  resume(): void;
  /**
   * Runs a TLS handshake and resolves when it is done; from then on the stream is the one inside TLS. Bytes that had
   * come before the handshake began are dropped. Rejects when the handshake fails; the transport is then closed.
   */
  startTls(options: TlsServerOptions | TlsClientOptions): Promise<TlsInfo>;
  /** Sends what waits, then closes our side (close_notify, FIN). Reading goes on until the peer closes too. */
  end(): void;
  /** Tears the transport down now. */
  destroy(error?: Error): void;
  /** Tears the transport down and lets the peer see a reset (RST), not an end. */
  reset(): void;
}

/** Where to listen. */
export interface ListenOptions {
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** What it is for, such as `s2s`: with the address the name under which the socket is passed on, and found again. */
  readonly purpose?: string;
  /** Runs this handshake before `onConnection` (direct TLS, XEP-0368). The transport is reported at once, while it is still `handshaking`. */
  readonly tls?: TlsServerOptions;
}

/** What passing a listening socket on to another process takes. */
export interface PassableSocket {
  /** The name under which the other process finds it. */
  readonly name: string;
  /** Our descriptor, for inheritance by a process that is started now; undefined once the listener is closed. */
  readonly fd: number | undefined;
  /** Node's own object for the socket, for passing it to a process that exists already, by Node's IPC. */
  readonly handle: unknown;
  /**
   * Closes our copy of the socket and leaves those who wait in the accept backlog to whoever else has one: unlike `close`,
   * which takes them in. Without another copy they are reset. Connections accepted while paused are reported first.
   */
  release(): void;
}

/** A listening socket. */
export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Takes in every connection that waits in the kernel's accept backlog, then closes the socket. Accepted transports live on. */
  close(): Promise<void>;
  /** Stops accepting without closing (new connections wait in the backlog), and goes on. */
  pause(): void;
  resume(): void;
  /** How to pass it on to another process; absent when it is not a socket of the operating system. */
  readonly passable?: PassableSocket;
}

/** A connection that was accepted. */
export interface Accepted {
  readonly transport: Transport;
  /** With direct TLS: settles with the handshake. Rejects when it fails; the transport is then closed. */
  readonly ready: Promise<TlsInfo | undefined>;
}

/** What can be dialled. */
export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly signal?: AbortSignal;
}

/** The network as the server sees it. */
export interface Network {
  /** Starts listening. Rejects with `MORENDO_PORT_TAKEN` or another code that names the address. */
  listen(options: ListenOptions, onConnection: (accepted: Accepted) => void): Promise<Listener>;
  /** Connects over TCP; rejects with the system's error, or `ABORT_ERR` when `signal` aborts. */
  dial(options: DialOptions): Promise<Transport>;
}
