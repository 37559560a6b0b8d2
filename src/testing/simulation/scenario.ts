// What happens in one simulated run, decided by its seed before anything starts: who is there, what they send and when,
// who misbehaves how, and when the server is stopped. Only data; world.ts plays it.

import { SeededRandom } from "./seeded-random.ts";

/** Where the server listens. */
export const SERVER = { address: "10.0.0.1", c2s: 5222, c2sTls: 5223, s2s: 5269 } as const;

/** A host that nobody serves: connections are refused. */
const REFUSED = "refused.test";
/** A host that swallows connections. */
const SILENT = "silent.test";

export type Subscription = "both" | "from" | "to" | "none";

export interface UserPlan {
  /** The bare JID. */
  readonly jid: string;
  readonly roster: readonly { readonly jid: string; readonly subscription: Subscription }[];
}

/** Something one party does at a moment. */
export interface Act {
  readonly at: number;
  readonly what:
    | { readonly kind: "send"; readonly xml: string }
    | { readonly kind: "reset" | "vanish" | "quit" | "drop" | "stall" | "go-on" | "half-close" };
}

export interface ClientPlan {
  readonly name: string;
  readonly user: string;
  readonly resource: string;
  readonly startAt: number;
  readonly directTls: boolean;
  /** Whether it answers the server's closing tag. */
  readonly answersClose: boolean;
  /** What it uses of XEP-0198. */
  readonly sm: "no" | "acknowledges" | "resumes";
  /** How long it takes to answer when it is asked what it has read. */
  readonly answerMs: number;
  /** How often it comes back when its connection broke, and after how long. */
  readonly reconnects: number;
  readonly reconnectMs: number;
  readonly acts: readonly Act[];
}

export interface PeerPlan {
  readonly domain: string;
  readonly address: string;
  readonly tls: boolean;
  /** Shows a certificate that the server trusts, and uses SASL EXTERNAL. */
  readonly external: boolean;
  /** Dials back to check the server's keys instead of believing them. */
  readonly verifies: boolean;
  /** Refuses the server's keys. */
  readonly refuses: boolean;
  readonly sm: boolean;
  readonly pongs: boolean;
  /** How long each stanza takes it. */
  readonly workMs: number;
  /** `never`: asks of the server are not answered. */
  readonly acks: "at once" | "late" | "never";
  readonly answersClose: boolean;
  /** While it is down nobody listens, and its connections are gone. */
  readonly down: readonly { readonly from: number; readonly to: number }[];
  readonly acts: readonly PeerAct[];
}

export interface PeerAct {
  readonly at: number;
  readonly what:
    | { readonly kind: "send"; readonly xml: string }
    | { readonly kind: "close-inbound" | "close-outbound" | "garbage" };
}

/** A module that takes its time. Not even one that never settles may hold up the run. */
export interface Guest {
  /** How long it holds up `server-stopping`; for ever when undefined. */
  readonly stoppingMs: number | undefined;
  /** How long it holds up what it attached before `close-sessions`. */
  readonly closingMs: number | undefined;
  readonly throws: boolean;
}

/** Something that befalls one connection of the server, whichever is open then. */
export interface Mishap {
  readonly at: number;
  readonly kind: "reset" | "hold";
  readonly ms: number;
  /** Chooses among the connections. */
  readonly dice: number;
}

