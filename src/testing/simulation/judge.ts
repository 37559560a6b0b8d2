// Says what was wrong with a simulated run: every stanza accepted has exactly one fate, nothing is proved that the peer
// does not have, every contact that was told "available" is told "unavailable", every phase keeps its limits, nothing is
// left over. It goes by what was on the wire, and compares the server's own books with that.

import { describeSettled, type Settled, type Written, writtenTo } from "./books.ts";
import {
  excuseForGhost,
  excuseForKilledQueue,
  excuseForNoFate,
  excuseForTwice,
  excuseForUntold,
  excuseForUntoldSender,
} from "./excuses.ts";
import type { Waiting } from "./next-life.ts";
import type { Sent, SimulatedClient } from "./simulated-client.ts";
import type { Connection } from "./simulated-network.ts";
import type { World } from "./world.ts";

/** What kind of rule was broken. */
export type Rule =
  | "no-fate"
  | "two-fates"
  | "proved-and-missing"
  | "books"
  | "ghost"
  | "double-unavailable"
  | "limits"
  | "acknowledged-and-missing"
  | "stored-and-missing"
  | "journal"
  | "cut-off"
  | "leak"
  | "error";

/** One broken rule. */
export interface Violation {
  readonly rule: Rule;
  readonly what: string;
}

/** Returns everything that was wrong. */
export function judge(world: World): Violation[] {
  return new Judgement(world).violations;
}

/** Everything that is known of one message for a local account. */
interface LocalFates {
  readonly delivered: number;
  /** The clients that saw it. */
  readonly receivers: readonly SimulatedClient[];
  /** Written to a client's connection that broke before it was read. */
  readonly onBroken: readonly Written[];
  readonly stored: boolean;
  /** It is kept with a session that can be resumed after the next start. */
  readonly waits: boolean;
  /** The server said that it is on disk. */
  readonly saidStored: boolean;
  /** The fates that are final: a stay in the store ends when somebody comes. */
  readonly settled: readonly Settled[];
}

class Judgement {
  readonly violations: Violation[] = [];
  #world: World;
  #written: ReadonlyMap<string, readonly Written[]>;
  #writtenToPeers: ReadonlyMap<string, readonly Written[]>;
  #stored = new Map<string, number>();
  #clientOf = new Map<number, SimulatedClient>();

  constructor(world: World) {
    this.#world = world;
    this.#written = writtenTo("clients", world.network.connections);
    this.#writtenToPeers = writtenTo("peers", world.network.connections);
    for (const client of world.clients) {
      for (const { number } of client.connections) this.#clientOf.set(number, client);
    }
    for (const id of world.storedIds) this.#stored.set(id, (this.#stored.get(id) ?? 0) + 1);
    for (const fault of world.faults) {
      this.#add(fault.startsWith("proved") ? "proved-and-missing" : "error", fault);
    }
    for (const client of world.clients) this.#judgeClient(client);
    this.#judgePeers();
    this.#judgeNextLife();
    if (world.killedAt === undefined) {
      this.#judgeReport();
      this.#judgeLeaks();
    }
  }

