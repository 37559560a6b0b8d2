// A small name server on loopback for tests: answers SRV, A and AAAA questions over UDP from a table, says NXDOMAIN to
// everything else, and can be told to misbehave. Not for: any other use of DNS.

import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";

/** What is known of one name. */
export interface DnsEntry {
  readonly srv?: readonly {
    readonly priority?: number;
    readonly weight?: number;
    readonly port: number;
    readonly target: string;
  }[];
  /** IPv4 and IPv6 addresses. */
  readonly addresses?: readonly string[];
}

/** How questions are answered: from the table, not at all, or with "server failure". */
export type DnsMood = "answer" | "silent" | "servfail";

const TYPE_A = 1;
const TYPE_AAAA = 28;
const TYPE_SRV = 33;
const HEADER_BYTES = 12;
const TTL_SECONDS = 60;
const SERVFAIL = 2;
const NXDOMAIN = 3;

/** A name server. Start it, give its `address` to whoever asks, and close it. */
export class DnsResponder {
  /** Names without a final dot, in lower case, such as `_xmpp-server._tcp.b.test`. */
  readonly table = new Map<string, DnsEntry>();
  mood: DnsMood = "answer";
  /** Questions so far, such as `SRV _xmpp-server._tcp.b.test`. */
  readonly queries: string[] = [];
  #socket: Socket;

  private constructor(socket: Socket, table: Readonly<Record<string, DnsEntry>>) {
    this.#socket = socket;
    for (const [name, entry] of Object.entries(table)) this.table.set(name.toLowerCase(), entry);
    socket.on("message", (message, peer) => {
      const answer = this.#answer(message);
      if (answer !== undefined) socket.send(answer, peer.port, peer.address);
    });
  }

  /** Starts on a free port of `host` (127.0.0.1 unless told), or on the one given. */
  static async start(
    table: Readonly<Record<string, DnsEntry>> = {},
    { host = "127.0.0.1", port = 0 }: { readonly host?: string; readonly port?: number } = {},
  ): Promise<DnsResponder> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(port, host, () => {
        socket.off("error", reject);
        resolve();
      });
    });
    return new DnsResponder(socket, table);
  }

  /** The address as `[dns] servers` wants it, such as `127.0.0.1:40053`. */
  get address(): string {
    const { address, port } = this.#socket.address();
    return `${address}:${port}`;
  }

  /** Puts the records of a domain's server-to-server service into the table. */
  addService(domain: string, port: number, address = "127.0.0.1"): void {
    const host = `xmpp.${domain}`;
    this.table.set(`_xmpp-server._tcp.${domain}`, { srv: [{ port, target: host }] });
    this.table.set(host, { addresses: [address] });
  }

  /** Returns how many questions came, of one text or all. */
  count(query?: string): number {
    return query === undefined ? this.queries.length : this.queries.filter((other) => other === query).length;
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }

  #answer(message: Buffer): Buffer | undefined {
    const question = readQuestion(message);
    if (question === undefined) return undefined;
    const { name, type } = question;
    this.queries.push(`${typeName(type)} ${name}`);
    if (this.mood === "silent") return undefined;
    if (this.mood === "servfail") return reply(message, question.end, SERVFAIL, []);
    const entry = this.table.get(name);
    if (entry === undefined) return reply(message, question.end, NXDOMAIN, []);
    return reply(message, question.end, 0, recordsFor(entry, type));
  }
}

interface Question {
  readonly name: string;
  readonly type: number;
  readonly end: number;
}

function readQuestion(message: Buffer): Question | undefined {
  if (message.length < HEADER_BYTES + 5) return undefined;
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > 63) return undefined;
    at++;
    if (length === 0) break;
    labels.push(message.toString("latin1", at, at + length));
    at += length;
  }
  if (at + 4 > message.length) return undefined;
  return { name: labels.join(".").toLowerCase(), type: message.readUInt16BE(at), end: at + 4 };
}

function reply(message: Buffer, questionEnd: number, code: number, answers: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  message.copy(header, 0, 0, 2);
  // A response, authoritative, recursion desired and available.
  header.writeUInt16BE(0x8580 | code, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(answers.length, 6);
  return Buffer.concat([header, message.subarray(HEADER_BYTES, questionEnd), ...answers]);
}

function recordsFor(entry: DnsEntry, type: number): Buffer[] {
  const addresses = entry.addresses ?? [];
  switch (type) {
    case TYPE_A:
      return addresses.filter((address) => !isIPv6(address)).map((address) => record(type, ipv4Bytes(address)));
    case TYPE_AAAA:
      return addresses.filter((address) => isIPv6(address)).map((address) => record(type, ipv6Bytes(address)));
    case TYPE_SRV:
      return (entry.srv ?? []).map(({ priority = 0, weight = 0, port, target }) => {
        const numbers = Buffer.alloc(6);
        numbers.writeUInt16BE(priority, 0);
        numbers.writeUInt16BE(weight, 2);
        numbers.writeUInt16BE(port, 4);
        return record(type, Buffer.concat([numbers, nameBytes(target)]));
      });
    default:
      return [];
  }
}

function record(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(12);
  // The name is that of the question: a pointer to it.
  head.writeUInt16BE(0xc000 | HEADER_BYTES, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(TTL_SECONDS, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function nameBytes(name: string): Buffer {
  const labels = name.split(".").filter((label) => label !== "");
  const parts = labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, "latin1")]));
  return Buffer.concat([...parts, Buffer.from([0])]);
}

function ipv4Bytes(address: string): Buffer {
  return Buffer.from(address.split(".").map(Number));
}

function ipv6Bytes(address: string): Buffer {
  const [head = "", tail] = address.split("::");
  const groups = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const first = groups(head);
  const last = tail === undefined ? [] : groups(tail);
  const all = [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

function typeName(type: number): string {
  switch (type) {
    case TYPE_A:
      return "A";
    case TYPE_AAAA:
      return "AAAA";
    case TYPE_SRV:
      return "SRV";
    default:
      return String(type);
  }
}
