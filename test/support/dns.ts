// A name server for the test network: A and SRV records out of a table, NXDOMAIN for everything else (RFC 1035, RFC 2782).
// It answers the questions of servers under test on loopback and is no more exact than that needs.

import { createSocket, type Socket } from "node:dgram";
import { isIPv4 } from "node:net";

const TYPE_A = 1;
const TYPE_SRV = 33;
const NXDOMAIN = 3;

/** Where the s2s listener of a domain is. */
export interface Place {
  readonly address: string;
  readonly port: number;
}

/** A running name server. */
export class TestDns {
  address = "127.0.0.1";
  port = 0;
  #socket: Socket = createSocket("udp4");
  #places = new Map<string, Place>();

  /** Starts a name server on a free port. */
  static async start(): Promise<TestDns> {
    const dns = new TestDns();
    dns.#socket.on("message", (query, from) => {
      const answer = dns.#answer(query);
      if (answer !== undefined) dns.#socket.send(answer, from.port, from.address);
    });
    await new Promise<void>((resolve) => dns.#socket.bind(0, dns.address, resolve));
    dns.port = dns.#socket.address().port;
    return dns;
  }

  /** Says where the servers of other domains find `domain`; a second call moves it. */
  place(domain: string, place: Place): void {
    this.#places.set(domain, place);
  }

  /** Ends the name server. */
  stop(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }

  #answer(query: Buffer): Buffer | undefined {
    if (query.length < 17) return undefined;
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString("latin1", at + 1, at + 1 + length).toLowerCase());
      at += 1 + length;
    }
    const type = query.readUInt16BE(at + 1);
    const question = query.subarray(12, at + 5);
    const name = labels.join(".");
    const service = name.startsWith("_xmpp-server._tcp.") ? name.slice("_xmpp-server._tcp.".length) : undefined;
    // SRV targets are addresses written as names: ejabberd asks the C library about targets, which knows only those.
    const place = isIPv4(name) ? { address: name, port: 0 } : this.#places.get(service ?? name);
    const data = place === undefined ? undefined : record(type, service, place);
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    // A response with authority and recursion available, so that no resolver looks further.
    header.writeUInt16BE(0x8580 | (place === undefined ? NXDOMAIN : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(data === undefined ? 0 : 1, 6);
    if (data === undefined) return Buffer.concat([header, question]);
    const fixed = Buffer.alloc(12);
    fixed.writeUInt16BE(0xc00c, 0);
    fixed.writeUInt16BE(type, 2);
    fixed.writeUInt16BE(1, 4);
    fixed.writeUInt32BE(60, 6);
    fixed.writeUInt16BE(data.length, 10);
    return Buffer.concat([header, question, fixed, data]);
  }
}

function record(type: number, service: string | undefined, place: Place): Buffer | undefined {
  if (type === TYPE_A && service === undefined) return Buffer.from(place.address.split(".").map(Number));
  if (type !== TYPE_SRV || service === undefined) return undefined;
  const fixed = Buffer.alloc(6);
  fixed.writeUInt16BE(place.port, 4);
  const target = place.address
    .split(".")
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([fixed, ...target, Buffer.from([0])]);
}