  #add(rule: Rule, what: string): void {
    this.violations.push({ rule, what });
  }

  #judgeClient(client: SimulatedClient): void {
    for (const sent of client.sent) {
      const domain = domainOf(sent.to);
      if (this.#world.scenario.hosts.includes(domain)) {
        if (sent.kind === "message") this.#judgeLocal(sent, client);
      } else this.#judgeRemote(sent, client);
    }
    this.#judgePresenceSeen(client);
    this.#judgeEnd(client);
  }

  /** A message between two clients of the server. */
  #judgeLocal(sent: Sent, client: SimulatedClient): void {
    const fates = this.#localFates(sent.id, sent.from);
    const returned = this.#errorsTo(client, sent.id);
    const what = `message ${sent.id} from ${sent.from} to ${sent.to}`;
    this.#judgeOne(what, { fates, returned, isOwed: isOwed(sent, client) });
  }

  /** A stanza from a client to another domain. */
  #judgeRemote(sent: Sent, client: SimulatedClient): void {
    const what = `${sent.kind} ${sent.id} from ${sent.from} to ${sent.to}`;
    const settled = this.#world.fates.of(sent.id, sent.from);
    const errors = this.#errorsTo(client, sent.id);
    // In the journal it waits for another attempt; what comes of that is its fate.
    const ends = settled.filter(({ fate }) => fate !== "stored");
    const waits = this.#world.journalled.filter(({ id, from }) => id === sent.id && from === sent.from).length;
    if (ends.length > 1) this.#add("two-fates", `${what}: ${settled.map(describeSettled).join("; ")}`);
    if (waits > 1) this.#add("two-fates", `${what} is ${waits} times in the journal`);
    const [first] = ends;
    if (waits > 0 && first !== undefined && !this.#isKilled) {
      this.#add("two-fates", `${what} is in the journal and ${first.fate}`);
    }
    if (first === undefined && settled.length > 0) {
      if (waits === 0) this.#add("stored-and-missing", `${what} is not in the journal`);
      if (errors > 0) this.#add("two-fates", `${what} is in the journal, and its sender was told that it failed`);
      return;
    }
    if (first === undefined && waits > 0) {
      // It was written, and the books had not been yet.
      if (!this.#isKilled) this.#add("books", `${what} is in the journal, and the books say nothing`);
      return;
    }
    if (first === undefined) {
      if (errors > 0) this.#add("books", `${what} was returned, and the books say nothing`);
      else if (isOwed(sent, client)) this.#judgeNoFate(what, []);
      return;
    }
    if (first.fate === "returned" && errors !== 1 && excuseForUntoldSender(this.#world, client) === undefined) {
      this.#add("no-fate", `${what} is returned by the books, and its sender was told ${errors} times`);
    }
    const sentAfter = this.#writtenToPeers.get(sent.id)?.some(({ at, type }) => at > first.at && type !== "error");
    if (sentAfter === true) this.#add("two-fates", `${what} was ${first.fate} by the books, and was sent after that`);
    if (first.fate !== "returned" && errors > 0) {
      this.#add("two-fates", `${what} is ${first.fate} by the books, and its sender was told that it failed`);
    }
  }

  #judgeOne(
    what: string,
    {
      fates,
      returned,
      isOwed,
      isPromised = false,
    }: {
      readonly fates: LocalFates;
      readonly returned: number;
      readonly isOwed: boolean;
      readonly isPromised?: boolean;
    },
  ): void {
    const { delivered, onBroken, stored, waits, settled, saidStored } = fates;
    const dropped = settled.filter(({ fate }) => fate === "dropped" || fate === "lost").length;
    const kept = delivered > 0 || stored || waits || onBroken.length > 0;
    const sum = (kept ? 1 : 0) + returned + dropped;
    const story = `${what}: delivered ${delivered}, on broken connections ${onBroken.length}, stored ${stored}, returned ${returned}, dropped or lost ${dropped}`;
    if (waits && stored) this.#add("two-fates", `${what} waits in a session and is stored`);
    if (sum > 1) this.#judgeTwice(story, delivered > 0 && returned <= 1 && dropped <= 1 ? fates.receivers : []);
    else if (stored && delivered > 0) this.#judgeTwice(story, fates.receivers);
    if (settled.length > 1) this.#add("two-fates", `${what}: ${settled.map(describeSettled).join("; ")}`);
    if (saidStored && !kept) this.#add("stored-and-missing", story);
    if (sum === 0 && isPromised) this.#add("acknowledged-and-missing", story);
    else if (isOwed && sum === 0) this.#judgeNoFate(what, []);
    else if (isOwed && !stored && !waits && delivered === 0 && returned + dropped === 0)
      this.#judgeNoFate(what, onBroken);
  }

  #judgeTwice(story: string, receivers: readonly SimulatedClient[]): void {
    if (excuseForTwice(this.#world, receivers) === undefined) this.#add("two-fates", story);
  }

  #judgeNoFate(what: string, written: readonly Written[]): void {
    const receivers = written.map(({ connection }) => this.#clientOf.get(connection.number));
    if (excuseForNoFate(this.#world, receivers) === undefined) this.#add("no-fate", what);
  }

  #localFates(id: string, from: string): LocalFates {
    const receivers: SimulatedClient[] = [];
    for (const client of this.#world.clients) {
      const copies = client.seen.filter((seen) => seen.id === id && seen.type !== "error" && seen.from === from).length;
      if (copies > 0) receivers.push(client);
      if (copies > 1) this.#judgeTwice(`${id} came ${copies} times to ${client.jid}`, [client]);
    }
    const onBroken = (this.#written.get(id) ?? []).filter(({ connection, type, isCounted }) => {
      const client = this.#clientOf.get(connection.number);
      // Who acknowledges is owed it until he does.
      return type !== "error" && !isCounted && client !== undefined && !receivers.includes(client);
    });
    const stored = this.#stored.get(id) ?? 0;
    if (stored > 1) this.#add("two-fates", `${id} is stored ${stored} times`);
    const all = this.#world.fates.of(id, from);
    const saidStored = all.some(({ fate }) => fate === "stored");
    return {
      delivered: receivers.length,
      receivers,
      onBroken,
      stored: stored > 0,
      waits: this.#world.keptIds.has(id),
      saidStored,
      settled: all.filter(({ fate }) => fate !== "stored"),
    };
  }

  /**
   * How often a client was told that a stanza failed: on any one connection, because it is said again on the next. One that
   * has gone learns it when it comes again, or by another client of the account.
   */
  #errorsTo(client: SimulatedClient, id: string): number {
    if (this.#stored.has(`error ${id}`)) return 1;
    const isHeard = this.#world.clients.some(
      (other) =>
        other !== client &&
        other.plan.user === client.plan.user &&
        (this.#written.get(id) ?? []).some(
          (each) => each.type === "error" && other.connections.includes(each.connection),
        ),
    );
    if (isHeard) return 1;
    const counts = new Map<Connection, number>();
    for (const { connection, type } of this.#written.get(id) ?? []) {
      if (type !== "error" || !client.connections.includes(connection)) continue;
      counts.set(connection, (counts.get(connection) ?? 0) + 1);
    }
    const isWaiting = client.plan.sm === "resumes" && this.#world.keptIds.has(`error ${id}`);
    const seen = isWaiting ? 1 : client.seen.filter((each) => each.id === id && each.type === "error").length;
    return Math.max(seen, ...counts.values(), 0);
  }

  /** Exactly what waited on the disk comes out at the next start, once, and presence only where it is true. */
  #judgeNextLife(): void {
    const { journalled, nextLife } = this.#world;
    if (nextLife === undefined) return;
    const nameOf = ({ kind, type, id, from, to }: Waiting): string => `${kind} ${type} ${id} from ${from} to ${to}`;
    const counts = new Map<string, number>();
    for (const each of nextLife.arrived) counts.set(nameOf(each), (counts.get(nameOf(each)) ?? 0) + 1);
    for (const each of journalled) {
      const count = counts.get(nameOf(each)) ?? 0;
      counts.delete(nameOf(each));
      // No client is there: nobody is available. Who is gone may be said to be gone twice, by the presence ledger too.
      const isGoodbye = each.kind === "presence" && each.type === "unavailable" && count > 0;
      const wanted = each.kind === "presence" && each.type === "available" ? 0 : 1;
      if (count !== wanted && !isGoodbye) this.#add("journal", `${nameOf(each)} came ${count} times at the next start`);
    }
    for (const [name, count] of counts) {
      if (name.startsWith("message") && !name.startsWith("message error")) {
        this.#add("journal", `${name} came ${count} times at the next start, and was not in the journal`);
      }
    }
    const pairOf = ({ from, to }: Waiting): string => `${domainOf(from)} ${domainOf(to)}`;
    const names = new Set(journalled.map(nameOf));
    for (const pair of new Set(journalled.map(pairOf))) {
      const inOrder = (list: readonly Waiting[]): string =>
        list
          .filter((each) => each.kind !== "presence" && pairOf(each) === pair && names.has(nameOf(each)))
          .map(nameOf)
          .join(", ");
      if (inOrder(journalled) !== inOrder(nextLife.arrived))
        this.#add("journal", `what waited came in another order: ${inOrder(nextLife.arrived)}`);
    }
    if (nextLife.left > 0) this.#add("journal", `${nextLife.left} entries are left in the journal`);
  }

  get #isKilled(): boolean {
    return this.#world.killedAt !== undefined;
  }

  /** What a client saw of others' presence: nobody goes twice. */
  #judgePresenceSeen(client: SimulatedClient): void {
    const gone = new Map<string, boolean>();
    for (const { kind, type, from } of client.seen) {
      if (kind !== "presence" || !from.includes("/")) continue;
      if (type === "unavailable") {
        // Who is not there himself is not told of others.
        if (from === client.jid) gone.clear();
        if (gone.get(from) === true)
          this.#add("double-unavailable", `${client.jid} was told twice that ${from} is gone`);
        gone.set(from, true);
      } else if (type === "") gone.set(from, false);
    }
    // Whoever is still there when somebody goes is told.
    for (const [from, isGone] of gone) {
      if (isGone || from === client.jid) continue;
      const other = this.#world.clients.find(({ jid }) => jid === from);
      const goneAt = other?.sessionConnection?.outputEndedAt;
      const ownEnd = client.sessionConnection?.outputEndedAt;
      if (goneAt === undefined || ownEnd === undefined || this.#isKilled || client.wasBroken) continue;
      // A session that can be resumed is not gone when its connection is.
      if (other?.plan.sm === "resumes") continue;
      if (ownEnd - goneAt > GOODBYE_MS) this.#add("ghost", `${client.jid} still sees ${from}`);
    }
  }

  /** A client that behaves is not cut off: it sees the closing tag. */
  #judgeEnd(client: SimulatedClient): void {
    if (this.#isKilled || client.jid === "" || client.wasBroken || client.sawEnd || this.#world.wasCutShort) return;
    // A session that can be resumed after the next start does not end: a closing tag would end it.
    if (client.plan.sm === "resumes") return;
    this.#add("cut-off", `${client.jid} did not see the end of its stream`);
  }

  #judgePeers(): void {
    for (const { plan, peer, arrivals } of this.#world.peers) {
      arrivals.update();
      for (const [pair, list] of arrivals.presence) {
        const last = list.at(-1);
        const told = list.some(({ type }) => type === "available");
        if (told && last?.type === "available") {
          if (this.#isKilled) this.#judgeGhostOfKilled(pair, last.at);
          else this.#judgeGhost(pair, plan.domain);
        }
        for (const [index, { type, connection }] of list.entries()) {
          const before = list[index - 1];
          if (type === "unavailable" && before?.type === "unavailable" && before.connection === connection) {
            this.#add("double-unavailable", `${plan.domain} was told twice on one stream: ${pair}`);
          }
        }
      }
      this.#judgeGoodbyes(plan.domain);
      for (const connection of peer.connections) {
        if (connection.side === "out" && "sent" in connection) this.#judgeInbound(plan.domain, connection as never);
      }
    }
  }

  /** A contact at a peer that still sees somebody who is gone: then the books must name that. */
  #judgeGhost(pair: string, domain: string): void {
    const [from = "", to = ""] = pair.split(" ");
    const lost = this.#world.fates.all.some(
      ({ fate, destination, stanza }) =>
        fate !== "proved" &&
        destination === domain &&
        stanza.kind === "presence" &&
        stanza.type === "unavailable" &&
        stanza.from.toString() === from &&
        (stanza.to?.toString() === to || stanza.to?.bare.toString() === to),
    );
    if (lost) return;
    if (excuseForGhost(this.#world, from) === undefined) this.#add("ghost", `${to} still sees ${from}`);
  }

  /** A contact at a peer that saw somebody when the server was killed: the next start says goodbye. */
  #judgeGhostOfKilled(pair: string, at: number): void {
    const { killedAt = 0, nextLife, scenario, keptSessions } = this.#world;
    const [from = "", to = ""] = pair.split(" ");
    // What was told just before the kill may not have been on the disk yet.
    if (at + LEDGER_MS + LEDGER_WRITES * scenario.storeMs > killedAt) return;
    if (keptSessions.includes(`"${from}"`)) return;
    const isGone = nextLife?.arrived.some(
      (each) => each.kind === "presence" && each.type === "unavailable" && each.from === from && each.to === to,
    );
    if (isGone !== true) this.#add("ghost", `${to} still sees ${from} after the next start`);
  }

  /** The server owes each contact one goodbye for each time it was told "available". */
  #judgeGoodbyes(domain: string): void {
    const pairs = new Map<string, { available: number; unavailable: number }>();
    for (const { destination, stanza } of this.#world.fates.all) {
      if (destination !== domain || stanza.kind !== "presence") continue;
      if (stanza.type !== "available" && stanza.type !== "unavailable") continue;
      if (!stanza.from.isFull) continue;
      const pair = `${stanza.from.toString()} -> ${stanza.to?.toString() ?? ""}`;
      const count = pairs.get(pair) ?? { available: 0, unavailable: 0 };
      count[stanza.type]++;
      pairs.set(pair, count);
    }
    for (const [pair, { available, unavailable }] of pairs) {
      if (unavailable > Math.max(1, available)) {
        this.#add("double-unavailable", `${unavailable} goodbyes were sent for ${available} greetings: ${pair}`);
      }
    }
  }

  /** What a peer sent on one stream of its own. */
  #judgeInbound(domain: string, stream: PeerStream): void {
    const connection = this.#world.network.connections.find(({ near }) => near === stream.transport);
    // Without acknowledgements the end in order is what a peer can rely on.
    const endedInOrder = stream.closedByServer && connection?.end?.orderly === true && connection.mishap === undefined;
    const wasReadToItsEnd = endedInOrder && !stream.acknowledged && connection.bytesRead === connection.bytesToServer;
    const text = connection?.toServer.join("") ?? "";
    // What a peer says after its closing tag, or after something that is not XML, does not count.
    const end = text.search(/<\/stream:stream>|<</);
    for (const { xml, acknowledged } of stream.sent) {
      const sentAt = text.indexOf(xml);
      // Less than nothing: it was handed to a connection that had ended already.
      if (sentAt < 0 || (end >= 0 && sentAt > end)) continue;
      const id = /\sid='([^']*)'/.exec(xml)?.[1];
      const from = /\sfrom='([^']*)'/.exec(xml)?.[1] ?? "";
      if (id === undefined || !xml.startsWith("<message")) continue;
      const what = `message ${id} from ${from} of ${domain}`;
      const fates = this.#localFates(id, from);
      const returned = fates.settled.filter(({ fate }) => fate === "returned").length;
      const to = /\sto='([^']*)'/.exec(xml)?.[1] ?? "";
      const isPromised = acknowledged && excuseForKilledQueue(this.#world, to) === undefined;
      this.#judgeOne(what, { fates, returned, isOwed: acknowledged || wasReadToItsEnd, isPromised });
      const taken = fates.delivered > 0 || fates.stored || fates.onBroken.length > 0 || returned > 0;
      const endedInOrder =
        stream.closedByServer && connection?.end?.orderly === true && connection.mishap === undefined;
      const mustNotBeTaken = stream.acknowledged && !acknowledged && endedInOrder && !this.#isKilled;
      if (mustNotBeTaken && taken && excuseForUntold(this.#world) === undefined) {
        this.#add("two-fates", `${what} was taken, and its server was told that it was not`);
      }
    }
  }

  #judgeReport(): void {
    const { report, config, scenario, endedAt = 0, fates } = this.#world;
    if (report === undefined) return this.#add("limits", "the run did not end");
    const { shutdown } = config;
    const total = endedAt - scenario.stopAt;
    const last = shutdown.quit.floor;
    if (total > shutdown.deadline + last + TOLERANCE_MS) this.#add("limits", `the run took ${total} ms`);
    if (scenario.hurryAt !== undefined && scenario.hurryAt > scenario.stopAt) {
      const after = endedAt - scenario.hurryAt;
      if (after > shutdown.hurry + last + TOLERANCE_MS) this.#add("limits", `the run took ${after} ms after the hurry`);
    }
    if (scenario.skipAt !== undefined && scenario.skipAt > scenario.stopAt) {
      const after = endedAt - scenario.skipAt;
      if (after > Math.max(shutdown.quit.ceiling, last) + TOLERANCE_MS) {
        this.#add("limits", `the run took ${after} ms after it was told to skip`);
      }
    }
    for (const phase of report.phases) {
      if (phase.durationMs > phase.budgetMs + TOLERANCE_MS && phase.outcome !== "skipped") {
        this.#add("limits", `${phase.name} took ${phase.durationMs} ms of ${phase.budgetMs} ms`);
      }
    }
    if (!report.hurried && !report.skippedToEnd) {
      for (const { name, participants, skipped } of report.phases) {
        if (skipped === "not asked for") continue;
        for (const each of participants) {
          if (each.outcome === "skipped") this.#add("limits", `${name} had no time for ${each.name}`);
        }
      }
    }
    if (this.#world.outstanding > 0)
      this.#add("books", `${this.#world.outstanding} stanzas for other domains have no fate`);
    const run = { proved: 0, stored: 0, returned: 0, dropped: 0, lost: 0 };
    const names: string[] = [];
    for (const { at, fate, name } of fates.all) {
      if (at < this.#world.runBeganAt) continue;
      if (at > endedAt) this.#add("books", `a fate came after the report: ${fate} ${name ?? ""}`);
      run[fate]++;
      if (fate === "lost" && name !== undefined) names.push(name);
    }
    for (const fate of ["proved", "stored", "returned", "dropped", "lost"] as const) {
      const reported = report.obligations.run[fate];
      if (reported < run[fate] - this.#world.settledAtBegin) {
        this.#add("books", `the report says ${reported} ${fate}, the books ${run[fate]}`);
      }
    }
    const named = new Set(report.obligations.destinations.flatMap(({ lostNames }) => lostNames));
    for (const name of names) if (!named.has(name)) this.#add("books", `lost and not named: ${name}`);
  }

  #judgeLeaks(): void {
    const { serverClock, network } = this.#world;
    if (serverClock.pendingTimers > 0) this.#add("leak", `${serverClock.pendingTimers} timers of the server are left`);
    for (const { number, from, to } of network.open) this.#add("leak", `c${number} from ${from} to ${to} is left open`);
  }
}

/** How long a goodbye may take within the server: the store is slow at times. */
const GOODBYE_MS = 1_000;

/** How long what was told may take to the disk: a batch and the next, and so many times what the store takes. */
const LEDGER_MS = 250;
const LEDGER_WRITES = 6;
/** Rounding, and the turn that whoever was cut off has to react in. */
const TOLERANCE_MS = 2;

interface PeerStream {
  readonly sent: readonly { readonly xml: string; readonly acknowledged: boolean }[];
  readonly transport: unknown;
  /** The server agreed to acknowledge. */
  readonly acknowledged: boolean;
  readonly closedByServer: boolean;
}

/** Whether the server had taken a stanza. Who acknowledges goes by that, unless its stream ended in order. */
function isOwed({ acknowledged, places }: Sent, { plan, sawEnd }: SimulatedClient): boolean {
  if (plan.sm !== "no" && !sawEnd) return acknowledged;
  return acknowledged || places.some(({ connection, endsAt }) => connection.bytesRead >= endsAt);
}

function domainOf(address: string): string {
  const bare = address.split("/", 1)[0] ?? "";
  return bare.slice(bare.indexOf("@") + 1);
}
