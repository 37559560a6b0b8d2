// One run of the question this project exists for: N users with two remote contacts each, SIGTERM to their server, and
// who on the remote side learned of it. The rows of the tests and of the benchmark are data for this one function.

import { type Ending, RawClient } from "../../src/testing/raw-client.ts";
import type { SlowProxy } from "../../src/testing/slow-proxy.ts";
import { type Account, PASSWORD } from "./accounts.ts";
import { establishedTo, PORTS } from "./addresses.ts";
import { type Exit, sleep } from "./child.ts";
import { type JoinOptions, Network } from "./network.ts";
import { RemoteWatch, type Tally } from "./remote-watch.ts";
import type { RunningServer, ServerKind } from "./server.ts";

/** One row. */
export interface ShutdownCase {
  /** The server that gets SIGTERM. */
  readonly server: ServerKind;
  /** The server of the contacts. */
  readonly peer: ServerKind;
  readonly users: number;
  /** `cold`: at SIGTERM no stream exists between the two servers. */
  readonly link: "warm" | "cold";
  /** Milliseconds each way, and bytes a second; the link is direct unless told. */
  readonly slow?: { readonly latencyMs: number; readonly bytesPerSecond?: number };
  /** Further contacts of every user, on domains of bad or missing peers. */
  readonly badDomains?: readonly string[];
  /** Makes what is behind `badDomains`. */
  readonly prepare?: (network: Network) => Promise<void>;
  /** Further options of the server under test. */
  readonly options?: Partial<JoinOptions>;
  /** Done right before SIGTERM. */
  readonly before?: (run: ShutdownRun) => Promise<void> | void;
  /** Sends SIGTERM unless told otherwise. */
  readonly trigger?: (run: ShutdownRun) => Promise<void> | void;
  /** How long the server may take before it is killed, in milliseconds (60,000 unless told). */
  readonly patienceMs?: number;
}

/** What a case's own steps can use. */
export interface ShutdownRun {
  readonly network: Network;
  readonly server: RunningServer;
  readonly peer: RunningServer;
  readonly users: readonly RawClient[];
  readonly watch: RemoteWatch;
  /** The proxies in front of the peer and of the server, where the case has a slow link. */
  readonly proxies: readonly SlowProxy[];
}

/** What one run showed. */
export interface ShutdownResult {
  readonly tally: Tally;
  readonly exit: Exit;
  /** Milliseconds from the trigger to the end of the process. */
  readonly exitMs: number;
  /** Milliseconds from the trigger until the last owed presence was there, or nothing more came. */
  readonly lastPresenceMs: number;
  readonly endings: readonly Ending[];
  readonly log: string;
}

const CONTACTS = 20;
const LOCAL = "local.example";
const REMOTE = "remote.example";

/** Plays one case on a network of its own. `inspect` sees the run after the end, before everything is deleted. */
export async function playShutdown<T = undefined>(
  each: ShutdownCase,
  inspect?: (result: ShutdownResult, run: ShutdownRun) => Promise<T> | T,
): Promise<ShutdownResult & { inspected: T | undefined }> {
  const network = await Network.create();
  try {
    const run = await setUp(network, each);
    run.watch.forget();
    await each.before?.(run);
    const endings = Promise.all(run.users.map((user) => user.ended));
    const started = performance.now();
    if (each.trigger === undefined) run.server.process.signal("SIGTERM");
    else await each.trigger(run);
    const owed = obligations(run.users);
    const complete = (): boolean => {
      const { arrived, owed: all } = run.watch.tally(owed);
      return arrived >= all;
    };
    const settled = watchUntil(run.watch, complete, run.server);
    const killer = setTimeout(() => run.server.process.signal("SIGKILL"), each.patienceMs ?? 60_000);
    const exit = await run.server.process.exited;
    clearTimeout(killer);
    const lastPresenceMs = (await settled) - started;
    // A doubled presence would still be on its way.
    await sleep(300 + 4 * (each.slow?.latencyMs ?? 0));
    const result: ShutdownResult = {
      tally: run.watch.tally(owed),
      exit,
      exitMs: exit.at - started,
      lastPresenceMs,
      endings: await endings,
      log: run.server.process.log,
    };
    return { ...result, inspected: await inspect?.(result, run) };
  } finally {
    await network.stop();
  }
}

