// The users of the long run: a crowd that is there and changes its presence in storms, talkers whose every message is written
// down, visitors who come and go, some of them without a word, users with stream management whose connections break, and
// readers who stop reading for a while. What each of them saw is judged at the end.

import { RawClient } from "../../src/testing/raw-client.ts";
import { SeededRandom } from "../../src/testing/simulation/seeded-random.ts";
import { type Account, PASSWORD } from "../support/accounts.ts";
import { PORTS } from "../support/addresses.ts";
import { sleep } from "../support/child.ts";
import { MessageLedger } from "../support/message-ledger.ts";
import { LOCAL, SteadyUser } from "../support/restart-scenario.ts";
import type { RunningServer } from "../support/server.ts";

/** How many users of each kind there are, and how busy they are. */
export interface Sizes {
  readonly crowd: number;
  readonly talkers: number;
  readonly visitors: number;
  readonly roamers: number;
  readonly dawdlers: number;
  /** Contacts on the other server, each on the rosters of many. */
  readonly contacts: number;
  /** Messages a second of all talkers together. */
  readonly messagesPerSecond: number;
  /** Logins a second. */
  readonly visitsPerSecond: number;
}

export const REMOTE = "remote.example";

/** The accounts on the server under test, with their rosters. */
export function accountsOf(sizes: Sizes): Account[] {
  const near = (kind: string, index: number, count: number): string[] =>
    [1, 2].map((step) => `${kind}${(index + step) % count}@${LOCAL}`);
  const kinds: readonly (readonly [string, number])[] = [
    ["crowd", sizes.crowd],
    ["talker", sizes.talkers],
    ["visitor", sizes.visitors],
    ["roamer", sizes.roamers],
    ["dawdler", sizes.dawdlers],
  ];
  return kinds.flatMap(([kind, count]) =>
    Array.from({ length: count }, (_, index) => ({
      username: `${kind}${index}`,
      roster: [...near(kind, index, count), contactOf(index, sizes)].map((jid) => ({
        jid,
        subscription: "both" as const,
      })),
    })),
  );
}

/** The accounts on the other server: who watches whom follows from the rosters above. */
export function contactsOf(sizes: Sizes): Account[] {
  const all = accountsOf(sizes);
  return Array.from({ length: sizes.contacts }, (_, contact) => ({
    username: `contact${contact}`,
    roster: all
      .filter(({ roster = [] }) => roster.some(({ jid }) => jid === `contact${contact}@${REMOTE}`))
      .map(({ username }) => ({ jid: `${username}@${LOCAL}`, subscription: "both" as const })),
  }));
}

function contactOf(index: number, { contacts }: Sizes): string {
  return `contact${index % contacts}@${REMOTE}`;
}

/** Everybody. */
export class Population {
  readonly ledger = new MessageLedger();
  /** What the contacts on the other server last heard of each full JID. */
  readonly believed = new Map<string, "available" | "unavailable">();
  /** What should not have happened, in words; the first hundred. */
  readonly complaints: string[] = [];
  /** From now on connections may break, and logins fail. */
  serverGoes = false;
  visits = 0;
  storms = 0;
  cuts = 0;
  pauses = 0;
  #sizes: Sizes;
  #address: string;
  #random: () => number;
  #crowd: RawClient[] = [];
  #talkers: RawClient[] = [];
  #roamers: SteadyUser[] = [];
  #dawdlers: RawClient[] = [];
  #contacts: RawClient[] = [];
  #isOver = false;
  #work: Promise<unknown>[] = [];

  constructor(sizes: Sizes, address: string, seed: number) {
    this.#sizes = sizes;
    this.#address = address;
    const random = new SeededRandom(seed);
    this.#random = () => random.below(2 ** 30) / 2 ** 30;
  }

