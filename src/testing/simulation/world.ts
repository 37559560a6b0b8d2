// Plays one scenario: the whole server, its clients and its peers in this process, on one clock and one network, with
// every choice from the seed. Not for: choosing what happens (scenario.ts) and judging it (judge.ts).

import discoModule from "../../../modules/disco/index.ts";
import offlineModule from "../../../modules/offline/index.ts";
import pingModule from "../../../modules/ping/index.ts";
import presenceModule from "../../../modules/presence/index.ts";
import rosterModule from "../../../modules/roster/index.ts";
import { type Config, configSchema } from "../../config/schema.ts";
import { Jid } from "../../jid/jid.ts";
import type { CertificateSource } from "../../net/transport.ts";
import { Accounts } from "../../server/accounts.ts";
import { StoredRosters } from "../../server/rosters.ts";
import { Server } from "../../server/server.ts";
import type { DrainReport } from "../../shutdown/report.ts";
import { elementOf } from "../../stanza/element-tree.ts";
import { MemoryStore } from "../../store/memory.ts";
import type { Value } from "../../store/store.ts";
import type { Logger } from "../../util/log.ts";
import { ScriptedPeer } from "../scripted-peer.ts";
import { Arrivals, describeSettled, FateBook, type Settled } from "./books.ts";
import { guestModule } from "./guest-module.ts";
import { Journal } from "./journal.ts";
import { type NextLife, playNextLife, type Waiting, waitingOn } from "./next-life.ts";
import { type PeerPlan, type Scenario, SERVER } from "./scenario.ts";
import { SeededRandom } from "./seeded-random.ts";
import { PASSWORD, SimulatedClient } from "./simulated-client.ts";
import { type ClockView, SimulatedClock } from "./simulated-clock.ts";
import { SERVER_PARTY, SimulatedNetwork } from "./simulated-network.ts";
import { attr } from "./xml-text.ts";

/** What goes on after the run is over: the longest wait that any part of the server may have left behind. */
const AFTERMATH_MS = 45_000;
/** A run that takes so much longer than it may is not going to end. */
const PATIENCE_MS = 60_000;

const certificates: CertificateSource = {
  contextFor: () => {
    throw new Error("a network in memory needs no certificates");
  },
};

let accountRecord: Promise<Value> | undefined;

/** Makes the one account record that all accounts share: its keys are derived off the main thread, before anything counts. */
export function prepareAccounts(): Promise<Value> {
  accountRecord ??= (async () => {
    const store = new MemoryStore();
    const accounts = new Accounts({ store, random: new SeededRandom(1), iterations: 1 });
    await accounts.create(Jid.of("somebody", "a.test"), PASSWORD);
    return (await store.get("accounts", ["a.test", "somebody"])) ?? null;
  })();
  return accountRecord;
}

/** A peer and what is known of it. */
export interface PlayedPeer {
  readonly plan: PeerPlan;
  readonly peer: ScriptedPeer;
  readonly arrivals: Arrivals;
}

/** One scenario, before, while and after it is played. */
export class World {
  readonly scenario: Scenario;
  readonly journal: Journal;
  readonly network: SimulatedNetwork;
  readonly clients: SimulatedClient[] = [];
  readonly peers: PlayedPeer[] = [];
  readonly fates = new FateBook();
  readonly config: Config;
  readonly clock = new SimulatedClock();
  readonly serverClock: ClockView;
  /** What was wrong at the moment when it happened. */
  readonly faults: string[] = [];
  report: DrainReport | undefined;
  /** When the pipeline was over. */
  endedAt: number | undefined;
  killedAt: number | undefined;
  /** How many stanzas for other domains had no fate when it was over. */
  outstanding = 0;
  /** When the pipeline began. */
  runBeganAt = Number.POSITIVE_INFINITY;
  /** What was settled at the very moment when the pipeline began, before or after. */
  settledAtBegin = 0;
  /** The messages that the next process would find on the disk, by their identifiers; `error` before those that came back. */
  storedIds: readonly string[] = [];
  /** What waits there for other servers. */
  journalled: readonly Waiting[] = [];
  /** What the next process made of that; undefined when there was nothing to make. */
  nextLife: NextLife | undefined;
  /** Those that wait in a session which its client can resume after the next start: it says itself what it has read.
   * `error` before an identifier: that stanza came back. */
  keptIds: ReadonlySet<string> = new Set();
  /** All that is kept of such sessions, as text. */
  keptSessions = "";
  #random: SeededRandom;
  #store = new MemoryStore();
  #cast: ClockView;
  #disk: MemoryStore | undefined;
  #provedByClosing: Settled[] = [];

