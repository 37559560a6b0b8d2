// What the tests of the network share: a reader that records what it is told, and certificates.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TcpNetwork } from "../../../src/net/tcp.ts";
import { TlsContexts } from "../../../src/net/tls-contexts.ts";
import type {
  Accepted,
  Listener,
  ListenOptions,
  Transport,
  TransportEnd,
  TransportReader,
} from "../../../src/net/transport.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { silentLog } from "../../../src/util/log.ts";
import { TestAuthority } from "../../support/certificates.ts";

/** Records everything, in order. */
export class Recorder implements TransportReader {
  readonly calls: string[] = [];
  readonly ends: TransportEnd[] = [];
  bytes = Buffer.alloc(0);
  drains = 0;

  onData(chunk: Buffer): void {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    if (this.calls.at(-1) !== "data") this.calls.push("data");
  }

  onEnd(): void {
    this.calls.push("end");
  }

  onDrain(): void {
    this.drains++;
  }

  onClose(end: TransportEnd): void {
    this.calls.push("close");
    this.ends.push(end);
  }

  get text(): string {
    return this.bytes.toString();
  }
}

export const network = new TcpNetwork({ clock: systemClock, log: silentLog });

/** A listener that hands out what it accepted, in order. */
export class Door {
  readonly listener: Listener;
  #accepted: Accepted[] = [];
  #waiting: ((accepted: Accepted) => void)[] = [];
  count = 0;

  private constructor(listener: Listener) {
    this.listener = listener;
  }

  static async open(options: Partial<ListenOptions> = {}): Promise<Door> {
    const early: Accepted[] = [];
    let take = (accepted: Accepted): void => void early.push(accepted);
    const listener = await network.listen({ host: "127.0.0.1", port: 0, ...options }, (accepted) => take(accepted));
    const door = new Door(listener);
    take = (accepted) => door.#take(accepted);
    for (const accepted of early) take(accepted);
    return door;
  }

  next(): Promise<Accepted> {
    const accepted = this.#accepted.shift();
    if (accepted !== undefined) return Promise.resolve(accepted);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #take(accepted: Accepted): void {
    this.count++;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#accepted.push(accepted);
    else waiting(accepted);
  }
}

/** A plain connection: our transport on one side, a bare socket on the other. */
export async function plainPair(): Promise<{ transport: Transport; reader: Recorder; socket: Socket }> {
  const door = await Door.open();
  const socket = connect({ host: "127.0.0.1", port: door.listener.port, allowHalfOpen: true });
  await once(socket, "connect");
  const { transport } = await door.next();
  await door.listener.close();
  const reader = new Recorder();
  transport.setReader(reader);
  return { transport, reader, socket };
}

/** Has a peer that never stops sending read everything that a transport writes before its end, and then end in order. */
export async function partInNoise({ transport, reader, socket }: Awaited<ReturnType<typeof plainPair>>): Promise<void> {
  const received = readAll(socket);
  let isSending = true;
  const send = (): void => {
    while (isSending && socket.write("noise ".repeat(2_000)));
  };
  socket.on("drain", send);
  send();
  await until(() => reader.bytes.length > 100_000);
  transport.write("last words ".repeat(20_000));
  transport.end();
  assert.equal((await received).length, 11 * 20_000);
  const before = reader.bytes.length;
  await until(() => reader.bytes.length > before);
  isSending = false;
  socket.end();
  await until(() => reader.ends.length > 0);
  assert.deepEqual(reader.ends, [{ orderly: true }]);
  assert.equal(reader.bytes.length, socket.bytesWritten);
}

/** Waits until `holds`, checking at every turn. The test's own time limit bounds it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await systemClock.sleep(2);
}

/** Reads a socket to its end; resolves with what came, rejects when the connection breaks. */
export function readAll(socket: NodeJS.ReadableStream): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => void chunks.push(chunk));
    socket.on("end", () => resolve(Buffer.concat(chunks)));
    socket.on("error", reject);
  });
}

export const authority = TestAuthority.create();

/** Certificates for a.test and b.test, whose authority is trusted. */
export async function testCertificates(): Promise<TlsContexts> {
  const folder = await mkdtemp(join(tmpdir(), "morendo-net-"));
  const a = await authority.issueFiles(folder, ["a.test", "*.a.test"], {
    xmppAddresses: ["a.test"],
    srvNames: ["_xmpp-server.a.test"],
  });
  const b = await authority.issueFiles(folder, ["b.test"]);
  return await TlsContexts.load({
    hosts: [
      { name: "a.test", certificate: a.chain, key: a.key },
      { name: "b.test", certificate: b.chain, key: b.key },
    ],
    trustedRoots: [a.root],
    clock: systemClock,
    log: silentLog,
  });
}
