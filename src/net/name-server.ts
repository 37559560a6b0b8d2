// The system's way to ask name servers, for resolver.ts. Not for: caching and judging the answers.

import { promises as dns } from "node:dns";

/** A record that says where a service is (RFC 2782). */
export interface SrvRecord {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** An address and how long it is good for, in seconds. */
export interface AddressRecord {
  readonly address: string;
  readonly ttl: number;
}

/** Asks name servers. Close it when it is not needed any more: questions under way hold the event loop. */
export interface NameServer {
  resolveSrv(name: string): Promise<readonly SrvRecord[]>;
  resolve4(name: string, options: { ttl: true }): Promise<readonly AddressRecord[]>;
  resolve6(name: string, options: { ttl: true }): Promise<readonly AddressRecord[]>;
  /** Gives up all questions; their promises reject. */
  close(): void;
}

const TRIES = 2;

/**
 * Returns a way to ask `servers`, each an IP address with an optional port, such as `127.0.0.1:5353`; those of the system
 * when the list is empty. All tries of a question together take about `timeoutMs`.
 */
export function openNameServer(servers: readonly string[], timeoutMs: number): NameServer {
  const resolver = new dns.Resolver({ timeout: Math.ceil(timeoutMs / TRIES), tries: TRIES });
  if (servers.length > 0) resolver.setServers([...servers]);
  return {
    resolveSrv: (name) => resolver.resolveSrv(name),
    resolve4: (name, options) => resolver.resolve4(name, options),
    resolve6: (name, options) => resolver.resolve6(name, options),
    close: () => resolver.cancel(),
  };
}

/** Returns the addresses of a host as the system sees them, hosts file included. */
export async function lookupLocally(host: string): Promise<readonly string[]> {
  const found = await dns.lookup(host, { all: true });
  return found.map(({ address }) => address);
}
