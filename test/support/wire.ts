// A client that keeps to no rules: bytes out, bytes in, and how it ended. For tests of what a server does with input that no
// real client would send; test/… that want a real client take src/testing/raw-client.ts.

import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** The opening tag of a client of a.test. */
export const HEADER =
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='a.test' version='1.0'>";

/** A raw connection. */
export class Wire {
  readonly socket: Socket;
  received = "";
  /** The server closed its side in order. */
  fin = false;
  /** The code of what broke the connection, if it broke. */
  code: string | undefined;
  /** Resolves when the connection is gone. */
  readonly ended: Promise<void>;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (data: Buffer) => {
      this.received += data.toString();
    });
    socket.on("end", () => {
      this.fin = true;
      socket.end();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.code ??= error.code ?? error.message;
    });
    this.ended = new Promise((resolve) => {
      socket.on("close", () => resolve());
    });
  }

  /** Connects without TLS. */
  static async plain(port: number): Promise<Wire> {
    const wire = new Wire(connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true }));
    await new Promise<void>((resolve) => {
      wire.socket.once("connect", () => resolve()).once("close", () => resolve());
    });
    return wire;
  }

  /** Connects with TLS at once. */
  static async secure(port: number): Promise<Wire> {
    const wire = new Wire(connectTls({ host: "127.0.0.1", port, servername: "a.test", rejectUnauthorized: false }));
    await new Promise<void>((resolve) => {
      wire.socket.once("secureConnect", () => resolve()).once("close", () => resolve());
    });
    return wire;
  }

  send(data: string | Buffer): void {
    if (this.socket.writable) this.socket.write(data);
  }

  /** Resolves when `pattern` is in what was received; rejects after a while or at the end. */
  async until(pattern: RegExp): Promise<string> {
    await waitUntil(() => pattern.test(this.received) || this.socket.closed, `${pattern} in ${this.received}`);
    if (!pattern.test(this.received)) throw new Error(`closed without ${pattern}: ${this.received}`);
    return this.received;
  }

  /** The condition of the stream error received, if any. */
  get condition(): string | undefined {
    return /<stream:error><([a-z-]+) xmlns=["']urn:ietf:params:xml:ns:xmpp-streams["']/.exec(this.received)?.[1];
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** Waits for a condition that nobody tells us of; rejects after 30 s. */
export async function waitUntil(holds: () => boolean, what: string): Promise<void> {
  const limit = performance.now() + 30_000;
  while (!holds()) {
    if (performance.now() > limit) throw new Error(`waited in vain for: ${what.slice(0, 2000)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
