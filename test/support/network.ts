// A small internet on loopback: a name server, servers under test of any kind that find each other through it, slow links
// between them, and one call that takes everything down again.

import { makeSelfSigned } from "../../src/net/self-signed.ts";
import { SlowProxy, type LinkQuality } from "../../src/testing/slow-proxy.ts";
import { systemClock } from "../../src/util/clock.ts";
import { systemRandom } from "../../src/util/random.ts";
import { PORTS } from "./addresses.ts";
import { TestDns } from "./dns.ts";
import { ejabberdMissing, startEjabberd } from "./ejabberd.ts";
import { startMorendo } from "./morendo.ts";
import { prosodyMissing, startProsody } from "./prosody.ts";
import type { Identity, PeerOptions, RunningServer, ServerKind } from "./server.ts";

const LAUNCHERS = { prosody: startProsody, ejabberd: startEjabberd, morendo: startMorendo };

/** How a server joins the network: what is left out comes from the network. */
export type JoinOptions = Omit<PeerOptions, "identity" | "dns"> & { readonly identity?: Identity };

/** Why a server of this kind cannot be started here, or undefined when it can. */
export function missing(kind: ServerKind): string | undefined {
  return { prosody: prosodyMissing, ejabberd: ejabberdMissing, morendo: () => undefined }[kind]();
}

/** Name server, servers and links of one test. */
export class Network {
  readonly dns: TestDns;
  #servers: RunningServer[] = [];
  #proxies: SlowProxy[] = [];
  #others: (() => void | Promise<void>)[] = [];

  private constructor(dns: TestDns) {
    this.dns = dns;
  }

  static async create(): Promise<Network> {
    return new Network(await TestDns.start());
  }

  /** Starts a server and makes its domain known. Its certificate is self-signed unless told. */
  async start(kind: ServerKind, options: JoinOptions): Promise<RunningServer> {
    const identity = options.identity ?? (await selfSigned(options.domain));
    const server = await LAUNCHERS[kind]({ ...options, identity, dns: this.dns });
    this.adopt(server);
    return server;
  }

  /** Makes a server that was started elsewhere part of the network. */
  adopt(server: RunningServer): void {
    this.#servers.push(server);
    this.dns.place(server.domain, { address: server.address, port: PORTS.s2s });
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

/** A certificate of one's own for `domain`. */
export function selfSigned(domain: string): Promise<Identity> {
  return makeSelfSigned([domain], { clock: systemClock, random: systemRandom });
}
