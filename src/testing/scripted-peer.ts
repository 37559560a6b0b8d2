// An XMPP server of another domain that a test has in its hands: it accepts streams and opens its own, does what a good
// server does, or what the script says instead, and writes down what it saw. It has no users: what arrives is a list.
// On a manual clock and a network in memory it does the same thing every time.

import { createHash } from "node:crypto";
import { makeSelfSigned } from "../net/self-signed.ts";
import { TcpNetwork } from "../net/tcp.ts";
import { makeContext } from "../net/tls-contexts.ts";
import type { Accepted, CertificateSource, Listener, Network, TlsServerOptions } from "../net/transport.ts";
import { splitAddress } from "../server/address.ts";
import { type Clock, systemClock } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import { silentLog } from "../util/log.ts";
import { systemRandom } from "../util/random.ts";
import type { Element } from "../xml/element.ts";
import { parseElement } from "./parse-element.ts";
import type { Abilities, PeerConnection, PeerContext } from "./peer/connection.ts";
import { InboundConnection } from "./peer/inbound.ts";
import { OutboundConnection, type OutboundPurpose, type SentStanza } from "./peer/outbound.ts";
import { PeerRecord, type Seen } from "./peer/record.ts";
import { type Act, type Rule, Rules, type Script, type Step } from "./peer/script.ts";

/** How a peer is made. Only its domain must be said. */
export interface ScriptedPeerOptions {
  readonly domain: string;
  /** What it does differently from a good server. */
  readonly script?: Script;
  /** What it is able to do: everything that its certificate allows, unless told. */
  readonly abilities?: Partial<Abilities>;
  /** Its certificate, and the roots it trusts; `self-signed` makes one. Without one it has no TLS. */
  readonly certificates?: CertificateSource | "self-signed";
  /** Listens with TLS at once (XEP-0368). */
  readonly directTls?: boolean;
  /**
   * Takes every dialback key for good, its own and others', without asking. That is so anyway for a domain it has no
   * address of.
   */
  readonly trusting?: boolean;
  /** Where other domains are, as `host:port`; `routes` can be added to at any time. */
  readonly routes?: Readonly<Record<string, string>>;
  /** TCP unless told. */
  readonly network?: Network;
  /** The clock of the machine unless told. */
  readonly clock?: Clock;
  /** Where it listens: a free port of 127.0.0.1 unless told. */
  readonly host?: string;
  readonly port?: number;
  /** How long each wait may take, in milliseconds on its clock (20,000 unless told). */
  readonly timeoutMs?: number;
}

/** A stanza that arrived. */
export interface ArrivedStanza {
  /** Milliseconds on the peer's clock. */
  readonly at: number;
  readonly element: Element;
  readonly connection: PeerConnection;
}

/** A server under a test's control. */
export class ScriptedPeer {
  readonly domain: string;
  /** Every stanza that it took, in order; pings are not among them. */
  readonly arrived: ArrivedStanza[] = [];
  /** What it sent itself, and what became of that. */
  readonly sent: SentStanza[] = [];
  /** Every connection so far, those that are over included. */
  readonly connections: PeerConnection[] = [];
  /** What it is able to do from now on. */
  readonly abilities: Abilities;
  /** Where other domains are, as `host:port`. */
  readonly routes: Map<string, string>;
  #options: ScriptedPeerOptions;
  #clock: Clock;
  #network: Network;
  #rules: Rules;
  #record: PeerRecord;
  #context: PeerContext;
  #certificates: CertificateSource | undefined;
  #listener: Listener | undefined;
  #port: number;
  #ids = 0;
  #queues = new Map<string, SentStanza[]>();
  #outbound = new Map<string, OutboundConnection>();
  #dialling = new Set<string>();
  #life = new AbortController();

  constructor(options: ScriptedPeerOptions) {
    const hasCertificate = options.certificates !== undefined;
    this.domain = options.domain;
    this.abilities = {
      tls: hasCertificate && options.directTls !== true,
      external: hasCertificate,
      dialback: true,
      sm: true,
      version: "1.0",
      features: "",
      ...options.abilities,
    };
    this.routes = new Map(Object.entries(options.routes ?? {}));
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#network = options.network ?? new TcpNetwork({ clock: this.#clock, log: silentLog });
    this.#rules = new Rules(options.script ?? {});
    this.#record = new PeerRecord(this.#clock);
    this.#port = options.port ?? 0;
    this.#certificates = options.certificates === "self-signed" ? undefined : options.certificates;
    this.#context = this.#makeContext();
  }

  /** Makes a peer and lets it listen. */
  static async start(options: ScriptedPeerOptions): Promise<ScriptedPeer> {
    const peer = new ScriptedPeer(options);
    await peer.listen();
    return peer;
  }

  /** Everything that happened, in order and with times. */
  get seen(): readonly Seen[] {
    return this.#record.seen;
  }

  /** Every stanza that it took, in order; pings are not among them. */
  get stanzas(): Element[] {
    return this.arrived.map(({ element }) => element);
  }

  /** Where it listens, or did, as `host:port`. */
  get address(): string {
    return `${this.#host}:${this.#port}`;
  }

  /** Changes how a step goes from now on; `ordinary` takes a rule back. */
  when(step: Step, rule: Rule | Act): void {
    this.#rules.set(step, rule);
  }