  constructor(scenario: Scenario, keepsHistory: boolean) {
    this.scenario = scenario;
    this.journal = new Journal(keepsHistory, () => this.clock.now);
    this.#random = new SeededRandom(scenario.seed);
    this.serverClock = this.clock.view();
    this.#cast = this.clock.view();
    const trusted = new Set(scenario.hosts);
    for (const { domain, external } of scenario.peers) if (external) trusted.add(domain);
    this.network = new SimulatedNetwork({
      clock: this.clock.view(),
      random: this.#random.stream("network"),
      journal: this.journal,
      trusted,
      silentAddress: scenario.silentAddress,
    });
    this.config = this.#configuration();
  }

  /** Plays it to the end. Rejects only when something throws that nobody catches. */
  async play(): Promise<void> {
    const { scenario } = this;
    await this.#fillStore();
    for (const plan of scenario.peers) await this.#addPeer(plan);
    for (const plan of scenario.clients) {
      const random = this.#random.stream(`client ${plan.name}`);
      const { network, journal } = this;
      this.clients.push(new SimulatedClient({ plan, clock: this.#cast, random, network, journal }));
    }
    const server = this.#startServer();
    this.#directMishaps();
    const budgetMs = this.config.shutdown.deadline + this.config.shutdown.quit.floor;
    const limit = scenario.stopAt + budgetMs + PATIENCE_MS;
    await this.clock.run(() => this.report !== undefined || this.killedAt !== undefined, limit);
    this.endedAt = this.clock.now;
    this.outstanding = server.status().s2s.queued;
    await this.clock.run(() => false, this.clock.now + AFTERMATH_MS);
    for (const settled of this.#provedByClosing) this.#checkProof(settled);
    const disk = this.#disk ?? this.#store.afterCrash();
    this.storedIds = await idsOf(disk);
    this.keptIds = await keptIdsOf(disk);
    this.keptSessions = JSON.stringify(await disk.range("kept-sessions", []));
    this.journalled = await waitingOn(disk);
    // A contact that still saw somebody is to be told at the next start.
    const hasGhost = this.killedAt !== undefined && this.peers.some(({ arrivals }) => arrivals.update().seesSomebody);
    if (this.journalled.length > 0 || hasGhost) {
      this.nextLife = await playNextLife({
        disk,
        config: this.config,
        domains: new Set([
          ...this.journalled.map(({ to }) => domainOf(to)),
          ...this.scenario.peers.map(({ domain }) => domain),
        ]),
        random: this.#random.stream("next life"),
        endedAt: this.clock.wallTime,
        certificates,
      });
    }
  }

  /** Whether the run had less time than it needed, by its own report. */
  get wasCutShort(): boolean {
    const { report } = this;
    if (report === undefined || report.hurried || report.skippedToEnd) return true;
    return report.phases.some(({ participants }) =>
      participants.some(({ name, outcome }) => name !== "guest" && outcome !== "done"),
    );
  }

  #configuration(): Config {
    const { hosts, routes, config } = this.scenario;
    const { address, c2s, c2sTls, s2s } = SERVER;
    return configSchema.parse({
      hosts: hosts.map((name) => ({ name })),
      modules: [],
      ...config,
      c2s: { listen: [`${address}:${c2s}`], listen_tls: [`${address}:${c2sTls}`], ...config.c2s },
      s2s: { listen: [`${address}:${s2s}`], routes, ...config.s2s },
    });
  }

  async #fillStore(): Promise<void> {
    const record = await prepareAccounts();
    const random = this.#random.stream("store");
    const rosters = new StoredRosters({ store: this.#store, random, changed: () => undefined });
    for (const { jid, roster } of this.scenario.users) {
      const [local = "", domain = ""] = jid.split("@");
      await this.#store.put("accounts", [domain, local], record);
      await rosters.importItems(
        Jid.of(local, domain),
        roster.map((item) => ({ jid: item.jid, subscription: item.subscription, groups: [] })),
      );
    }
    await this.#store.flushed();
    const { storeMs } = this.scenario;
    if (storeMs === 0) return;
    const wait = (): Promise<void> => this.serverClock.sleep(random.below(storeMs + 1));
    this.#store.hooks.beforeWrite = wait;
    this.#store.hooks.beforeFlush = wait;
  }

  #startServer(): Server {
    const { scenario, config, serverClock, journal } = this;
    const server = new Server({
      config,
      log: this.#log("server"),
      clock: serverClock,
      random: this.#random.stream("server"),
      network: this.network.of(SERVER_PARTY),
      store: this.#store,
      modules: [rosterModule, presenceModule, offlineModule, discoModule, pingModule, guestModule(scenario.guest)],
      certificates,
      reportDir: false,
    });
    this.fates.watch(
      server.lifecycle.obligations,
      () => this.clock.now,
      (settled) => this.#onSettled(settled),
    );
    server.on("state", ({ state }) => {
      if (state !== "stopping") return;
      this.runBeganAt = this.clock.now;
      this.settledAtBegin = this.fates.all.filter(({ at }) => at === this.clock.now).length;
    });
    server.on("phase", (event) => {
      journal.write("server", `phase ${event.phase} ${event.status}`);
    });
    void server.start();
    const director = this.clock.view();
    const at = (when: number | undefined, what: string, run: () => void): void => {
      if (when === undefined) return;
      director.setTimer(when, () => {
        if (this.killedAt !== undefined || this.report !== undefined) return;
        journal.write("scenario", what);
        run();
      });
    };
    at(scenario.stopAt, "SIGTERM", () => {
      void server.stop({ cause: "stop", reason: "simulated", trigger: "SIGTERM" }).then((report) => {
        this.report = report;
        journal.write("server", `report: ${report.outcome} ${JSON.stringify(report.obligations)}`);
      });
    });
    at(scenario.hurryAt, "second SIGTERM", () => server.lifecycle.hurry("SIGTERM"));
    at(scenario.skipAt, "third SIGTERM", () => server.lifecycle.skipToEnd("SIGTERM"));
    at(scenario.killAt, "SIGKILL", () => this.#kill());
    return server;
  }

  #kill(): void {
    this.killedAt = this.clock.now;
    this.#disk = this.#store.afterCrash();
    this.serverClock.stop();
    this.network.kill(SERVER_PARTY);
  }

  #onSettled(settled: Settled): void {
    if (this.journal.isKept) this.journal.write("books", describeSettled(settled));
    if (settled.fate !== "proved") return;
    // A closing tag that crossed ours says that the peer will read on to ours (RFC 6120 §4.4), not that it has.
    if (settled.evidence === "closed") this.#provedByClosing.push(settled);
    else this.#checkProof(settled);
  }

  #checkProof(settled: Settled): void {
    const peer = this.peers.find(({ plan }) => plan.domain === settled.destination);
    if (peer?.arrivals.has(settled.stanza) === true) return;
    this.faults.push(`proved and missing at the peer: ${describeSettled(settled)}`);
  }

  async #addPeer(plan: PeerPlan): Promise<void> {
    const { domain, address, tls, external, sm, verifies, workMs, acks } = plan;
    const work = { delayMs: workMs };
    const routes: Record<string, string> = {};
    for (const host of this.scenario.hosts) routes[host] = `${SERVER.address}:${SERVER.s2s}`;
    const peer = new ScriptedPeer({
      domain,
      ...(tls ? { certificates } : {}),
      abilities: { tls, external, sm },
      trusting: !verifies,
      routes,
      network: this.network.of(domain),
      clock: this.#cast,
      host: address,
      port: 5269,
      script: {
        // The same delay for all, or the peer would answer a closing tag before it has done what came before it.
        stanza: { ...work, on: "in" },
        ack: {
          act: acks === "never" ? "ignore" : "ordinary",
          delayMs: workMs + (acks === "late" ? 3_000 : 0),
          on: "in",
        },
        pong: plan.pongs ? "ordinary" : "ignore",
        end: { ...work, on: "in" },
        closing: { act: plan.answersClose ? "ordinary" : "ignore", ...work },
        dialback: plan.refuses ? { act: "refuse", on: "in" } : "ordinary",
      },
    });
    await peer.listen();
    this.peers.push({ plan, peer, arrivals: new Arrivals(peer) });
    for (const { at, what } of plan.acts) {
      this.#cast.setTimer(at, () => {
        this.journal.write(domain, what.kind === "send" ? `sends ${what.xml}` : what.kind);
        if (what.kind === "send") peer.send(what.xml);
        else disturb(peer, what.kind);
      });
    }
    for (const { from, to } of plan.down) {
      this.#cast.setTimer(from, () => {
        this.journal.write(domain, "crashes");
        void peer.crash();
      });
      this.#cast.setTimer(to, () => {
        this.journal.write(domain, "is back");
        void peer.listen();
      });
    }
  }

  #directMishaps(): void {
    for (const { at, kind, ms, dice } of this.scenario.mishaps) {
      this.#cast.setTimer(at, () => {
        const { open } = this.network;
        const connection = open[dice % open.length];
        if (connection === undefined) return;
        this.journal.write("scenario", `${kind} of c${connection.number} ${kind === "hold" ? `for ${ms} ms` : ""}`);
        connection.mishap = kind;
        if (kind === "reset") connection.near.cut();
        else (dice % 2 === 0 ? connection.near : connection.far).hold(ms);
      });
    }
  }

  /** Whether the scenario itself is the reason for an error in the log. */
  #isExpected(message: string): boolean {
    if (message === "a participant failed") return this.scenario.guest.throws;
    // Somebody was logging in when the server was told to skip to its end.
    return (
      message === "credentials could not be read" &&
      (this.scenario.skipAt ?? Number.POSITIVE_INFINITY) <= this.clock.now
    );
  }

  #log(who: string): Logger {
    const write = (level: string) => (fields: object, message: string) => {
      if (level === "error" && !this.#isExpected(message))
        this.faults.push(`the server logged an error: ${message} ${describe(fields)}`);
      if (this.journal.isKept) this.journal.write(who, `${level}: ${message} ${describe(fields)}`);
    };
    const log: Logger = {
      debug: () => undefined,
      info: write("info"),
      warn: write("warn"),
      error: write("error"),
      child: () => log,
    };
    return log;
  }
}