async function setUp(network: Network, each: ShutdownCase): Promise<ShutdownRun> {
  const contacts = Array.from({ length: Math.min(CONTACTS, each.users * 2) }, (_, index) => `c${index}`);
  const accounts: Account[] = Array.from({ length: each.users }, (_, user) => ({
    username: `u${user}`,
    roster: [
      ...contactsOf(user, contacts.length).map((jid) => ({ jid, subscription: "both" as const })),
      ...(each.badDomains ?? []).map((domain) => ({ jid: `ghost@${domain}`, subscription: "both" as const })),
    ],
  }));
  const remote: JoinOptions = {
    domain: REMOTE,
    accounts: contacts.map((username, index) => ({ username, roster: watchedBy(index, each.users, contacts.length) })),
    ...(each.peer === "prosody" ? { pluginPaths: [PLUGINS], modules: ["close_s2s"] } : {}),
    logLevel: "warn",
  };
  const local: JoinOptions = { domain: LOCAL, accounts, logLevel: "warn", ...each.options };
  const [server, peer] = await network.startBoth([each.server, local], [each.peer, remote]);
  await each.prepare?.(network);
  const proxies: SlowProxy[] = [];
  // The link gets slow only once everybody is there; until then the proxies pass everything at once.
  if (each.slow !== undefined) for (const end of [peer, server]) proxies.push(await network.worsen(end, {}));
  const watch = await RemoteWatch.start(peer, contacts);
  network.add(() => watch.stop());
  const users: RawClient[] = [];
  network.add(() => {
    for (const user of users) user.destroy();
  });
  await logIn(server, each.users, users);
  const expected = users.length * contactsOf(0, contacts.length).length;
  await server.process.until(() => watch.available >= expected, `presence at the contacts (${expected})`, 60_000);
  const run = { network, server, peer, users, watch, proxies };
  if (each.link === "cold") await makeCold(run);
  for (const proxy of proxies) proxy.change(each.slow ?? {});
  return run;
}

const PLUGINS = new URL("prosody-modules", import.meta.url).pathname;

/**
 * Has the peer close every stream until none is left on either side. It is told again and again: an answer that is under
 * way, such as one to a ping, opens a stream anew.
 */
async function makeCold({ peer, server }: ShutdownRun): Promise<void> {
  if (peer.kind !== "prosody") throw new Error("only Prosody can be told to close its streams");
  let rounds = 0;
  await peer.process.until(
    async () => {
      if (rounds++ % 50 === 0) peer.process.signal("SIGUSR2");
      const open = (): number => establishedTo([peer.address, server.address], PORTS.s2s);
      if (open() > 0) return false;
      await sleep(300);
      return open() === 0;
    },
    "end of the s2s streams",
    30_000,
  );
}

async function logIn(server: RunningServer, count: number, users: RawClient[]): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const client = await RawClient.login({
        host: server.address,
        port: PORTS.c2s,
        domain: server.domain,
        username: `u${index}`,
        password: PASSWORD,
        resource: "r",
        mechanism: "PLAIN",
        record: false,
        timeoutMs: 6e4,
      });
      users.push(client);
      client.presence();
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

async function watchUntil(watch: RemoteWatch, complete: () => boolean, server: RunningServer): Promise<number> {
  while (server.process.exit === undefined && !complete()) await sleep(10);
  // Who ends well says that everything has arrived.
  await watch.settled(complete, server.process.exit?.code === 0 ? 15_000 : 2_500);
  return performance.now();
}

function obligations(users: readonly RawClient[]): Map<string, readonly string[]> {
  const contacts = Math.min(CONTACTS, users.length * 2);
  return new Map(users.map(({ jid }) => [jid, contactsOf(Number(/^u(\d+)@/.exec(jid)?.[1]), contacts)]));
}

function contactsOf(user: number, contacts: number): string[] {
  return [0, 1].map((which) => `c${(2 * user + which) % contacts}@${REMOTE}`);
}

function watchedBy(contact: number, users: number, contacts: number): { jid: string; subscription: "both" }[] {
  const watched = [];
  for (let user = 0; user < users; user++) {
    if (contactsOf(user, contacts).includes(`c${contact}@${REMOTE}`)) {
      watched.push({ jid: `u${user}@${LOCAL}`, subscription: "both" as const });
    }
  }
  return watched;
}
