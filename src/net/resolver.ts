// Finds out where a domain's server-to-server service is (RFC 6120 §3.2, XEP-0368, RFC 2782), with a cache and bounds on
// time and memory. Not for: connecting (dial.ts).

import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import type { Clock } from "../util/clock.ts";
import { asError, codeOf } from "../util/errors.ts";
import type { Random } from "../util/random.ts";
import { Lookups } from "./lookups.ts";
import { lookupLocally, type NameServer, openNameServer, type SrvRecord } from "./name-server.ts";
import { orderByPriority } from "./srv-order.ts";

/** A place where a domain's service may be reached. */
export interface Target {
  /** A host name or an IP address. */
  readonly host: string;
  readonly port: number;
  /** True when TLS starts at once, without STARTTLS (XEP-0368). */
  readonly directTls: boolean;
}

/** Why there is nowhere to go. */
export interface ResolveFailure {
  /**
   * `not-found`: the name does not exist, or says that it has no such service (`remote-server-not-found`).
   * `timeout`: the name servers did not answer or were broken; later it may work (`remote-server-timeout`).
   */
  readonly failure: "not-found" | "timeout";
  readonly reason: string;
}

export interface ResolverOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** The name servers, as `openNameServer` takes them, and the longest one question may take, all tries together. */
  readonly config: { readonly servers: readonly string[]; readonly timeout: number };
  /** Domains whose place is given, as `host:port`: no name server is asked. */
  readonly routes?: Readonly<Record<string, string>>;
  /** Asked instead of the network, in tests. */
  readonly nameServer?: NameServer;
  /** How many answers are kept; 10,000 unless told. */
  readonly cacheSize?: number;
}

const S2S_PORT = 5269;
/** Of those that were replaced, the latest are let finish. */
const MAX_FORMER = 8;
const MAX_RECORDS = 32;
const MIN_TTL_MS = 60_000;
const MAX_TTL_MS = 300_000;
/** Node tells no time to live for SRV records. */
const SRV_TTL_MS = 120_000;
const NEGATIVE_TTL_MS = 30_000;
/** A name server that fails may be well again soon. */
const TIMEOUT_TTL_MS = 5_000;

/** An answer, or why there is none. `absent`: the name server is sure. */
type Answer<T> = { readonly found: readonly T[] } | { readonly absent: string } | { readonly failed: string };

/** Finds the targets of domains and the addresses of hosts. */
export class Resolver {
  #clock: Clock;
  #random: Random;
  #timeoutMs: number;
  #nameServer: NameServer;
  /** Whether the system is asked for addresses that its name servers do not know, such as those in its hosts file. */
  #asksLocally: boolean;
  #routes: ReadonlyMap<string, Target>;
  #services: Lookups<Answer<SrvRecord>>;
  #addresses: Lookups<Answer<string>>;
  #options: ResolverOptions;
  /** Name servers that are not asked any more, but may have questions under way. */
  #former: NameServer[] = [];

  constructor(options: ResolverOptions) {
    const { servers, timeout } = options.config;
    const size = options.cacheSize ?? 10_000;
    this.#options = options;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#timeoutMs = timeout;
    this.#nameServer = options.nameServer ?? openNameServer(servers, timeout);
    this.#asksLocally = options.nameServer === undefined && servers.length === 0;
    this.#routes = routesOf(options.routes);
    this.#services = new Lookups(options.clock, size);
    this.#addresses = new Lookups(options.clock, size);
  }