async function idsOf(store: MemoryStore): Promise<string[]> {
  const entries = await store.range("module:offline", []);
  const kept = JSON.stringify(await store.range("kept-sessions", []));
  // What waits in a kept session as well is the same message, and is deleted when its client has it.
  const waiting = entries.filter(([[, number]]) => !kept.includes(`"ref":"offline:${number}"`));
  return waiting.map(([, value]) => {
    const { type, id = "" } = elementOf(value)?.attrs ?? {};
    return type === "error" ? `error ${id}` : id;
  });
}

function domainOf(address: string): string {
  const bare = address.split("/", 1)[0] ?? "";
  return bare.slice(bare.indexOf("@") + 1);
}

/** Returns the identifiers of what waits in kept sessions: `error` and the identifier for what came back. */
async function keptIdsOf(store: MemoryStore): Promise<Set<string>> {
  const ids = new Set<string>();
  const text = JSON.stringify(await store.range("kept-sessions", [])).replaceAll('\\"', "'");
  for (const [tag] of text.matchAll(/<(?:message|iq) [^>]*>/g)) {
    const id = attr(tag, "id");
    if (id !== undefined) ids.add(attr(tag, "type") === "error" ? `error ${id}` : id);
  }
  return ids;
}

function disturb(peer: ScriptedPeer, kind: "close-inbound" | "close-outbound" | "garbage"): void {
  for (const connection of peer.connections) {
    if (connection.over) continue;
    if (kind === "garbage") connection.send("<<garbage>>");
    else if ((connection.side === "in") === (kind === "close-inbound")) connection.close();
  }
}

function describe(fields: object): string {
  return JSON.stringify(fields, (_, value: unknown) =>
    value instanceof Error ? (value.stack ?? value.message) : value,
  );
}