  /** Everybody logs in. */
  async arrive(remote: RunningServer): Promise<void> {
    const { crowd, talkers, roamers, dawdlers, contacts } = this.#sizes;
    this.#contacts = await inParallel(contacts, async (index) => {
      const contact = await this.#login(`contact${index}`, { host: remote.address, domain: REMOTE });
      contact.onElement = (xml) => {
        this.#watch(xml);
        this.ledger.see(contact.jid, xml);
      };
      contact.presence();
      return contact;
    });
    const arrive = (kind: string, count: number): Promise<RawClient[]> =>
      inParallel(count, async (index) => {
        const client = await this.#login(`${kind}${index}`);
        client.presence();
        return client;
      });
    this.#crowd = await arrive("crowd", crowd);
    this.#dawdlers = await arrive("dawdler", dawdlers);
    this.#talkers = await arrive("talker", talkers);
    for (const talker of this.#talkers) this.ledger.watch(talker);
    for (let index = 0; index < roamers; index++)
      this.#roamers.push(await SteadyUser.start(`roamer${index}`, this.#address, true));
  }

  /** Everybody begins with what they do, until `rest`. */
  begin(): void {
    this.#work = [this.#talk(), this.#visit(), this.#storm(), this.#roam(), this.#dawdle()];
  }

  /** Nobody begins anything new; what is under way comes to its end by itself or with its connection. */
  async rest(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#work);
  }

  /** After the next start: the talkers fetch what waited for them, until nothing comes any more. */
  async fetch(): Promise<void> {
    const back = await inParallel(this.#sizes.talkers, async (index) => {
      const client = await this.#login(`talker${index}`, {}, (xml) => this.ledger.see(`talker${index}@${LOCAL}`, xml));
      client.presence();
      return client;
    });
    while (this.ledger.quietMs < 3_000) await sleep(200);
    for (const client of back) await client.close();
  }

  /** Drops all connections. */
  leave(): void {
    for (const user of this.#roamers) user.destroy();
    for (const client of [...this.#crowd, ...this.#talkers, ...this.#dawdlers, ...this.#contacts]) client.destroy();
  }

  /** Full JIDs that the contacts still believe to be there. */
  ghosts(): string[] {
    return [...this.believed].flatMap(([jid, state]) => (state === "available" ? [jid] : []));
  }

  async #talk(): Promise<void> {
    const pauseMs = 100;
    const each = (this.#sizes.messagesPerSecond * pauseMs) / 1_000;
    let owed = 0;
    while (!this.#isOver) {
      for (owed += each; owed >= 1; owed--) {
        const from = this.#pick(this.#talkers);
        const to = this.#random() < 0.5 ? this.#pick(this.#talkers) : this.#pick(this.#contacts);
        // Every fourth to the account, as clients do that do not know which resource is there.
        const address = this.#random() < 0.25 ? (to.jid.split("/")[0] ?? to.jid) : to.jid;
        this.ledger.send(from, address);
      }
      await sleep(pauseMs);
    }
  }

  async #visit(): Promise<void> {
    const under = new Set<Promise<void>>();
    const free = Array.from({ length: this.#sizes.visitors }, (_, index) => index);
    while (!this.#isOver) {
      const index = free.shift();
      if (index !== undefined) {
        const visit = this.#visitOnce(index).finally(() => {
          free.push(index);
          under.delete(visit);
        });
        under.add(visit);
      }
      await sleep(1_000 / this.#sizes.visitsPerSecond);
    }
    await Promise.all(under);
  }

  async #visitOnce(index: number): Promise<void> {
    try {
      const client = await this.#login(`visitor${index}`);
      this.visits++;
      client.presence();
      await Promise.race([sleep(200 + this.#random() * 5_000), client.ended]);
      const way = this.#random();
      if (way < 0.5) await client.close();
      else if (way < 0.75) client.reset();
      else client.destroy();
    } catch (thrown) {
      if (!this.serverGoes) this.#complain(`visitor${index}: ${String(thrown)}`);
    }
  }

  /** Every ten seconds a third of the crowd says at once that it is away, or back. */
  async #storm(): Promise<void> {
    while (!this.#isOver) {
      this.storms++;
      for (const client of this.#crowd) {
        if (this.#random() > 1 / 3) continue;
        client.presence(this.#random() < 0.5 ? "<presence><show>away</show></presence>" : "<presence/>");
      }
      for (let waited = 0; waited < 100 && !this.#isOver; waited++) await sleep(100);
    }
  }

  /** Connections of users with stream management break, and they come back. */
  async #roam(): Promise<void> {
    let round = 0;
    while (!this.#isOver) {
      for (const user of this.#roamers) {
        user.send(
          `<message to='${this.#pick(this.#roamers).jid}' id='r${round++}' type='chat'><body>on my way</body></message>`,
        );
        if (!user.isLive || this.#random() > 0.05) continue;
        this.cuts++;
        user.cut();
      }
      await sleep(1_000);
    }
  }

  /** Somebody does not read for a while. */
  async #dawdle(): Promise<void> {
    while (!this.#isOver) {
      for (const client of this.#dawdlers) {
        if (this.#random() < 0.3) {
          this.pauses++;
          client.stopReading();
        } else client.goOn();
      }
      await sleep(4_000);
    }
    for (const client of this.#dawdlers) client.goOn();
  }

  #watch(xml: string): void {
    const presence = /^<presence(?=[ />])[^>]*>/.exec(xml)?.[0];
    if (presence === undefined) return;
    const from = /\sfrom=["']([^"']+)["']/.exec(presence)?.[1] ?? "";
    const type = /\stype=["']([^"']+)["']/.exec(presence)?.[1];
    if (!from.includes(`@${LOCAL}/`)) return;
    if (type === undefined) this.believed.set(from, "available");
    else if (type === "unavailable") this.believed.set(from, "unavailable");
  }

  async #login(
    username: string,
    where: { readonly host?: string; readonly domain?: string } = {},
    onElement?: (xml: string) => void,
  ): Promise<RawClient> {
    const { host = this.#address, domain = LOCAL } = where;
    const client = new RawClient({
      host,
      port: PORTS.c2s,
      domain,
      username,
      password: PASSWORD,
      resource: "r",
      mechanism: "PLAIN",
      record: false,
      timeoutMs: 60_000,
    });
    client.onElement = onElement;
    await client.login();
    return client;
  }

  #pick<Item>(from: readonly Item[]): Item {
    const item = from[Math.floor(this.#random() * from.length)];
    if (item === undefined) throw new Error("nobody is there");
    return item;
  }

  #complain(text: string): void {
    if (this.complaints.length < 100) this.complaints.push(text);
  }
}

/** Sixteen at a time. */
async function inParallel<T>(count: number, act: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) results[index] = await act(index);
  };
  await Promise.all(Array.from({ length: Math.min(16, count) }, worker));
  return results;
}
