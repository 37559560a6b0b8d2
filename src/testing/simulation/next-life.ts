// What the next start makes of what a simulated run left on the disk for other servers: every peer is there and behaves, no
// client comes. Only what happened; judge.ts says whether it was right.

import discoModule from "../../../modules/disco/index.ts";
import offlineModule from "../../../modules/offline/index.ts";
import pingModule from "../../../modules/ping/index.ts";
import presenceModule from "../../../modules/presence/index.ts";
import rosterModule from "../../../modules/roster/index.ts";
import type { Config } from "../../config/schema.ts";
import type { CertificateSource } from "../../net/transport.ts";
import { isDamaged, JOURNAL, readRecord, stanzaOf } from "../../server/s2s/journal-records.ts";
import { Server } from "../../server/server.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import type { MemoryStore } from "../../store/memory.ts";
import { silentLog } from "../../util/log.ts";
import { ScriptedPeer } from "../scripted-peer.ts";
import { Journal } from "./journal.ts";
import { SERVER } from "./scenario.ts";
import type { SeededRandom } from "./seeded-random.ts";
import { SimulatedClock } from "./simulated-clock.ts";
import { SERVER_PARTY, SimulatedNetwork } from "./simulated-network.ts";

/** How long it stays down, and how long what waits may take to arrive. */
const DOWN_MS = 60_000;
const PATIENCE_MS = 600_000;
/** How long it is watched for what should not come. */
const AFTERMATH_MS = 10_000;
/** Goodbyes that a crash prevented are said after ten seconds, and then have a way to go. */
const GOODBYES_MS = 30_000;

/** A stanza that waits on the disk, or that arrived. */
export interface Waiting {
  readonly kind: string;
  readonly type: string;
  readonly id: string;
  readonly from: string;
  readonly to: string;
}

/** What the next life did. */
export interface NextLife {
  /** What arrived at the peers, in order. */
  readonly arrived: readonly Waiting[];
  /** How many entries are left in the journal. */
  readonly left: number;
}

/** Returns what waits on a disk for other servers. */
export async function waitingOn(disk: MemoryStore): Promise<readonly Waiting[]> {
  const entries = await disk.range(JOURNAL, []);
  return entries.flatMap(([key, value]) => {
    const record = readRecord(key, value);
    const stanza = isDamaged(record) ? undefined : stanzaOf(record);
    return stanza === undefined ? [] : [describe(stanza)];
  });
}

export interface NextLifeOptions {
  readonly disk: MemoryStore;
  readonly config: Config;
  /** Every domain for which something waits. */
  readonly domains: ReadonlySet<string>;
  readonly random: SeededRandom;
  /** When the last life ended. */
  readonly endedAt: number;
  readonly certificates: CertificateSource;
}

/** Starts the server on what the last life left, and takes it down without a word when all has arrived. */
export async function playNextLife(options: NextLifeOptions): Promise<NextLife> {
  const { disk, config, domains, random, certificates } = options;
  const clock = new SimulatedClock(options.endedAt + DOWN_MS);
  const serverClock = clock.view();
  const cast = clock.view();
  const network = new SimulatedNetwork({
    clock: clock.view(),
    random: random.stream("network"),
    journal: new Journal(false, () => clock.now),
    trusted: new Set(),
    silentAddress: "",
  });
  const hosts = Object.fromEntries(config.hosts.map(({ name }) => [name, `${SERVER.address}:${SERVER.s2s}`]));
  const routes: Record<string, string> = {};
  const peers: ScriptedPeer[] = [];
  for (const [index, domain] of [...domains].entries()) {
    const place = { host: `10.0.3.${index + 1}`, port: 5269 };
    routes[domain] = `${place.host}:${place.port}`;
    const options = { domain, ...place, routes: hosts, trusting: true, clock: cast, network: network.of(domain) };
    peers.push(await ScriptedPeer.start(options));
  }
  const server = new Server({
    config: { ...config, s2s: { ...config.s2s, require_tls: false, routes } },
    log: silentLog,
    clock: serverClock,
    random: random.stream("server"),
    network: network.of(SERVER_PARTY),
    store: disk,
    modules: [rosterModule, presenceModule, offlineModule, discoModule, pingModule],
    certificates,
    reportDir: false,
  });
  let hasStarted = false;
  void server.start().then(() => {
    hasStarted = true;
  });
  await clock.run(() => hasStarted, PATIENCE_MS);
  const left = (): number => server.status().journal?.waiting ?? 0;
  await clock.run(() => clock.now > AFTERMATH_MS && left() === 0, PATIENCE_MS);
  await clock.run(() => false, clock.now + GOODBYES_MS);
  const waits = left();
  serverClock.stop();
  network.kill(SERVER_PARTY);
  const arrived = peers.flatMap((peer) =>
    peer.arrived.map(({ element: { name, attrs } }) => ({
      kind: name,
      type: attrs.type ?? (name === "presence" ? "available" : "normal"),
      id: attrs.id ?? "",
      from: attrs.from ?? "",
      to: attrs.to ?? "",
    })),
  );
  for (const peer of peers) await peer.stop();
  return { arrived, left: waits };
}

function describe({ kind, type, id = "", from, to }: Stanza): Waiting {
  return { kind, type, id, from: from.toString(), to: to?.toString() ?? "" };
}
