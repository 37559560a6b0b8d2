// The parties of the tests of s2s, on loopback: `Side` is the real thing with a stand-in for the router; the other servers
// are scripted peers of the test kit; a `Federation` is the parties of one test.

import { configSchema } from "../../src/config/schema.ts";
import type { NameServer } from "../../src/net/name-server.ts";
import { Resolver } from "../../src/net/resolver.ts";
import { TcpNetwork } from "../../src/net/tcp.ts";
import { makeContext } from "../../src/net/tls-contexts.ts";
import type { CertificateSource, Network } from "../../src/net/transport.ts";
import { S2s } from "../../src/server/s2s/s2s.ts";
import type { Evidence, Fate, PhaseContext, Progress } from "../../src/shutdown/types.ts";
import type { Stanza } from "../../src/stanza/stanza.ts";
import { errorReply, resultOf } from "../../src/stanza/stanza-error.ts";
import type { Store } from "../../src/store/store.ts";
import type { ManualClock } from "../../src/testing/manual-clock.ts";
import type { Custom, Script } from "../../src/testing/peer/script.ts";
import { ScriptedPeer, type ScriptedPeerOptions } from "../../src/testing/scripted-peer.ts";
import type { Clock } from "../../src/util/clock.ts";
import { Deadline } from "../../src/util/deadline.ts";
import { type Logger, silentLog } from "../../src/util/log.ts";
import { systemRandom } from "../../src/util/random.ts";
import { type Element, xml } from "../../src/xml/element.ts";
import { TestAuthority } from "./certificates.ts";
import { stanza } from "./stanzas.ts";

/** A certificate for `host` issued by `authority`, trusting what `authority` issued. */
export function certificatesOf(host: string, authority: TestAuthority): CertificateSource {
  const { chain, key } = authority.issue([host]);
  const context = makeContext(chain, key, [authority.root]);
  return { contextFor: () => context };
}

/** Domains and where they are. */
export type Routes = Map<string, { host: string; port: number }>;

function namesFrom(routes: Routes): NameServer {
  const nothing = (): never => {
    throw Object.assign(new Error("not found"), { code: "ENOTFOUND" });
  };
  return {
    resolveSrv: async (name) => {
      const route = routes.get(name.replace("_xmpp-server._tcp.", ""));
      return route === undefined ? nothing() : [{ name: route.host, port: route.port, priority: 0, weight: 0 }];
    },
    resolve4: async () => nothing(),
    resolve6: async () => nothing(),
    close: () => undefined,
  };
}

/** A fate as it was recorded. */
export interface Recorded {
  readonly domain: string;
  readonly fate: Fate;
  readonly evidence: Evidence | undefined;
  readonly name: string | undefined;
}

export interface SideOptions {
  readonly host: string;
  readonly clock: Clock;
  readonly routes: Routes;
  readonly network?: Network;
  readonly nameServer?: NameServer;
  readonly certificates?: CertificateSource;
  readonly config?: Record<string, unknown>;
  readonly deliver?: (stanza: Stanza) => void | Promise<void>;
  /** Whether local senders are there to be told; yes unless set. */
  readonly sendersPresent?: boolean;
  /** Where the journal is; without one there is none. */
  readonly store?: Store;
  /** The full JIDs that are available. */
  readonly available?: ReadonlySet<string>;
  readonly log?: Logger;
}

/** A real S2s with a stand-in for the router: answers pings, keeps what else arrives. */
export class Side {
  readonly host: string;
  readonly s2s: S2s;
  readonly delivered: Stanza[] = [];
  readonly returned: string[] = [];
  /** What senders learned later, with what they had sent. */
  readonly told: Stanza[] = [];
  readonly fates: Recorded[] = [];
  sendersPresent: boolean;
  #options: SideOptions;

  constructor(options: SideOptions) {
    const { host, clock, routes, certificates, store, available, log = silentLog } = options;
    this.host = host;
    this.#options = options;
    this.sendersPresent = options.sendersPresent ?? true;
    this.s2s = new S2s({
      config: configSchema.parse({
        s2s: { listen: ["127.0.0.1:0"], require_tls: false, ...options.config },
      }).s2s,
      hosts: [host],
      clock,
      random: systemRandom,
      log,
      network: options.network ?? new TcpNetwork({ clock, log: silentLog }),
      resolver: new Resolver({
        clock,
        random: systemRandom,
        config: { servers: [], timeout: 5_000 },
        nameServer: options.nameServer ?? namesFrom(routes),
      }),
      certificates: certificates ?? certificatesOf(host, TestAuthority.create(`nobody knows ${host}`)),
      obligations: {
        settle: (domain, fate, { evidence, name }) => {
          this.fates.push({ domain, fate, evidence, name });
        },
      },
      dialbackSecret: systemRandom.id(),
      deliver: (arrived) => this.#deliver(arrived),
      returnToSender: (back, error) => {
        if (!this.sendersPresent || errorReply(back, error) === undefined) return false;
        this.returned.push(`${back.id ?? ""} ${error.condition}`);
        return true;
      },
      returnLate: async (back, error) => {
        const reply = errorReply(back, error, back.element.children);
        if (reply === undefined) return false;
        this.told.push(reply);
        return true;
      },
      ...(store && { journal: { store, isAvailable: (full) => available?.has(full.toString()) === true } }),
    });
  }

  async start(): Promise<this> {
    await this.s2s.start();
    const [address = ""] = this.s2s.listening;
    this.#options.routes.set(this.host, { host: "127.0.0.1", port: Number(address.split(":")[1]) });
    return this;
  }

