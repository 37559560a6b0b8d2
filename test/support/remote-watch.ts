// The remote side's count: clients logged into a peer server that write down who became available and unavailable to
// them, per sender, as it came over the wire.

import { attributeOf, RawClient } from "../../src/testing/raw-client.ts";
import { PASSWORD } from "./accounts.ts";
import { PORTS } from "./addresses.ts";
import { sleep } from "./child.ts";
import type { RunningServer } from "./server.ts";

/** What the watching contacts have seen. */
export interface Tally {
  /** Pairs of contact and sender that were owed a presence. */
  readonly owed: number;
  /** Of those, how many got it at least once. */
  readonly arrived: number;
  /** How many presences came more than once, or were not owed. */
  readonly surplus: number;
}

interface Watcher {
  readonly client: RawClient;
  readonly available: Set<string>;
  readonly unavailable: Map<string, number>;
}

/** Contacts on one server, each a raw client that counts. */
export class RemoteWatch {
  #watchers = new Map<string, Watcher>();
  #lastAt = performance.now();

  /** Logs the contacts in and makes them available. */
  static async start(server: RunningServer, usernames: readonly string[]): Promise<RemoteWatch> {
    const watch = new RemoteWatch();
    for (const username of usernames) {
      const client = await RawClient.login({
        host: server.address,
        port: PORTS.c2s,
        domain: server.domain,
        username,
        password: PASSWORD,
        resource: "watch",
        mechanism: "PLAIN",
        record: false,
        timeoutMs: 6e4,
      });
      const watcher: Watcher = { client, available: new Set(), unavailable: new Map() };
      client.onElement = (xml) => watch.#see(watcher, xml);
      client.presence();
      watch.#watchers.set(`${username}@${server.domain}`, watcher);
    }
    return watch;
  }

  /** The contacts' clients, by bare JID. */
  client(jid: string): RawClient {
    const watcher = this.#watchers.get(jid);
    if (watcher === undefined) throw new Error(`${jid} does not watch`);
    return watcher.client;
  }

  /** How many contacts see how many senders as available, in all. */
  get available(): number {
    return [...this.#watchers.values()].reduce((sum, { available }) => sum + available.size, 0);
  }

  /** Counts unavailable presences against what was owed: sender's full JID to the contacts' bare JIDs. */
  tally(owed: ReadonlyMap<string, readonly string[]>): Tally {
    let pairs = 0;
    let arrived = 0;
    let once = 0;
    for (const [sender, contacts] of owed) {
      for (const contact of contacts) {
        const count = this.#watchers.get(contact)?.unavailable.get(sender) ?? 0;
        pairs += 1;
        if (count > 0) arrived += 1;
        once += Math.min(count, 1);
      }
    }
    const all = [...this.#watchers.values()].flatMap(({ unavailable }) => [...unavailable.values()]);
    return { owed: pairs, arrived, surplus: all.reduce((sum, count) => sum + count, 0) - once };
  }

  /** Forgets the unavailable presences seen so far, such as answers to probes. */
  forget(): void {
    for (const { unavailable } of this.#watchers.values()) unavailable.clear();
  }

  /** Waits until nothing came for `quietMs`, or the condition holds. */
  async settled(done: () => boolean, quietMs: number): Promise<void> {
    this.#lastAt = performance.now();
    while (!done() && performance.now() - this.#lastAt < quietMs) await sleep(20);
  }

  stop(): void {
    for (const { client } of this.#watchers.values()) client.destroy();
  }

  #see(watcher: Watcher, xml: string): void {
    this.#lastAt = performance.now();
    if (!xml.startsWith("<presence")) return;
    const from = attributeOf(xml, "from") ?? "";
    const type = attributeOf(xml, "type");
    if (type === undefined && from !== watcher.client.jid) watcher.available.add(from);
    if (type !== "unavailable") return;
    watcher.available.delete(from);
    watcher.unavailable.set(from, (watcher.unavailable.get(from) ?? 0) + 1);
  }
}
