// Federation as the rest of the server sees it: stanzas for other domains go in by `send`, stanzas from them come out by
// `deliver`, and every stanza taken gets its fate. Makes the parts, owns the links and the inbound streams; how the links
// end at a shutdown is in drain.ts.

import type { Config } from "../../config/schema.ts";
import { Dialler } from "../../net/dial.ts";
import type { Resolver } from "../../net/resolver.ts";
import type { Accepted, CertificateSource, Network, PassableSocket } from "../../net/transport.ts";
import type { ObligationSink, PhaseContext, Progress } from "../../shutdown/types.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import type { Clock } from "../../util/clock.ts";
import { Deadline } from "../../util/deadline.ts";
import { asError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import type { Random } from "../../util/random.ts";
import { TimerWheel, type WheelTimeout } from "../../util/timer-wheel.ts";
import { splitAddress } from "../address.ts";
import { Listeners } from "../listeners.ts";
import { allOf, type Waiting } from "../waiting.ts";
import { connectInTime, streamOpener } from "./connecting.ts";
import type { S2sContext } from "./context.ts";
import { DialGate } from "./dial-gate.ts";
import { DialbackKeys } from "./dialback-keys.ts";
import { DialbackVerifier } from "./dialback-verifier.ts";
import { Drain } from "./drain.ts";
import { Fates, type Owed } from "./fates.ts";
import { IncomingStream } from "./incoming-stream.ts";
import { Journal, type JournalStatus, type JournalSurroundings } from "./journal.ts";
import { JournalDesk } from "./journal-desk.ts";
import { treatmentOf } from "./journal-treatment.ts";
import { Pings } from "./pings.ts";
import { type LinkState, RemoteLink } from "./remote-link.ts";

/** Everything s2s needs from outside. */
export interface S2sOptions {
  readonly config: Config["s2s"];
  /** The domains served here, prepared. */
  readonly hosts: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly network: Network;
  readonly resolver: Resolver;
  readonly certificates: CertificateSource;
  readonly obligations: ObligationSink;
  /** What dialback keys are made from; every process that answers for these hosts needs the same. */
  readonly dialbackSecret: string;
  /** A wheel to share, which stands still while the server is suspended; without one s2s has its own. */
  readonly wheel?: TimerWheel;
  /** Another one, which goes on meanwhile; the same unless given. */
  readonly steadyWheel?: TimerWheel;
  /** Takes an inbound stanza; a promise means that responsibility is not taken until it resolves. */
  readonly deliver: (stanza: Stanza) => void | Promise<void>;
  /** Tells a sender; false when nobody was there to be told. */
  readonly returnToSender: (stanza: Stanza, error: StanzaError) => boolean;
  /** Tells a sender wherever he is now, or when he comes; false when that cannot be. */
  readonly returnLate?: (stanza: Stanza, error: StanzaError) => Promise<boolean>;
  /** What a journal needs; without it there is none, and what cannot be delivered comes back at once. */
  readonly journal?: JournalSurroundings;
}

/** One link, as `status` tells of it. */
export interface LinkStatus {
  readonly local: string;
  readonly remote: string;
  readonly state: LinkState;
  readonly queued: number;
  readonly unproved: number;
}

/** What s2s says of itself. */
export interface S2sStatus {
  /** Streams to other servers that are open. */
  readonly outgoing: number;
  readonly incoming: number;
  /** Stanzas that have no fate yet. */
  readonly queued: number;
}

/** How often it is looked whether everything sent is proved. */
const QUIET_LOOK_MS = 50;
/** How often links that hold nothing are forgotten. */
const SWEEP_MS = 60_000;

/** How many pairs of a local host and another domain can be in use: each costs memory, lookups and a connection. */
const MAX_LINKS = 20_000;

/** Federation with other servers. */
export class S2s {
  #options: S2sOptions;
  #context: S2sContext;
  #fates: Fates;
  #pings: Pings;
  #gate: DialGate;
  #verifier: DialbackVerifier;
  #links = new Map<string, RemoteLink>();
  #incoming = new Set<IncomingStream>();
  #listeners: Listeners;
  #sweep: WheelTimeout | undefined;
  #drain: Drain | undefined;
  #drained: Promise<void> | undefined;
  #destroyed = false;
  #ended: Promise<void> | undefined;
  #journal: Journal | undefined;
  /** Why no other server that is not in touch with us already may send, if so. */
  #refusal: string | undefined;

  constructor(options: S2sOptions) {
    const { config, hosts, clock, random, log, network, resolver, certificates, obligations, deliver } = options;
    const wheel = options.wheel ?? new TimerWheel(clock, 250);
    const { steadyWheel = wheel } = options;
    const dialler = new Dialler({ network, resolver, clock, certificates });
    this.#options = options;
    this.#listeners = new Listeners({ network, log, accept: (accepted) => this.#accept(accepted) });
    this.#context = {
      config,
      hosts: new Set(hosts),
      clock,
      wheel,
      steadyWheel,
      random,
      log,
      certificates,
      keys: new DialbackKeys(options.dialbackSecret),
      connect: (domain, local, signal) =>
        connectInTime(dialler, domain, local, signal, steadyWheel, config.connect_timeout),
      openStream: streamOpener(clock, config),
      refusal: (remote, local) => (this.#isKnown(remote, local) ? undefined : this.#refusal),
      deliver,
    };
    const onSettled = (): void => this.#drain?.check();
    const { returnToSender, returnLate } = options;
    const wallTime = (): number => clock.wallTime();
    this.#fates = new Fates({ obligations, returnToSender, returnLate, wallTime, log, onSettled });
    if (options.journal !== undefined && config.journal !== "off") {
      this.#journal = new Journal({ ...options.journal, config, clock, wheel, log, fates: this.#fates });
    }
    this.#pings = new Pings(random);
    this.#gate = new DialGate(config.max_dials, steadyWheel);
    this.#verifier = new DialbackVerifier(this.#context);
  }

  /** Listens on every configured address. Rejects when one cannot be had; the others are closed again. */
  async start(): Promise<void> {
    await this.#listeners.open(
      this.#options.config.listen.map((address) => ({
        options: { ...splitAddress(address), purpose: "s2s" },
        option: "s2s.listen",
      })),
    );
    this.#sweep = this.#context.wheel.add(SWEEP_MS, () => this.#forgetIdleLinks());
    await this.#journal?.open();
  }

  /**
   * Takes up what earlier lives left in the journal: once nobody else has it in hand, and it is known again who is there.
   * Resolves when it has been read; never rejects.
   */
  async takeUpJournal(): Promise<void> {
    await this.#journal?.load();
    this.#wakeLanes();
  }

  /** The values of the configuration have changed: what was computed from them is computed anew. */
  reconfigured(): void {
    this.#gate.max = this.#options.config.max_dials;
    this.#verifier.reconfigured();
    for (const link of this.#links.values()) link.reconfigured();
  }

  /** What is listened for and where, as `purpose host:port`. */
  get listening(): readonly string[] {
    return this.#listeners.names;
  }

  /**
   * Takes over a stanza whose `to` is at another domain and whose `from` is at one of our hosts. It never waits for another
   * server: what does not fit comes back as an error. With `journal_before_ack` it resolves when the stanza is on the disk.
   */
  send(stanza: Stanza): void | Promise<void> {
    if (stanza.to === undefined) return;
    const local = stanza.from.domain;
    const remote = stanza.to.domain;
    const owed = this.#fates.take(stanza, remote);
    const { config } = this.#options;
    if (!config.enabled || !this.#context.hosts.has(local)) {
      return this.#fates.giveBackOrLose(owed, new StanzaError("remote-server-not-found"));
    }
    if (this.#destroyed) return this.#keepOrLose(owed, local, remote);
    const link = this.#link(local, remote);
    if (link instanceof StanzaError) return this.#fates.giveBackOrLose(owed, link);
    if (!config.journal_before_ack) {
      void link.send(owed);
      return;
    }
    if (this.#journal?.isOpen !== true || treatmentOf(stanza) !== "keep") return link.send(owed);
    return link.sendLogged(owed);
  }

  /** Looks at an IQ result or error for one of our hosts; true when it answered a question of ours. */
  onIqAnswer(stanza: Stanza): boolean {
    return this.#pings.answer(stanza);
  }

  /**
   * Takes part in `drain-s2s`: resolves when every stanza taken has its fate, the inbound streams have been read to
   * their end, and all streams and listeners are closed; or when the context's time is over, and then what is left is
   * lost by name. Afterwards `send` refuses.
   */
  drain(context: PhaseContext): Promise<void> {
    this.#drained ??= this.#runDrain(context);
    return this.#drained;
  }

  /** Drains outside a pipeline, in `timeoutMs`. */
  async close({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    const deadline = new Deadline(this.#options.clock, timeoutMs);
    try {
      await this.drain({
        phase: "drain-s2s",
        cause: "stop",
        reason: "",
        signal: deadline.signal,
        deadline: deadline.at,
        remaining: () => deadline.remaining(),
        lease: (name) => ({ name, release: () => undefined }),
        progress: () => undefined,
      });
    } finally {
      deadline.cancel();
    }
  }

  /**
   * Stops taking connections and what other servers send, in the name of `holder`; resolves when nothing that had come is
   * at work any more. `tell` hears of whom it waits for.
   */
  async hold(holder: string, tell?: (progress: Progress) => void): Promise<void> {
    this.pauseListening(holder);
    const still: Waiting[] = [];
    for (const stream of this.#incoming) {
      const done = stream.hold(holder);
      // Nothing is at work in a handshake, and it may take long.
      if (!stream.isHandshaking) still.push({ name: stream.domains[0] ?? "a server that has not authenticated", done });
    }
    await allOf(still, tell);
  }

  /**
   * Resolves when other servers have proved all they were sent, and nothing is on its way to a stream; those that cannot
   * be reached are not waited for. Resolves when `signal` aborts, too.
   */
  async quiet(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const isBusy = (link: RemoteLink): boolean => link.state !== "backing-off" && link.outstanding > 0;
    while (!signal.aborted && [...this.#links.values()].some(isBusy)) await clock.sleep(QUIET_LOOK_MS, signal);
  }

  /** Refuses servers with which nothing is under way, with `why`, or none with undefined. */
  refuseNew(why: string | undefined): void {
    this.#refusal = why;
  }

  /** Dials nobody until `resumeDialling`: who dials back would wait at our listeners. */
  pauseDialling(): void {
    this.#gate.hold();
  }

  resumeDialling(): void {
    this.#gate.release();
  }

  /** Sends white space on every stream that is authenticated, in both directions, and gives up the event loop in between. */
  async keepAlive(batch: number): Promise<void> {
    let count = 0;
    for (const one of [...this.#links.values(), ...this.#incoming]) {
      one.keepAlive();
      if (++count % batch === 0) await this.#options.clock.turn();
    }
  }

  /** Goes on after `hold`, unless somebody else holds too. */
  release(holder: string): void {
    this.resumeListening(holder);
    for (const stream of this.#incoming) stream.release(holder);
  }

  /** Accepts nothing in the name of `holder`, and goes on: what waits in the backlog is taken in then. */
  pauseListening(holder: string): void {
    this.#listeners.pause(holder);
  }

  resumeListening(holder: string): void {
    this.#listeners.resume(holder);
  }

  /** Another process has the listening sockets: lets go of them. What is under way here is brought to its end by `drain`. */
  passOn(): void {
    this.#listeners.passOn();
  }

  /** What other processes need to listen in our place. */
  get passable(): readonly PassableSocket[] {
    return this.#listeners.passable;
  }

  /**
   * Ends everything, and writes what has no proof to the journal, for which it has `ms`; what is not written then is lost
   * by name. Resolves when nothing more will be written.
   */
  end(ms: number): Promise<void> {
    this.#ended ??= this.#end(ms);
    return this.#ended;
  }

  async #end(ms: number): Promise<void> {
    const journal = this.#journal;
    if (journal?.isOpen === true) {
      for (const link of this.#links.values()) link.giveUpRest();
      const limit = new AbortController();
      const late = this.#options.clock.sleep(ms, limit.signal);
      await Promise.race([journal.settled(), late]);
      limit.abort();
    }
    journal?.close();
    this.destroy();
  }

  /** Ends everything now; what has no fate is lost by name, but for what is on its way into the journal: see `end`. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#sweep?.cancel();
    // Questions to name servers that nobody waits for any more would hold the process.
    this.#options.resolver.close();
    for (const link of this.#links.values()) link.destroy();
    for (const stream of this.#incoming) stream.destroy();
    this.#drain?.check();
    this.#listeners.close().catch((thrown: unknown) => {
      this.#context.log.error({ error: asError(thrown).message }, "s2s: closing a listener failed");
    });
  }

  /** Counts, for the status of the server. */
  status(): S2sStatus {
    let outgoing = 0;
    for (const link of this.#links.values()) if (link.state === "open") outgoing++;
    return { outgoing, incoming: this.#incoming.size, queued: this.#fates.outstanding };
  }

  /** What waits in the journal; undefined when there is none. */
  get journal(): JournalStatus | undefined {
    return this.#journal?.status();
  }

  /** What operators can do with the journal; undefined when there is none. */
  get journalDesk(): JournalDesk | undefined {
    if (this.#journal?.isOpen !== true) return undefined;
    return new JournalDesk(this.#journal, (remote) => this.#retry(remote));
  }

  /** Every link, for operators. */
  links(): readonly LinkStatus[] {
    return Array.from(this.#links.values(), ({ local, remote, state, queued, unproved }) => {
      return { local, remote, state, queued, unproved };
    });
  }

  async #runDrain(context: PhaseContext): Promise<void> {
    this.#sweep?.cancel();
    const drain = new Drain({
      phase: context,
      clock: this.#options.clock,
      config: this.#options.config,
      fates: this.#fates,
      links: this.#links,
      incoming: this.#incoming,
      journal: this.#journal,
      closeListeners: () => this.#listeners.close(),
    });
    this.#drain = drain;
    await drain.run();
    this.destroy();
  }

  #link(local: string, remote: string): RemoteLink | StanzaError {
    const name = `${local} ${remote}`;
    const known = this.#links.get(name);
    if (known !== undefined) return known;
    if (this.#drain?.isFinal) return new StanzaError("remote-server-timeout", "the server is shutting down");
    if (this.#links.size >= MAX_LINKS)
      return new StanzaError("resource-constraint", "too many other servers are in use");
    const lane = this.#journal?.lane(local, remote);
    const { fates, pings, gate } = { fates: this.#fates, pings: this.#pings, gate: this.#gate };
    const link = new RemoteLink({ context: this.#context, local, remote, fates, pings, gate, lane });
    this.#links.set(name, link);
    this.#drain?.hurry(link);
    return link;
  }

  /** Whether stanzas go to and fro between two domains already: their answers need streams. */
  #isKnown(remote: string, local: string): boolean {
    if (this.#links.has(`${local} ${remote}`)) return true;
    for (const stream of this.#incoming) if (stream.isPair(remote, local)) return true;
    return false;
  }

  #accept(accepted: Accepted): void {
    if (this.#destroyed || !this.#makeRoom()) {
      this.#context.log.warn({ address: accepted.transport.remoteAddress }, "s2s: too many inbound connections");
      accepted.ready.catch(() => undefined);
      accepted.transport.destroy();
      return;
    }
    const onOver = (stream: IncomingStream): void => {
      this.#incoming.delete(stream);
    };
    const stream = new IncomingStream({ context: this.#context, accepted, verifier: this.#verifier, onOver });
    this.#incoming.add(stream);
    this.#drain?.onAccepted(stream);
  }

  /**
   * Whether one more inbound connection can be taken. When all places are taken, the stranger who has had the longest
   * time to say who it is makes room, so that connections which say nothing cannot keep other servers out.
   */
  #makeRoom(): boolean {
    if (this.#incoming.size < this.#options.config.max_connections) return true;
    for (const stream of this.#incoming) {
      if (stream.isAuthenticated) continue;
      const fields = { connections: this.#incoming.size };
      this.#context.log.warn(fields, "s2s: a connection that has not authenticated makes room for another");
      this.#incoming.delete(stream);
      stream.destroy();
      return true;
    }
    return false;
  }

  #forgetIdleLinks(): void {
    const now = this.#context.clock.now();
    for (const [name, link] of this.#links) {
      if (!link.isDisposable(now)) continue;
      this.#links.delete(name);
      this.#journal?.forget(link.local, link.remote);
    }
    this.#wakeLanes();
    this.#sweep?.restart();
  }

  /** Sees to it that there is a link for everything that waits. */
  #wakeLanes(): void {
    if (this.#destroyed || this.#drain !== undefined) return;
    for (const { local, remote } of this.#journal?.lanes() ?? []) {
      // A host that is not served any more has nobody who could say who we are.
      if (!this.#context.hosts.has(local)) continue;
      const link = this.#link(local, remote);
      if (link instanceof RemoteLink) link.wake();
    }
  }

  /** Dials at once for what waits for a domain; returns for how many hosts of ours something does. */
  #retry(remote: string): number {
    let count = 0;
    for (const lane of this.#journal?.lanes() ?? []) {
      if (lane.remote !== remote || !this.#context.hosts.has(lane.local)) continue;
      const link = this.#link(lane.local, remote);
      if (!(link instanceof RemoteLink)) continue;
      link.retry();
      count++;
    }
    return count;
  }

  /** It came when no stream can be had any more. */
  #keepOrLose(owed: Owed, local: string, remote: string): void {
    const isKept = this.#journal?.isOpen === true && ["keep", "state"].includes(treatmentOf(owed.stanza));
    if (isKept) void this.#journal?.lane(local, remote).add(owed);
    else this.#fates.giveBackOrLose(owed, new StanzaError("remote-server-not-found"));
  }
}