  /** Listens, again on the same port if it did before. */
  async listen(): Promise<void> {
    if (this.#listener !== undefined) return;
    if (this.#life.signal.aborted) this.#life = new AbortController();
    const { directTls } = this.#options;
    if (this.#options.certificates === "self-signed") this.#certificates ??= await this.#makeCertificate();
    const certificates = this.#certificates;
    const tls: TlsServerOptions | undefined =
      directTls === true && certificates !== undefined
        ? { role: "server", certificates, alpn: ["xmpp-server"], requestCertificate: true }
        : undefined;
    const place = { host: this.#host, port: this.#port, ...(tls === undefined ? {} : { tls }) };
    this.#listener = await this.#network.listen(place, (accepted) => this.#accept(accepted));
    this.#port = this.#listener.port;
  }

  /** Refuses new connections until `listen()`. */
  async refuse(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    await listener?.close();
  }

  /** Goes down without a word: every connection is reset, new ones are refused. `listen()` brings it back. */
  async crash(): Promise<void> {
    this.#life.abort();
    for (const connection of this.connections) connection.reset();
    await this.refuse();
  }

  /** Sends a stanza to the domain in its `to`, over a stream that is opened if need be. */
  send(xml: string): SentStanza {
    const remote = domainOf(parseElement(xml).attrs.to ?? "");
    const stanza: SentStanza = { xml, written: false, acknowledged: false };
    this.sent.push(stanza);
    const queue = this.#queues.get(remote) ?? [];
    this.#queues.set(remote, queue);
    queue.push(stanza);
    const stream = this.#outbound.get(remote);
    if (stream === undefined || stream.over) this.connect(remote);
    else stream.flush();
    return stanza;
  }

  /** Opens a stream to a domain in `routes`, unless one is open or under way. What happens to it is in `seen`. */
  connect(remote: string): void {
    if (this.#dialling.has(remote) || this.#outbound.get(remote)?.over === false) return;
    this.#dialling.add(remote);
    const queue = this.#queues.get(remote) ?? [];
    this.#queues.set(remote, queue);
    void this.#dial(remote, { kind: "send" }, queue).then((stream) => {
      this.#dialling.delete(remote);
      if (stream !== undefined) this.#outbound.set(remote, stream);
    });
  }

  /** Closes every connection in order: closing tag first. */
  close(): void {
    for (const connection of this.connections) connection.close();
  }

  /** Resolves when `holds`, which is asked whenever something happens; rejects at the time limit with what it saw. */
  until(holds: (peer: this) => boolean, what = "what was waited for", timeoutMs?: number): Promise<void> {
    const limit = timeoutMs ?? this.#options.timeoutMs ?? 20_000;
    return this.#record.until(() => holds(this), `${this.domain}: ${what}`, limit);
  }

  /** What it saw as text, a line for each thing. */
  history(): string {
    return this.#record.history();
  }

  /** Ends it for good: connections are torn down, nobody waits any more. */
  async stop(): Promise<void> {
    this.#life.abort();
    for (const connection of this.connections) connection.destroy();
    await this.refuse();
    this.#record.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #host(): string {
    return this.#options.host ?? "127.0.0.1";
  }

  #accept({ transport, ready }: Accepted): void {
    const connection = new InboundConnection(this.#context, transport, { number: this.#number(), side: "in" });
    this.connections.push(connection);
    ready.catch((thrown: unknown) => connection.note("failed", asError(thrown).message));
    connection.accepted();
  }

  /** Connects and begins a stream; undefined when there is no connection. */
  async #dial(remote: string, purpose: OutboundPurpose, queue: SentStanza[]): Promise<OutboundConnection | undefined> {
    const number = this.#number();
    const address = this.routes.get(remote);
    try {
      if (address === undefined) throw new Error("there is no route");
      const { signal } = this.#life;
      const transport = await this.#network.dial({ ...splitAddress(address), signal });
      const stream = new OutboundConnection(this.#context, transport, { number, remote, purpose, queue });
      this.connections.push(stream);
      if (signal.aborted) stream.destroy();
      else stream.accepted();
      return stream;
    } catch (thrown) {
      const text = `no connection to ${remote}: ${asError(thrown).message}`;
      this.#record.add({ connection: number, side: "out", kind: "failed", text });
      if (purpose.kind === "verify") purpose.done(false);
      return undefined;
    }
  }

  async #makeCertificate(): Promise<CertificateSource> {
    const pair = await makeSelfSigned([this.domain], { clock: this.#clock, random: systemRandom });
    const context = makeContext(pair.certificate, pair.key, []);
    return { contextFor: () => context };
  }

  #number(): number {
    return ++this.#ids;
  }

  #makeContext(): PeerContext {
    const { domain, abilities } = this;
    const trusting = this.#options.trusting ?? false;
    let streams = 0;
    const certificates = (): CertificateSource | undefined => this.#certificates;
    return {
      domain,
      clock: this.#clock,
      rules: this.#rules,
      record: this.#record,
      abilities,
      get certificates() {
        return certificates();
      },
      trusting,
      nextId: () => `${domain}-${++streams}`,
      key: (receiving, streamId) => createHash("sha256").update(`${domain} ${receiving} ${streamId}`).digest("hex"),
      verify: (remote, streamId, key) => {
        if (trusting || !this.routes.has(remote)) return Promise.resolve(true);
        return new Promise((done) => void this.#dial(remote, { kind: "verify", streamId, key, done }, []));
      },
      onStanza: (element, connection) => this.arrived.push({ at: this.#clock.now(), element, connection }),
      send: (xml) => void this.send(xml),
    };
  }
}

function domainOf(address: string): string {
  const bare = address.split("/", 1)[0] ?? "";
  return bare.slice(bare.indexOf("@") + 1);
}
