// Users of a Morendo who write to one another, and to users of another server, at a steady rate while their server is
// replaced again and again, and everything that both ends saw of it: which messages came, how often and in which order, who
// was told about whose presence, and what became of each attempt to connect. How the server is replaced is the caller's.

import { attributeOf, RawClient, type Received } from "../../src/testing/raw-client.ts";
import { PASSWORD } from "./accounts.ts";
import { PORTS } from "./addresses.ts";
import { sleep } from "./child.ts";
import { processesWith } from "./generations.ts";
import { prepareMorendo } from "./morendo.ts";
import { Network } from "./network.ts";
import type { RunningServer, ServerKind } from "./server.ts";
import { SmClient } from "./sm-client.ts";

export const LOCAL = "local.example";
const REMOTE = "remote.example";

export interface RestartCase {
  readonly users: number;
  /** The server of the remote users; without one all are local. */
  readonly peer?: ServerKind;
  readonly remotes?: number;
  /** Milliseconds between two messages of a user. */
  readonly paceMs: number;
  /** Connections may be refused: there are moments without a server. */
  readonly mayBeRefused?: boolean;
  /** Text added to the server's configuration. */
  readonly extra?: string;
}

/** What a case's replacements work on. */
export interface RestartScene {
  readonly server: RunningServer;
  /** Starts the server's program once more in the same folder; waits for nothing. */
  startAgain(): RunningServer;
  readonly users: readonly SteadyUser[];
}

/** What was seen. */
export interface RestartResult {
  readonly written: number;
  /** Messages that nobody got, that somebody got twice, and that came after a later one of the same writer, by name. */
  readonly missing: readonly string[];
  readonly doubled: readonly string[];
  readonly overtaken: readonly string[];
  /** Presence that anybody heard of after the beginning, and stanzas of type error. */
  readonly presence: readonly string[];
  readonly errors: readonly string[];
  /** Attempts to connect that ended before the stream did, and sessions that could not be resumed. */
  readonly refused: readonly string[];
  readonly failed: readonly string[];
  readonly resumptions: number;
  /** The longest time that a user was without a session: from the end of a connection to the answer on the next. */
  readonly longestGapMs: number;
}

/** A user with stream management who comes back whenever the connection is gone, and sends again what was not carried. */
export class SteadyUser {
  readonly jid: string;
  readonly username: string;
  readonly refused: string[] = [];
  readonly failed: string[] = [];
  resumptions = 0;
  /** When it last got its session back, by `performance.now()`. */
  resumedAt = 0;
  longestGapMs = 0;
  #scene: { readonly address: string; readonly mayBeRefused: boolean };
  #client: SmClient;
  #isLive = true;
  #isOver = false;
  #connections: RawClient[] = [];
  /** Every stanza sent since acknowledgements were agreed on. */
  #sent: string[] = [];

  private constructor(client: SmClient, scene: { readonly address: string; readonly mayBeRefused: boolean }) {
    this.#client = client;
    this.#scene = scene;
    this.username = client.username;
    this.jid = client.raw.jid;
    this.#connections.push(client.raw);
    void this.#live();
  }

  static async start(username: string, address: string, mayBeRefused: boolean): Promise<SteadyUser> {
    const client = await SmClient.start(clientsAt(address), username, "r");
    const user = new SteadyUser(client, { address, mayBeRefused });
    user.send("<presence/>");
    return user;
  }

  /** Whether it has its session now. */
  get isLive(): boolean {
    return this.#isLive;
  }