export interface Scenario {
  readonly seed: number;
  readonly hosts: readonly string[];
  readonly users: readonly UserPlan[];
  readonly clients: readonly ClientPlan[];
  readonly peers: readonly PeerPlan[];
  readonly mishaps: readonly Mishap[];
  /** Where each foreign domain is, as the server's configuration has it. */
  readonly routes: Readonly<Record<string, string>>;
  readonly silentAddress: string;
  readonly stopAt: number;
  readonly hurryAt: number | undefined;
  readonly skipAt: number | undefined;
  /** The server's process is killed: no pipeline, or not to its end. */
  readonly killAt: number | undefined;
  /** The longest time the store takes for one thing. */
  readonly storeMs: number;
  /** What a module of somebody else's does in the phases it takes part in. */
  readonly guest: Guest;
  readonly config: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** Returns the scenario of a seed. */
export function scenarioOf(seed: number): Scenario {
  const root = new SeededRandom(seed);
  const dice = root.stream("scenario");
  const hosts = dice.chance(0.15) ? ["a.test", "b.test"] : ["a.test"];
  const stopAt = stopTime(dice);
  const peers = Array.from({ length: dice.pick([0, 1, 1, 2, 2, 3]) }, (_, index) =>
    peerPlan(root.stream(`peer ${index}`), index, stopAt),
  );
  const users = userPlans(root.stream("users"), hosts, peers);
  const clients = clientPlans(root.stream("clients"), users, stopAt);
  const workload = root.stream("workload");
  addClientWork(workload, { clients, users, peers, stopAt });
  addPeerWork(root.stream("peer workload"), { peers, users, clients, stopAt });
  const routes: Record<string, string> = { [REFUSED]: "10.0.9.1:5269", [SILENT]: "10.0.9.2:5269" };
  for (const { domain, address } of peers) routes[domain] = `${address}:5269`;
  const ends = root.stream("ends");
  const isShort = ends.chance(0.3);
  return {
    seed,
    hosts,
    users,
    clients,
    peers,
    mishaps: mishapPlans(root.stream("mishaps"), stopAt),
    routes,
    silentAddress: "10.0.9.2",
    stopAt,
    hurryAt: ends.chance(0.15) ? stopAt + ends.below(6_000) : undefined,
    skipAt: ends.chance(0.06) ? stopAt + ends.below(8_000) : undefined,
    ...killPlan(root.stream("kill"), peers, stopAt),
    guest: guestPlan(root.stream("guest")),
    config: {
      c2s: { sm_max: ends.pick(["5m", "3s"]), sm_ack_timeout: ends.pick(["1m", "6s"]) },
      s2s: { require_tls: ends.chance(0.5) },
      shutdown: { deadline: isShort ? "8s" : "25s", batch: ends.pick([1, 2, 25]) },
    },
  };
}

/** When the process is killed, and how slow the store is. */
function killPlan(
  dice: SeededRandom,
  peers: readonly PeerPlan[],
  stopAt: number,
): Pick<Scenario, "killAt" | "storeMs"> {
  const storeMs = dice.pick([0, 0, 0, 2, 20, 200]);
  if (!dice.chance(0.16)) return { killAt: undefined, storeMs };
  // Most telling while something is on its way into a slow store.
  const arrivals = peers.flatMap(({ sm, external, acts }) =>
    sm && external ? acts.filter(({ what }) => what.kind === "send") : [],
  );
  const arrival = dice.chance(0.75) ? arrivals[dice.below(arrivals.length)] : undefined;
  if (arrival !== undefined) return { killAt: arrival.at + dice.between(20, 500), storeMs: 400 };
  return { killAt: dice.below(stopAt + dice.pick([500, 5_000])), storeMs };
}

function guestPlan(dice: SeededRandom): Guest {
  if (dice.chance(0.8)) return { stoppingMs: 0, closingMs: 0, throws: false };
  return {
    stoppingMs: dice.pick([0, 500, 20_000, undefined]),
    closingMs: dice.pick([0, 500, 20_000, undefined]),
    throws: dice.chance(0.2),
  };
}

function stopTime(dice: SeededRandom): number {
  if (dice.chance(0.08)) return dice.below(400);
  return dice.chance(0.06) ? dice.between(30_000, 120_000) : dice.between(400, 6_000);
}

function peerPlan(dice: SeededRandom, index: number, stopAt: number): PeerPlan {
  const tls = dice.chance(0.6);
  const isGood = dice.chance(0.5);
  const sm = dice.chance(0.5);
  const acts: PeerAct[] = [];
  if (!isGood && dice.chance(0.25)) acts.push({ at: moment(dice, stopAt), what: { kind: "close-inbound" } });
  if (!isGood && dice.chance(0.2)) acts.push({ at: moment(dice, stopAt), what: { kind: "close-outbound" } });
  if (!isGood && dice.chance(0.08)) acts.push({ at: moment(dice, stopAt), what: { kind: "garbage" } });
  const down: { from: number; to: number }[] = [];
  if (!isGood && dice.chance(0.25)) {
    const from = moment(dice, stopAt);
    down.push({ from, to: from + dice.pick([300, 3_000, 15_000, 1_000_000]) });
  }
  return {
    domain: `p${index}.example`,
    address: `10.0.1.${index + 1}`,
    tls,
    external: tls && dice.chance(0.4),
    verifies: dice.chance(0.7),
    refuses: !isGood && dice.chance(0.08),
    sm,
    pongs: isGood || dice.chance(0.7),
    workMs: isGood ? 0 : dice.pick([0, 0, 1, 40, 400]),
    acks: isGood ? "at once" : dice.pick(["at once", "at once", "late", "never"]),
    answersClose: isGood || dice.chance(0.8),
    down,
    acts,
  };
}

/** A moment of interest: anywhere in the run, more often around the stop. */
function moment(dice: SeededRandom, stopAt: number): number {
  return dice.chance(0.5) ? dice.below(stopAt + 1) : Math.max(0, stopAt + dice.between(-300, 4_000));
}

function userPlans(dice: SeededRandom, hosts: readonly string[], peers: readonly PeerPlan[]): UserPlan[] {
  const names = Array.from(
    { length: dice.between(2, 6) },
    (_, index) => `u${index}@${hosts[index % hosts.length] ?? ""}`,
  );
  const rosters = new Map<string, { jid: string; subscription: Subscription }[]>(names.map((jid) => [jid, []]));
  for (const [index, jid] of names.entries()) {
    for (const other of names.slice(index + 1)) {
      if (!dice.chance(0.4)) continue;
      const subscription = dice.pick<Subscription>(["both", "both", "from", "to"]);
      rosters.get(jid)?.push({ jid: other, subscription });
      rosters.get(other)?.push({ jid, subscription: mirrored(subscription) });
    }
    for (const { domain } of peers) {
      for (const contact of ["c0", "c1"]) {
        if (!dice.chance(0.6)) continue;
        const subscription = dice.pick<Subscription>(["both", "both", "from", "to", "none"]);
        rosters.get(jid)?.push({ jid: `${contact}@${domain}`, subscription });
      }
    }
    if (dice.chance(0.08)) rosters.get(jid)?.push({ jid: `ghost@${REFUSED}`, subscription: "both" });
    if (dice.chance(0.05)) rosters.get(jid)?.push({ jid: `ghost@${SILENT}`, subscription: "both" });
  }
  return names.map((jid) => ({ jid, roster: rosters.get(jid) ?? [] }));
}

function mirrored(subscription: Subscription): Subscription {
  if (subscription === "from") return "to";
  return subscription === "to" ? "from" : subscription;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type ClientDraft = Omit<Mutable<ClientPlan>, "acts"> & { readonly acts: Act[] };

function clientPlans(dice: SeededRandom, users: readonly UserPlan[], stopAt: number): ClientDraft[] {
  const clients: ClientDraft[] = [];
  for (const { jid } of users) {
    const count = dice.pick([0, 1, 1, 1, 1, 2]);
    for (let index = 0; index < count; index++) {
      const isLate = dice.chance(0.15);
      clients.push({
        name: `${jid.slice(0, jid.indexOf("@"))}-${index}`,
        user: jid,
        resource: dice.chance(0.03) ? "same" : `r${index}`,
        startAt: isLate ? Math.max(0, stopAt + dice.between(-120, 150)) : dice.below(Math.min(400, stopAt + 1)),
        directTls: dice.chance(0.6),
        answersClose: !dice.chance(0.06),
        sm: dice.pick(["no", "no", "acknowledges", "resumes", "resumes"]),
        answerMs: dice.pick([0, 0, 200, 2_500]),
        reconnects: dice.pick([0, 1, 1, 2]),
        reconnectMs: dice.pick([5, 300, 2_000, 8_000]),
        acts: [],
      });
    }
  }
  return clients;
}

interface Cast {
  readonly clients: readonly ClientDraft[];
  readonly users: readonly UserPlan[];
  readonly peers: readonly PeerPlan[];
  readonly stopAt: number;
}

function addClientWork(dice: SeededRandom, cast: Cast): void {
  const { clients, stopAt } = cast;
  let number = 0;
  for (const client of clients) {
    const { acts, startAt } = client;
    const from = startAt + 60;
    const send = (at: number, xml: string): void => void acts.push({ at, what: { kind: "send", xml } });
    if (dice.chance(0.9)) {
      send(from, dice.chance(0.1) ? "<presence><priority>-1</priority></presence>" : "<presence/>");
      if (dice.chance(0.15)) {
        const gone = moment(dice, stopAt);
        send(gone, "<presence type='unavailable'/>");
        if (dice.chance(0.5)) send(gone + dice.below(500), "<presence/>");
      }
      if (dice.chance(0.2)) send(moment(dice, stopAt), "<presence><show>away</show></presence>");
    }
    if (dice.chance(0.25)) {
      const to = stranger(dice, cast);
      const at = moment(dice, stopAt);
      send(at, `<presence to='${to}'/>`);
      // Who says goodbye twice by himself is heard twice.
      const saysGoodbye = acts.some(
        ({ what }) => what.kind === "send" && what.xml === "<presence type='unavailable'/>",
      );
      const mayLeave = to.startsWith("s") && !saysGoodbye;
      if (mayLeave && dice.chance(0.2)) send(at + dice.below(1_000), `<presence to='${to}' type='unavailable'/>`);
    }
    const messages = dice.pick([0, 1, 3, 6, 10]);
    for (let index = 0; index < messages; index++) {
      const to = addressee(dice, cast);
      const id = `m${number++}`;
      const type = dice.pick(["chat", "chat", "chat", "normal", "headline"]);
      const isQuestion = dice.chance(0.12) && to.includes("example");
      send(
        moment(dice, stopAt),
        isQuestion
          ? `<iq type='get' id='${id}' to='${to}'><query xmlns='jabber:iq:version'/></iq>`
          : `<message type='${type}' id='${id}' to='${to}'><body>${"hear me ".repeat(dice.pick([1, 1, 1, 300]))}</body></message>`,
      );
    }
    const trouble = dice.below(100);
    const at = moment(dice, stopAt);
    if (trouble < 6) acts.push({ at, what: { kind: "reset" } });
    else if (trouble < 10) acts.push({ at, what: { kind: "vanish" } });
    else if (trouble < 20) acts.push({ at, what: { kind: "quit" } });
    else if (trouble < 23) acts.push({ at, what: { kind: "drop" } });
    else if (trouble < 26) acts.push({ at, what: { kind: "half-close" } });
    else if (trouble < 28) send(at, "<message></wrong>");
    else if (trouble < 34) {
      acts.push({ at, what: { kind: "stall" } });
      if (dice.chance(0.5)) acts.push({ at: at + dice.below(4_000), what: { kind: "go-on" } });
    } else if (client.sm === "resumes" && dice.chance(0.4)) acts.push({ at, what: { kind: "reset" } });
    acts.sort((one, other) => one.at - other.at);
  }
}

function addPeerWork(dice: SeededRandom, { peers, users, clients, stopAt }: Cast): void {
  let number = 0;
  for (const { domain, acts } of peers) {
    const drafts = acts as PeerAct[];
    const messages = dice.pick([0, 1, 3, 8]);
    for (let index = 0; index < messages; index++) {
      const user = pickOf(dice, users).jid;
      const client = pickOf(dice, clients);
      const to = dice.chance(0.3) && client !== undefined ? `${client.user}/${client.resource}` : user;
      const id = `${domain.slice(0, 2)}x${number++}`;
      const from = `c${dice.below(2)}@${domain}/desk`;
      const xml = `<message type='chat' id='${id}' from='${from}' to='${dice.chance(0.05) ? "nobody@a.test" : to}'><body>hello</body></message>`;
      drafts.push({ at: moment(dice, stopAt), what: { kind: "send", xml } });
    }
    if (dice.chance(0.3)) {
      const xml = `<presence type='probe' from='c0@${domain}' to='${pickOf(dice, users).jid}'/>`;
      drafts.push({ at: moment(dice, stopAt), what: { kind: "send", xml } });
    }
    drafts.sort((one, other) => one.at - other.at);
  }
}

function mishapPlans(dice: SeededRandom, stopAt: number): Mishap[] {
  const count = dice.pick([0, 0, 0, 1, 1, 2, 4]);
  return Array.from({ length: count }, () => ({
    at: moment(dice, stopAt),
    kind: dice.pick<Mishap["kind"]>(["reset", "hold"]),
    ms: dice.pick([5, 200, 1_500, 10_000]),
    dice: dice.below(1_000),
  }));
}

/** Whom a message may be for. */
function addressee(dice: SeededRandom, { users, clients, peers }: Cast): string {
  const chance = dice.below(100);
  if (chance < 3) return `nobody@${users[0]?.jid.split("@")[1] ?? "a.test"}`;
  if (chance < 6) return `somebody@${REFUSED}`;
  if (chance < 8) return `somebody@${SILENT}`;
  const [first, ...others] = peers;
  if (chance < 60 && first !== undefined) {
    return `c${dice.below(2)}@${dice.pick([first, ...others]).domain}${dice.chance(0.3) ? "/desk" : ""}`;
  }
  const client = pickOf(dice, clients);
  if (chance < 75) return `${client.user}/${client.resource}`;
  return pickOf(dice, users).jid;
}

/** Whom directed presence may be for. */
function stranger(dice: SeededRandom, { users, peers }: Cast): string {
  const [first, ...others] = peers;
  if (first !== undefined && dice.chance(0.7)) return `s${dice.below(2)}@${dice.pick([first, ...others]).domain}/desk`;
  return pickOf(dice, users).jid;
}

function pickOf<T>(dice: SeededRandom, items: readonly T[]): T {
  return items[dice.below(items.length)] as T;
}
