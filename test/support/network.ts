// A small internet on loopback: a name server, servers under test of any kind that find each other through it, slow links
// between them, and one call that takes everything down again.

import { type LinkQuality, SlowProxy } from "../../src/testing/slow-proxy.ts";
import { PORTS } from "./addresses.ts";
import { TestAuthority } from "./certificates.ts";
import { TestDns } from "./dns.ts";
import { ejabberdMissing, startEjabberd } from "./ejabberd.ts";
import { startMorendo } from "./morendo.ts";
import { prosodyMissing, startProsody } from "./prosody.ts";
import type { PeerOptions, RunningServer, ServerKind } from "./server.ts";

const LAUNCHERS = { prosody: startProsody, ejabberd: startEjabberd, morendo: startMorendo };

/** How a server joins the network: what is left out comes from the network. */
export type JoinOptions = Omit<PeerOptions, "identity" | "trust" | "dns">;

/** Why a server of this kind cannot be started here, or undefined when it can. */
export function missing(kind: ServerKind): string | undefined {
  return { prosody: prosodyMissing, ejabberd: ejabberdMissing, morendo: () => undefined }[kind]();
}

/** Name server, servers and links of one test. */
export class Network {
  readonly dns: TestDns;
  /** Issued the certificates of servers that federate by EXTERNAL; the others do not know it. */
  readonly authority = TestAuthority.create();
  #servers: RunningServer[] = [];
  #proxies: SlowProxy[] = [];
  #others: (() => void | Promise<void>)[] = [];

  private constructor(dns: TestDns) {
    this.dns = dns;
  }

  static async create(): Promise<Network> {
    return new Network(await TestDns.start());
  }

  /** The options of a server in this network. With `dialback` its certificate leads to a root that no peer knows. */
  complete(options: JoinOptions): PeerOptions {
    const external = options.federation === "external";
    const authority = external ? this.authority : TestAuthority.create("nobody's authority");
    const { chain, key } = authority.issue([options.domain]);
    return { ...options, identity: { certificate: chain, key }, trust: this.authority.root, dns: this.dns };
  }

  /** Starts a server and makes its domain known. */
  async start(kind: ServerKind, options: JoinOptions): Promise<RunningServer> {
    const server = await LAUNCHERS[kind](this.complete(options));
    this.adopt(server);
    return server;
  }

  /** Starts two servers at a time. */
  async startBoth(
    one: readonly [ServerKind, JoinOptions],
    other: readonly [ServerKind, JoinOptions],
  ): Promise<[RunningServer, RunningServer]> {
    const both = [this.start(...one), this.start(...other)] as const;
    // When one fails, the other must not come up after `stop()`.
    await Promise.allSettled(both);
    return await Promise.all(both);
  }

  /** Makes a server that was started elsewhere part of the network. */
  adopt(server: RunningServer): void {
    this.#servers.push(server);
    this.dns.place(server.domain, { address: server.address, port: PORTS.s2s });
  }

  /** The server of a domain, if there is one. */
  serverOf(domain: string): RunningServer | undefined {
    return this.#servers.find((server) => server.domain === domain);
  }

  /** Puts a proxy in front of the s2s listener of a server: what connects to its domain from now on goes through it. */
  async worsen(server: RunningServer, quality: LinkQuality): Promise<SlowProxy> {
    const proxy = await SlowProxy.start({ ...quality, host: server.address, port: PORTS.s2s }, server.address);
    this.#proxies.push(proxy);
    this.dns.place(server.domain, { address: proxy.address, port: proxy.port });
    return proxy;
  }

  /** Something else that `stop()` is to take down. */
  add(stop: () => void | Promise<void>): void {
    this.#others.push(stop);
  }

  /** Takes everything down, in spite of single failures, and deletes the folders. */
  async stop(): Promise<void> {
    const stops = [
      ...this.#others.map(async (stop) => stop()),
      ...this.#servers.map((server) => server.process.stop()),
      ...this.#proxies.map((proxy) => proxy.stop()),
    ];
    await Promise.allSettled(stops);
    await this.dns.stop();
  }
}