  presence(count: number, to: string, type?: string): void {
    for (let n = 0; n < count; n++) {
      const attrs = { from: `user${n}@${this.host}/r`, to, id: `p${n}` };
      void this.s2s.send(stanza("presence", type === undefined ? attrs : { ...attrs, type }));
    }
  }

  message(id: string, to: string): void {
    void this.s2s.send(stanza("message", { from: `user@${this.host}/r`, to, id, type: "chat" }));
  }

  /** Sends a message with something in it. */
  say(id: string, to: string, ...more: Element[]): void {
    void this.carry(id, to, ...more);
  }

  /** The same; what is returned is to be waited for before the message is carried. */
  carry(id: string, to: string, ...more: Element[]): void | Promise<void> {
    return this.s2s.send(
      stanza("message", { from: `user@${this.host}/r`, to, id, type: "chat" }, xml("body", {}, `hear ${id}`), ...more),
    );
  }

  /** How many stanzas had each fate, such as `proved/pong`. */
  get counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { fate, evidence } of this.fates) {
      const key = evidence === undefined ? fate : `${fate}/${evidence}`;
      counts[key] = (counts[key] ?? 0) + 1;
    }
    return counts;
  }

  #deliver(arrived: Stanza): void | Promise<void> {
    if (arrived.kind === "iq" && arrived.to?.toString() === this.host) {
      if (arrived.type === "get") void this.s2s.send(resultOf(arrived));
      else this.s2s.onIqAnswer(arrived);
      return undefined;
    }
    this.delivered.push(arrived);
    return this.#options.deliver?.(arrived);
  }
}

/** The servers of one test: they share a clock, know where each other are, and end together. */
export class Federation<AnyClock extends Clock = ManualClock> {
  readonly clock: AnyClock;
  readonly routes: Routes = new Map();
  #sides: Side[] = [];
  #peers: ScriptedPeer[] = [];

  constructor(clock: AnyClock) {
    this.clock = clock;
  }

  /** Starts a real one. */
  async side(host: string, options: Partial<SideOptions> = {}): Promise<Side> {
    const { clock, routes } = this;
    const started = await new Side({ host, clock, routes, ...options }).start();
    this.#sides.push(started);
    return started;
  }

  /** Starts a scripted one; see `startPeer`. */
  async peer(domain: string, setup: PeerSetup = {}): Promise<ScriptedPeer> {
    const started = await startPeer(domain, this, setup);
    this.#peers.push(started);
    return started;
  }

  /** Gives `domain` an address at which nobody listens. */
  nobodyAt(domain: string): void {
    this.routes.set(domain, { host: "127.0.0.1", port: 1 });
  }

  /** Ends them all. */
  async end(): Promise<void> {
    for (const side of this.#sides) side.s2s.destroy();
    for (const peer of this.#peers) await peer.stop();
  }
}

/** A phase of `ms`, as the pipeline would make one. */
export function phaseOf(
  clock: Clock,
  ms: number,
): PhaseContext & { readonly seen: Progress[]; readonly end: () => void } {
  const deadline = new Deadline(clock, ms);
  const seen: Progress[] = [];
  return {
    phase: "drain-s2s",
    cause: "stop",
    reason: "test",
    signal: deadline.signal,
    deadline: deadline.at,
    remaining: () => deadline.remaining(),
    lease: (name) => ({ name, release: () => undefined }),
    progress: (progress) => seen.push(progress),
    seen,
    end: () => deadline.cancel(),
  };
}

/** Gives the event loop its turns until `holds`, without moving the clock; fails after a generous while. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  const limit = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > limit) throw new Error(`it never came to this: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Moves a manual clock on by small steps until `holds`, letting input and output have their turns between them. */
export async function advanceUntil(
  clock: ManualClock,
  holds: () => boolean,
  what: string,
  maxMs = 600_000,
  stepMs = 50,
): Promise<void> {
  const end = clock.now() + maxMs;
  while (!holds()) {
    if (clock.now() > end) throw new Error(`it never came to this: ${what}`);
    for (let turn = 0; turn < 20 && !holds(); turn++) await new Promise((resolve) => setImmediate(resolve));
    if (!holds()) await clock.advance(stepMs);
  }
}

/** What is different about a peer of these tests. */
export interface PeerSetup {
  readonly script?: Script;
  readonly abilities?: ScriptedPeerOptions["abilities"];
}

/** Starts a peer that believes every dialback key, offers no acknowledgements and answers no pings unless told to. */
export async function startPeer(
  domain: string,
  surroundings: { readonly clock: Clock; readonly routes: Routes },
  { script = {}, abilities = {} }: PeerSetup = {},
): Promise<ScriptedPeer> {
  const { clock, routes } = surroundings;
  const peer = await ScriptedPeer.start({
    domain,
    clock,
    trusting: true,
    script: { pong: "ignore", ...script },
    abilities: { sm: false, ...abilities },
  });
  routes.set(domain, { host: "127.0.0.1", port: Number(peer.address.split(":")[1]) });
  return peer;
}

/** A rule for `pong`: answers at once, as if on a stream of the peer's own. */
export function answersPingsOf(side: () => Side): Custom {
  return (_connection, element) => {
    if (element !== undefined) pong(element, side());
    return undefined;
  };
}

/** Answers a ping as the router of `side` would see it. */
function pong(ping: Element, side: Side): void {
  const { from, to, id } = ping.attrs;
  side.s2s.onIqAnswer(stanza("iq", { type: "result", from: to ?? "", to: from ?? "", id: id ?? "" }));
}
