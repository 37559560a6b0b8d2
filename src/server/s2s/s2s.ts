// Federation as the rest of the server sees it: stanzas for other domains go in by `send`, stanzas from them come out by
// `deliver`, and every stanza taken gets its fate. Makes the parts; the links to other servers are in links.ts,
// their streams to us in inbound.ts, and how all of them end at a shutdown in drain.ts.

import type { Config } from "../../config/schema.ts";
import { Dialler } from "../../net/dial.ts";
import type { Resolver } from "../../net/resolver.ts";
import type { CertificateSource, Network, PassableSocket } from "../../net/transport.ts";
import type { ObligationSink, PhaseContext, Progress } from "../../shutdown/types.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import type { Clock } from "../../util/clock.ts";
import { Deadline } from "../../util/deadline.ts";
import type { Logger } from "../../util/log.ts";
import type { Random } from "../../util/random.ts";
import { TimerWheel } from "../../util/timer-wheel.ts";
import { connectInTime, streamOpener } from "./connecting.ts";
import type { S2sContext } from "./context.ts";
import { DialbackKeys } from "./dialback-keys.ts";
import { Drain } from "./drain.ts";
import { Fates, type Owed } from "./fates.ts";
import { Inbound } from "./inbound.ts";
import { Journal, type JournalStatus, type JournalSurroundings } from "./journal.ts";
import { JournalDesk } from "./journal-desk.ts";
import { treatmentOf } from "./journal-treatment.ts";
import { type LinkStatus, Links } from "./links.ts";
import { Pings } from "./pings.ts";

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

/** What s2s says of itself. */
export interface S2sStatus {
  /** Streams to other servers that are open. */
  readonly outgoing: number;
  readonly incoming: number;
  /** Stanzas that have no fate yet. */
  readonly queued: number;
}

/** Federation with other servers. */
export class S2s {
  #options: S2sOptions;
  #context: S2sContext;
  #fates: Fates;
  #pings: Pings;
  #links: Links;
  #inbound: Inbound;
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
    const { fates, pings } = { fates: this.#fates, pings: this.#pings };
    this.#links = new Links({ context: this.#context, fates, pings, journal: this.#journal });
    this.#inbound = new Inbound(this.#context, network);
  }

  /** Listens on every configured address. Rejects when one cannot be had; the others are closed again. */
  async start(): Promise<void> {
    await this.#inbound.start();
    this.#links.start();
    await this.#journal?.open();
  }

  /**
   * Takes up what earlier lives left in the journal: once nobody else has it in hand, and it is known again who is there.
   * Resolves when it has been read; never rejects.
   */
  async takeUpJournal(): Promise<void> {
    await this.#journal?.load();
    this.#links.wakeLanes();
  }

  /** The values of the configuration have changed: what was computed from them is computed anew. */
  reconfigured(): void {
    this.#links.reconfigured();
    this.#inbound.reconfigured();
  }