  /**
   * Goes by another configuration from now on, also for what was asked before: nothing is remembered. Questions under way
   * are still answered by those who were asked.
   */
  reconfigure({ config, routes }: Pick<ResolverOptions, "config" | "routes">): void {
    const { servers, timeout } = config;
    const { nameServer, clock, cacheSize: size = 10_000 } = this.#options;
    this.#routes = routesOf(routes);
    this.#timeoutMs = timeout;
    this.#services = new Lookups(clock, size);
    this.#addresses = new Lookups(clock, size);
    if (nameServer !== undefined) return;
    this.#former.push(this.#nameServer);
    if (this.#former.length > MAX_FORMER) this.#former.shift()?.close();
    this.#nameServer = openNameServer(servers, timeout);
    this.#asksLocally = servers.length === 0;
  }

  /** Returns the places to try, in order. Never rejects, and takes no longer than three questions do. */
  async resolve(domain: string): Promise<readonly Target[] | ResolveFailure> {
    const route = this.#routes.get(canonical(domain));
    if (route !== undefined) return [route];
    const literal = domain.startsWith("[") && domain.endsWith("]") ? domain.slice(1, -1) : domain;
    if (isIP(literal) !== 0) return [{ host: literal, port: S2S_PORT, directTls: false }];
    const name = domainToASCII(domain);
    if (name === "" || name === "." || name.length > 253)
      return { failure: "not-found", reason: `${domain} is not a domain name` };
    const [direct, plain] = await Promise.all([
      this.#service(`_xmpps-server._tcp.${name}`),
      this.#service(`_xmpp-server._tcp.${name}`),
    ]);
    // XEP-0368 §3: the records of both kinds are one set.
    const records = [...recordsOf(direct, true), ...recordsOf(plain, false)];
    if (records.length > 0) {
      const ordered = orderByPriority(records, this.#random);
      return ordered.map((record) => ({ host: record.name, port: record.port, directTls: record.directTls }));
    }
    // Records, but none with a target: "." says that there is no such service (RFC 2782).
    if ("found" in plain) return { failure: "not-found", reason: `${domain} says that it has no XMPP service` };
    // RFC 6120 §3.2.2: without records the domain itself is the host. A failure is no proof that there are none.
    if ("failed" in plain) return { failure: "timeout", reason: plain.failed };
    const addresses = await this.addresses(name);
    return "failure" in addresses ? addresses : [{ host: name, port: S2S_PORT, directTls: false }];
  }

  /** Returns the addresses of a host name, those of IPv6 and IPv4 by turns. Never rejects. */
  async addresses(host: string): Promise<readonly string[] | ResolveFailure> {
    if (isIP(host) !== 0) return [host];
    const answer = await this.#addresses.get(host, () => this.#askAddresses(host), ttlOf);
    if ("found" in answer) return answer.found;
    if ("absent" in answer) return { failure: "not-found", reason: answer.absent };
    return { failure: "timeout", reason: answer.failed };
  }

  /** Gives up all questions under way: they hold the event loop. */
  close(): void {
    for (const nameServer of [this.#nameServer, ...this.#former]) nameServer.close();
  }

  #service(name: string): Promise<Answer<SrvRecord>> {
    const ask = async (): Promise<[Answer<SrvRecord>, number]> => {
      const answer = await this.#bounded(name, this.#nameServer.resolveSrv(name));
      return [answer, SRV_TTL_MS];
    };
    return this.#services.get(name, ask, ttlOf);
  }

  async #askAddresses(host: string): Promise<[Answer<string>, number]> {
    const [six, four] = await Promise.all([
      this.#bounded(host, this.#nameServer.resolve6(host, { ttl: true })),
      this.#bounded(host, this.#nameServer.resolve4(host, { ttl: true })),
    ]);
    const found = byTurns(foundIn(six), foundIn(four));
    if (found.length > 0) {
      const ttlMs = Math.min(...found.map((record) => record.ttl)) * 1_000;
      return [{ found: found.slice(0, MAX_RECORDS).map((record) => record.address) }, ttlMs];
    }
    const local = await this.#askLocally(host);
    if (local.length > 0) return [{ found: local }, 0];
    if ("failed" in four) return [four, 0];
    if ("failed" in six) return [six, 0];
    return [{ absent: `${host} has no address` }, 0];
  }

  async #askLocally(host: string): Promise<readonly string[]> {
    if (!this.#asksLocally) return [];
    const answer = await this.#bounded(host, lookupLocally(host));
    return "found" in answer ? answer.found : [];
  }

  /** Turns the fate of a question into a value, and bounds the time it takes. */
  async #bounded<T>(name: string, question: Promise<readonly T[]>): Promise<Answer<T>> {
    const answered = question.then(
      (found): Answer<T> =>
        found.length > 0 ? { found: found.slice(0, MAX_RECORDS) } : { absent: `no records for ${name}` },
      (thrown: unknown) => failureOf<T>(name, thrown),
    );
    const over = new AbortController();
    const late = this.#clock
      .sleep(this.#timeoutMs, over.signal)
      .then((): Answer<T> => ({ failed: `no name server answered in time about ${name}` }));
    const answer = await Promise.race([answered, late]);
    over.abort();
    return answer;
  }
}

/** People write domains in capitals, in their own script or in A-labels; all of that is one domain. */
function canonical(domain: string): string {
  return domainToASCII(domain.replace(/\.$/, "")) || domain.toLowerCase();
}

function routesOf(routes: Readonly<Record<string, string>> = {}): ReadonlyMap<string, Target> {
  return new Map(Object.entries(routes).map(([domain, place]) => [canonical(domain), targetAt(place)]));
}

function targetAt(place: string): Target {
  const colon = place.lastIndexOf(":");
  return {
    host: place.slice(0, colon).replace(/^\[|\]$/g, ""),
    port: Number(place.slice(colon + 1)),
    directTls: false,
  };
}

/** `ENOTFOUND` is NXDOMAIN, `ENODATA` a name without such records, `EBADNAME` no name: asking again is of no use. */
function failureOf<T>(name: string, thrown: unknown): Answer<T> {
  const code = codeOf(thrown);
  if (code === "ENOTFOUND") return { absent: `${name} does not exist` };
  if (code === "ENODATA") return { absent: `no records for ${name}` };
  if (code === "EBADNAME") return { absent: `${name} is not a domain name` };
  return { failed: `the name servers could not say about ${name}: ${code ?? asError(thrown).message}` };
}

function ttlOf(answer: Answer<unknown>, ttlMs: number): number {
  if ("found" in answer) return Math.min(Math.max(ttlMs, MIN_TTL_MS), MAX_TTL_MS);
  return "absent" in answer ? NEGATIVE_TTL_MS : TIMEOUT_TTL_MS;
}

function foundIn<T>(answer: Answer<T>): readonly T[] {
  return "found" in answer ? answer.found : [];
}

function recordsOf(answer: Answer<SrvRecord>, directTls: boolean): (SrvRecord & { directTls: boolean })[] {
  return foundIn(answer)
    .filter((record) => record.name !== "" && record.name !== ".")
    .map((record) => ({ ...record, directTls }));
}

/** RFC 8305 §4: the families by turns, so that a broken one costs one attempt and not all. */
function byTurns<T>(first: readonly T[], second: readonly T[]): T[] {
  const all: T[] = [];
  for (let index = 0; index < Math.max(first.length, second.length); index++) {
    all.push(...first.slice(index, index + 1), ...second.slice(index, index + 1));
  }
  return all;
}