  send(xml: string): void {
    this.#sent.push(xml);
    if (this.#isLive) this.#client.raw.send(xml);
  }

  /** Everything received, over all connections. */
  get received(): readonly Received[] {
    return this.#connections.flatMap(({ received }) => received);
  }

  /** Its connection breaks; it comes back. */
  cut(): void {
    this.#client.raw.reset();
  }

  /** From now on it does not come back when its connection ends. */
  resign(): void {
    this.#isOver = true;
  }

  destroy(): void {
    this.#isOver = true;
    this.#client.raw.destroy();
  }

  async #live(): Promise<void> {
    for (;;) {
      await this.#client.raw.ended;
      this.#isLive = false;
      if (this.#isOver) return;
      const endedAt = performance.now();
      if (!(await this.#comeBack())) return;
      this.resumptions++;
      this.resumedAt = performance.now();
      this.longestGapMs = Math.max(this.longestGapMs, this.resumedAt - endedAt);
    }
  }

  /** Tries until it has its session back; false when that will not be. */
  async #comeBack(): Promise<boolean> {
    const { address, mayBeRefused } = this.#scene;
    const limit = performance.now() + 60_000;
    while (!this.#isOver && performance.now() < limit) {
      try {
        const client = await SmClient.resume(clientsAt(address), this.#client.identity);
        if (!client.answer.startsWith("<resumed")) {
          this.failed.push(`${this.jid}: ${client.answer}`);
          client.raw.destroy();
          return false;
        }
        this.#client = client;
        this.#connections.push(client.raw);
        for (const xml of this.#sent.slice(client.resumed())) client.raw.send(xml);
        this.#isLive = true;
        return true;
      } catch (thrown) {
        // Being told to go is no refusal.
        if (!String(thrown).includes("system-shutdown") && !mayBeRefused)
          this.refused.push(`${this.jid}: ${String(thrown)}`);
        await sleep(20);
      }
    }
    if (!this.#isOver) this.failed.push(`${this.jid}: no way back in a minute`);
    return false;
  }
}

/** Replaces the server, as often as it likes; returns what stops the last one at the end. */
export type Replace = (scene: RestartScene) => Promise<() => Promise<void>>;

/** Plays a case: lets everybody write, calls `replace`, and looks at what came of it. */
export async function playRestarts(each: RestartCase, replace: Replace): Promise<RestartResult> {
  const network = await Network.create();
  try {
    return await play(network, each, replace);
  } finally {
    await network.stop();
  }
}

async function play(
  network: Network,
  { users: count, peer, remotes = 0, paceMs, mayBeRefused = false, extra = "" }: RestartCase,
  replace: Replace,
): Promise<RestartResult> {
  const locals = Array.from({ length: count }, (_, index) => `u${index}@${LOCAL}`);
  const others = Array.from({ length: remotes }, (_, index) => `c${index}@${REMOTE}`);
  const contacts = (jids: readonly string[]) => jids.map((jid) => ({ jid, subscription: "both" as const }));
  const name = (jid: string): string => jid.slice(0, jid.indexOf("@"));
  /** Everybody has a local contact on either side in the ring, and one at the other server. */
  const ring = (index: number): string[] =>
    [1, count - 1].map((step) => locals[(index + step) % count] as string).concat(others[index % remotes] ?? []);

  if (peer !== undefined) {
    const accounts = others.map((jid, index) => ({
      username: name(jid),
      roster: contacts(locals.filter((_, user) => user % remotes === index)),
    }));
    await network.start(peer, { domain: REMOTE, accounts, extra: peer === "prosody" ? ROOM : "" });
  }
  const prepared = await prepareMorendo(
    network.complete({
      domain: LOCAL,
      accounts: locals.map((jid, index) => ({ username: name(jid), roster: contacts(ring(index)) })),
      unlimited: true,
      extra: `[module.offline]\nmax_messages = 100000\n${extra}`,
    }),
  );
  const server = prepared.start();
  network.adopt(server);
  network.add(() => {
    for (const pid of processesWith(prepared.folder)) process.kill(pid, "SIGKILL");
  });
  await server.process.listening(server.address, Object.values(PORTS));

  const users: SteadyUser[] = [];
  const strangers: RawClient[] = [];
  network.add(() => {
    for (const user of users) user.destroy();
    for (const stranger of strangers) stranger.destroy();
  });
  for (const jid of locals) users.push(await SteadyUser.start(name(jid), server.address, mayBeRefused));
  const peerServer = network.serverOf(REMOTE);
  for (const jid of others) {
    const stranger = await RawClient.login({
      host: peerServer?.address ?? "",
      port: PORTS.c2s,
      domain: REMOTE,
      username: name(jid),
      password: PASSWORD,
      resource: "r",
      mechanism: "PLAIN",
    });
    stranger.presence();
    strangers.push(stranger);
  }
  await settled(() => [...users, ...strangers].reduce((sum, { received }) => sum + received.length, 0), 1_000);
  const marks = new Map([...users, ...strangers].map((one) => [one, one.received.length]));

  // One message every `paceMs` from everybody: to the next in the ring, by bare and by full JID, and across.
  const book = new Map<string, string>();
  const numbers = new Map<string, number>();
  const write = (from: string, to: string, send: (xml: string) => void): void => {
    const pair = `${name(from)}-${name(to)}`;
    const number = (numbers.get(pair) ?? 0) + 1;
    numbers.set(pair, number);
    const id = `${pair}:${number}`;
    book.set(id, to);
    send(`<message to='${to}' type='chat' id='${id}'><body>${id}</body></message>`);
  };
  let isWriting = true;
  const writing = (async () => {
    for (let round = 0; isWriting; round++) {
      for (const [index, user] of users.entries()) {
        const [next = "", , across = next] = ring(index);
        const to = [next, across, `${next}/r`, `${across}/r`][round % 4] ?? next;
        write(user.jid, to, (xml) => user.send(xml));
      }
      for (const [index, stranger] of strangers.entries()) {
        const own = locals.filter((_, user) => user % remotes === index);
        const to = own[round % own.length];
        if (to !== undefined) write(stranger.jid, round % 2 === 0 ? to : `${to}/r`, (xml) => stranger.send(xml));
      }
      await sleep(paceMs);
    }
  })();
  await sleep(Math.min(5 * paceMs, 1_000));
  let stop: () => Promise<void>;
  try {
    stop = await replace({ server, startAgain: prepared.start, users });
    await sleep(Math.min(5 * paceMs, 1_000));
  } finally {
    isWriting = false;
    await writing;
  }
  await allBack([...book.keys()], () => [...users, ...strangers].flatMap(({ received }) => received));
  // What comes twice would still be on its way.
  await settled(() => [...users, ...strangers].reduce((sum, { received }) => sum + received.length, 0), 1_000);
  const received = new Map([...users, ...strangers].map((one) => [one, one.received.slice(marks.get(one))]));
  for (const user of users) user.resign();
  await stop();

  const seen = new Map<string, number>();
  const overtaken: string[] = [];
  const presence: string[] = [];
  const errors: string[] = [];
  for (const one of [...users, ...strangers]) {
    const last = new Map<string, number>();
    for (const { xml } of received.get(one) ?? []) {
      if (xml.startsWith("<presence")) presence.push(`${one.jid}: ${xml}`);
      if (/^<\w+ [^>]*type=['"]error['"]/.test(xml)) errors.push(`${one.jid}: ${xml}`);
      else if (xml.startsWith("<message")) {
        const [, id = "", pair = "", number = "0"] = /<body>(([^:<]*):(\d+))<\/body>/.exec(xml) ?? [];
        seen.set(id, (seen.get(id) ?? 0) + 1);
        if ((last.get(pair) ?? 0) > Number(number)) overtaken.push(`${id} after ${last.get(pair)}: ${xml}`);
        last.set(pair, Math.max(last.get(pair) ?? 0, Number(number)));
      }
    }
  }
  return {
    written: book.size,
    missing: [...book.keys()].filter((id) => !seen.has(id)),
    doubled: [...seen].flatMap(([id, times]) => (times > 1 || !book.has(id) ? [`${id}: ${times}`] : [])),
    overtaken,
    presence,
    errors,
    refused: users.flatMap(({ refused }) => refused),
    failed: users.flatMap(({ failed }) => failed),
    resumptions: users.reduce((sum, { resumptions }) => sum + resumptions, 0),
    longestGapMs: Math.max(...users.map(({ longestGapMs }) => longestGapMs)),
  };
}

/** Of stanzas that are not acknowledged Prosody remembers 500 and silently forgets those before. */
const ROOM = "smacks_max_queue_size = 100000";

function clientsAt(host: string) {
  return {
    client: (options = {}) =>
      new RawClient({ host, port: PORTS.c2sTls, domain: LOCAL, password: PASSWORD, timeoutMs: 30_000, ...options }),
  };
}

/** Waits until each of the messages has reached somebody, or has come back as an error; half a minute at most. */
async function allBack(ids: readonly string[], received: () => readonly Received[]): Promise<void> {
  const limit = performance.now() + 30_000;
  for (;;) {
    const there = new Set(received().map(({ xml }) => attributeOf(xml, "id")));
    if (ids.every((id) => there.has(id)) || performance.now() > limit) return;
    await sleep(100);
  }
}

/** Waits until a number has not grown for `quietMs`, half a minute at most. */
async function settled(count: () => number, quietMs: number): Promise<void> {
  const limit = performance.now() + 30_000;
  let last = count();
  let since = performance.now();
  while (performance.now() - since < quietMs && performance.now() < limit) {
    await sleep(50);
    const now = count();
    if (now !== last) since = performance.now();
    last = now;
  }
}