  /** What is listened for and where, as `purpose host:port`. */
  get listening(): readonly string[] {
    return this.#inbound.listeners.names;
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
    const link = this.#links.to(local, remote);
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
  hold(holder: string, tell?: (progress: Progress) => void): Promise<void> {
    return this.#inbound.hold(holder, tell);
  }

  /**
   * Resolves when other servers have proved all they were sent, and nothing is on its way to a stream; those that cannot
   * be reached are not waited for. Resolves when `signal` aborts, too.
   */
  quiet(signal: AbortSignal): Promise<void> {
    return this.#links.quiet(signal);
  }

  /** Refuses servers with which nothing is under way, with `why`, or none with undefined. */
  refuseNew(why: string | undefined): void {
    this.#refusal = why;
  }

  /** Dials nobody until `resumeDialling`: who dials back would wait at our listeners. */
  pauseDialling(): void {
    this.#links.gate.hold();
  }

  resumeDialling(): void {
    this.#links.gate.release();
  }

  /** Sends white space on every stream that is authenticated, in both directions, and gives up the event loop in between. */
  async keepAlive(batch: number): Promise<void> {
    let count = 0;
    for (const one of [...this.#links, ...this.#inbound]) {
      one.keepAlive();
      if (++count % batch === 0) await this.#options.clock.turn();
    }
  }

  /** Goes on after `hold`, unless somebody else holds too. */
  release(holder: string): void {
    this.#inbound.release(holder);
  }

  /** Accepts nothing in the name of `holder`, and goes on: what waits in the backlog is taken in then. */
  pauseListening(holder: string): void {
    this.#inbound.listeners.pause(holder);
  }

  resumeListening(holder: string): void {
    this.#inbound.listeners.resume(holder);
  }

  /** Another process has the listening sockets: lets go of them. What is under way here is brought to its end by `drain`. */
  passOn(): void {
    this.#inbound.listeners.passOn();
  }

  /** What other processes need to listen in our place. */
  get passable(): readonly PassableSocket[] {
    return this.#inbound.listeners.passable;
  }

  /**
   * Ends everything, and writes what has no proof to the journal, for which it has `ms`; what the disk is busy with then has
   * its fate when the store is closed (`journalIdle`), or is abandoned. Resolves when no more writing will begin.
   */
  end(ms: number): Promise<void> {
    this.#ended ??= this.#end(ms);
    return this.#ended;
  }

  async #end(ms: number): Promise<void> {
    const journal = this.#journal;
    if (journal?.isOpen === true) {
      for (const link of this.#links) link.giveUpRest();
      const limit = new AbortController();
      const late = this.#options.clock.sleep(ms, limit.signal);
      await Promise.race([journal.settled(), late]);
      limit.abort();
    }
    journal?.close();
    this.destroy();
  }

  /** Resolves when all that was on its way into the journal at `end` has its fate. Never rejects. */
  async journalIdle(): Promise<void> {
    await this.#journal?.idle();
  }

  /** There is no more time: what is still on its way into the journal is lost by name, though the next start may find it. */
  abandonJournal(): void {
    this.#journal?.abandon();
  }

  /** Ends everything now; what has no fate is lost by name, but for what is on its way into the journal: see `end`. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    // Questions to name servers that nobody waits for any more would hold the process.
    this.#options.resolver.close();
    this.#links.destroy();
    this.#inbound.destroy();
    this.#drain?.check();
  }

  /** Counts, for the status of the server. */
  status(): S2sStatus {
    return { outgoing: this.#links.open, incoming: this.#inbound.size, queued: this.#fates.outstanding };
  }

  /** What waits in the journal; undefined when there is none. */
  get journal(): JournalStatus | undefined {
    return this.#journal?.status();
  }

  /** What operators can do with the journal; undefined when there is none. */
  get journalDesk(): JournalDesk | undefined {
    if (this.#journal?.isOpen !== true) return undefined;
    return new JournalDesk(this.#journal, (remote) => this.#links.retry(remote));
  }

  /** Every link, for operators. */
  links(): readonly LinkStatus[] {
    return this.#links.status();
  }

  async #runDrain(context: PhaseContext): Promise<void> {
    const drain = new Drain({
      phase: context,
      clock: this.#options.clock,
      config: this.#options.config,
      fates: this.#fates,
      links: this.#links,
      incoming: this.#inbound,
      journal: this.#journal,
      closeListeners: () => this.#inbound.listeners.close(),
    });
    this.#drain = drain;
    this.#links.drainBy(drain);
    this.#inbound.drainBy(drain);
    await drain.run();
    this.destroy();
  }

  /** Whether stanzas go to and fro between two domains already: their answers need streams. */
  #isKnown(remote: string, local: string): boolean {
    return this.#links.has(local, remote) || this.#inbound.isPair(remote, local);
  }

  /** It came when no stream can be had any more. */
  #keepOrLose(owed: Owed, local: string, remote: string): void {
    const isKept = this.#journal?.isOpen === true && ["keep", "state"].includes(treatmentOf(owed.stanza));
    if (isKept) void this.#journal?.lane(local, remote).add(owed);
    else this.#fates.giveBackOrLose(owed, new StanzaError("remote-server-not-found"));
  }
}
