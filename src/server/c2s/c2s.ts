// The client side of the server: its listeners, every client connection from accept to close, and its part in a
// shutdown. Not for: what a connection negotiates (client-stream.ts) or where stanzas go (router.ts).

import type { Config } from "../../config/schema.ts";
import { Jid } from "../../jid/jid.ts";
import type { Accepted, CertificateSource, Network, PassableSocket } from "../../net/transport.ts";
import type { PhaseContext, Progress } from "../../shutdown/types.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import type { XmlStream } from "../../stream/contract.ts";
import type { Clock } from "../../util/clock.ts";
import { MorendoError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import { type Random, shuffle } from "../../util/random.ts";
import type { TimerWheel } from "../../util/timer-wheel.ts";
import type { Element } from "../../xml/element.ts";
import type { Accounts } from "../accounts.ts";
import { addressGroup, splitAddress } from "../address.ts";
import { Listeners } from "../listeners.ts";
import type { Router } from "../router.ts";
import type { SessionTable } from "../session-table.ts";
import { noTraffic, type Traffic } from "../traffic.ts";
import { allOf, type Waiting } from "../waiting.ts";
import { ClientSession, type Connection, type SessionSurroundings } from "./client-session.ts";
import { ClientStream } from "./client-stream.ts";
import { ConnectionLimits } from "./connection-limits.ts";
import type { C2sContext } from "./context.ts";
import { FrozenSessions } from "./frozen-sessions.ts";
import { type Keeping, Parking } from "./parking.ts";
import { rerouteAll } from "./reroute.ts";
import { type PastSession, pastSchema, Resumption } from "./resumption.ts";
import { readSnapshot } from "./session-snapshot.ts";
import type { EnableRequest } from "./sm-elements.ts";

/** What the client side needs of the rest of the server. */
export interface C2sOptions {
  readonly config: Config["c2s"];
  /** How many sessions are ended in one turn of the event loop at a shutdown. */
  readonly batch: number;
  readonly hosts: readonly string[];
  readonly network: Network;
  readonly certificates: CertificateSource;
  readonly accounts: Accounts;
  readonly sessions: SessionTable;
  readonly router: Router;
  /** Where stanzas from and to clients are counted. */
  readonly traffic?: Traffic;
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly log: Logger;
  moduleFeatures(): readonly Element[];
  /** Runs what a session that ends owes to others. Never rejects. */
  sessionEnding(session: ClientSession, reason: string): Promise<void>;
  sessionBound(session: ClientSession): void;
  /** A session takes messages from now on. */
  sessionReachable(session: ClientSession): void;
  /** How sessions that can be resumed go on after a stop and a start; without it they end at a stop. */
  readonly keeping?: Keeping;
  /** A session waits for its client from now on, and its client is back. */
  sessionDetached(session: ClientSession): void;
  /** What became of a stanza that a module gave to a session with a reference. */
  stanzaReferred(session: ClientSession, ref: string, isTaken: boolean): void;
  sessionResumed(session: ClientSession): void;
}

/** How the clients' sessions and connections ended at a shutdown. */
export interface ClosedSessions {
  /** The client answered `</stream:stream>`: it has read everything. */
  answered: number;
  /** The client closed its connection without answering. */
  unanswered: number;
  /** Out of time, or reset. */
  cut: number;
  /** Ended while waiting for their clients (XEP-0198). */
  hibernating: number;
  /** Not ended: their clients can resume them after the next start. */
  kept: number;
  /** The first hundred full JIDs of those that did not answer. */
  readonly named: string[];
}

const MAX_NAMED = 100;
const GONE = "the account was removed";
/** What a client may send at once before it has logged in, and then each second, in elements of the largest size. */
const LOGIN_ELEMENTS = 4;
/** Bounds that every known way to log in keeps by far. */
const LOGIN_DEPTH = 16;
const LOGIN_ATTRIBUTES = 32;

/** The bounds of a connection, before and after its login. */
function boundsOf(config: Config["c2s"]): Pick<C2sContext, "loginLimits" | "limits"> {
  return {
    loginLimits: {
      maxStanzaBytes: Math.min(config.max_login_size, config.max_stanza_size),
      maxDepth: Math.min(LOGIN_DEPTH, config.max_depth),
      maxAttributes: Math.min(LOGIN_ATTRIBUTES, config.max_attributes),
      rate: Math.min(LOGIN_ELEMENTS * config.max_login_size, config.rate),
      burst: Math.min(LOGIN_ELEMENTS * config.max_login_size, config.burst),
    },
    limits: {
      maxStanzaBytes: config.max_stanza_size,
      maxDepth: config.max_depth,
      maxAttributes: config.max_attributes,
      rate: config.rate,
      burst: config.burst,
    },
  };
}

function sessionBoundsOf(config: Config["c2s"]): SessionBounds {
  return {
    maxUnread: config.max_unread,
    stallTimeoutMs: config.stall_timeout,
    closeTimeoutMs: config.close_timeout,
    maxUnacked: config.sm_max_queue,
    maxUnackedSize: config.sm_max_queue_size,
    ackTimeoutMs: config.sm_ack_timeout,
  };
}

type SessionBounds = Pick<
  SessionSurroundings,
  "maxUnread" | "stallTimeoutMs" | "closeTimeoutMs" | "maxUnacked" | "maxUnackedSize" | "ackTimeoutMs"
>;

/** The client listeners and connections. */
export class C2s {
  #options: C2sOptions;
  #context: C2sContext;
  #listeners: Listeners;
  #limits: ConnectionLimits;
  #streams = new Set<ClientStream>();
  /** Sessions that have left the table and are still being seen off, by full JID. */
  #endings = new Map<string, Promise<void>>();
  /** What `closeSessions` waits for. */
  #closing = new Map<ClientStream | ClientSession, Promise<void>>();
  /** Set once the server goes down: new connections are only told so. */
  #stopping: StreamError | undefined;
  /** What those who want to bind a resource are told, while nobody may. */
  #refusal: StreamError | undefined;
  #resumption: Resumption;
  /** Cleared when sessions are closed for good: from then on none outlives its connection. */
  #mayHibernate = true;
  #surroundings: SessionSurroundings;
  #frozen: FrozenSessions;
  /** Who wants everything to stand still: between `hold` and `release`. */
  #holders = new Set<string>();
  #parking: Parking | undefined;
  /** Sessions whose contacts hear again of a client that is back: what it says of itself since then comes after that. */
  #returning = new WeakMap<ClientSession, Promise<void>>();
  readonly closed: ClosedSessions = { answered: 0, unanswered: 0, cut: 0, hibernating: 0, kept: 0, named: [] };

  constructor(options: C2sOptions) {
    const { traffic = noTraffic() } = options;
    this.#options = options;
    const { config, network, log } = options;
    this.#listeners = new Listeners({ network, log, accept: (accepted) => this.#onConnection(accepted) });
    this.#limits = new ConnectionLimits(config);
    this.#context = {
      ...options,
      ...boundsOf(config),
      tls: { role: "server", certificates: options.certificates, requestCertificate: false },
      moduleFeatures: () => options.moduleFeatures(),
      refusal: () => this.#refusal,
      bind: (user, resource, connection) => this.#bind(user, resource, connection),
      enable: (session, request) => this.#enable(session, request),
      resume: async (user, request, connection) =>
        this.#stopping === undefined
          ? await this.#resumption.resume(user, request, connection)
          : // An answer would tell the client that there is nothing to resume, and there may be, after a start.
            { kind: "fault", error: this.#stopping },
      bound: (session) => options.sessionBound(session),
      route: (session, stanza) => {
        traffic.fromClients[stanza.kind]++;
        const returning = stanza.kind === "presence" ? this.#returning.get(session) : undefined;
        if (returning === undefined) return options.router.fromClient(session, stanza);
        return returning.then(() => options.router.fromClient(session, stanza));
      },
    };
    this.#parking = options.keeping === undefined ? undefined : new Parking(options.keeping);
    this.#resumption = new Resumption({
      config,
      clock: options.clock,
      random: options.random,
      sessionsOf: (account) => options.sessions.of(account).values(),
    });
    this.#frozen = new FrozenSessions({ resumption: this.#resumption, sessions: options.sessions });
    this.#surroundings = this.#surroundingsOf(options, traffic);
  }

  /**
   * The values of the configuration have changed. Connections and sessions keep the bounds on what they send and on what
   * waits for them as they were at their beginning, so that a lower one closes nobody; new ones have the new bounds.
   */
  reconfigured(): void {
    const { config } = this.#options;
    this.#context = { ...this.#context, ...boundsOf(config) };
    this.#surroundings = { ...this.#surroundings, ...sessionBoundsOf(config) };
  }

  /** How many connections there are, logged in or not. */
  get connections(): number {
    return this.#streams.size;
  }

  /** How many connections have not logged in. */
  get strangers(): number {
    let strangers = 0;
    for (const { session } of this.#streams) if (session === undefined) strangers++;
    return strangers;
  }

  /** How many sessions wait for their clients. */
  get hibernating(): number {
    return this.#resumption.hibernating.size;
  }

  /** How many sessions can be resumed. */
  get resumable(): number {
    return this.#resumption.count;
  }

  /** Tells whether a session can be resumed. */
  isResumable(session: unknown): boolean {
    return session instanceof ClientSession && session.resumable;
  }

  /** Tells whether a session waits for its client. */
  isHibernating(session: unknown): boolean {
    return session instanceof ClientSession && session.hibernating;
  }

  /** What is listened for and where, as `purpose host:port`. */
  get listening(): readonly string[] {
    return this.#listeners.names;
  }

  /** Opens the listeners. Rejects with the error of the first that cannot be opened, the others closed again. */
  async start(): Promise<void> {
    const { config } = this.#options;
    const tls = { ...this.#context.tls, alpn: ["xmpp-client"] };
    await this.#listeners.open([
      ...config.listen.map((address) => ({
        options: { ...splitAddress(address), purpose: "c2s" },
        option: "c2s.listen",
      })),
      ...config.listen_tls.map((address) => ({
        options: { ...splitAddress(address), purpose: "c2s-tls", tls },
        option: "c2s.listen_tls",
      })),
    ]);
  }

  /** Phase `stop-accepting`: tells everybody who has not logged in, and closes the listeners. */
  async stopAccepting(context: PhaseContext): Promise<void> {
    this.#stopping = new StreamError("system-shutdown", context.reason);
    for (const stream of this.#streams) {
      if (stream.session === undefined) this.#dismiss(stream, this.#stopping);
    }
    await this.#listeners.close();
  }

  /**
   * Takes `stopAccepting` back: listens again on the same addresses and ports, and lets clients log in. A port that
   * somebody else has taken meanwhile is a rejection; the other listeners are open then all the same.
   */
  async resumeAccepting(): Promise<void> {
    this.#stopping = undefined;
    await this.#listeners.reopen();
  }

  /**
   * Phase `close-sessions`: ends every session and closes every connection, in shuffled batches; at a plain stop without
   * the sessions that are to be kept (`C2sOptions.keeping`): they wait for what comes for them until the phase `quit`.
   */
  async closeSessions(context: PhaseContext): Promise<void> {
    const error = new StreamError("system-shutdown", context.reason);
    const parking = context.cause === "stop" ? this.#parking : undefined;
    this.#mayHibernate = parking !== undefined;
    let stopWaiting = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      stopWaiting = resolve;
    });
    const park = async (session: ClientSession | undefined, stream?: XmlStream): Promise<boolean> =>
      session !== undefined &&
      (await parking?.park(session, { reason: context.reason, over, ...(stream === undefined ? {} : { stream }) })) ===
        true;
    const all = shuffle([...this.#streams, ...this.#resumption.hibernating], this.#options.random);
    const waiting = this.#closing;
    const total = all.length;
    let done = 0;
    const report = (): void => {
      const blockers = waiting.size > 5 ? [] : [...waiting.keys()].map((one) => nameOf(one));
      context.progress({ done, total, blockers });
    };
    for (const [index, one] of all.entries()) {
      const timeoutMs = Math.min(this.#options.config.close_timeout, context.remaining());
      const work =
        one instanceof ClientSession
          ? park(one).then((isParked) => (isParked ? undefined : this.#endHibernating(one, context.reason)))
          : park(one.session, one.stream).then((isParked) =>
              isParked ? undefined : this.#closeStream(one, error, timeoutMs),
            );
      const closing = work.then(() => {
        done++;
        waiting.delete(one);
        report();
      });
      waiting.set(one, closing);
      // What a session's end sets off comes in later turns, at the pace at which sessions are ended here.
      if ((index + 1) % this.#options.batch === 0) await this.#options.clock.turn();
    }
    // Who is waited for is to be seen also where nobody has gone yet.
    report();
    // Out of time: the closing tags still go out, but nobody is waited for any more.
    const hurry = (): void => {
      stopWaiting();
      for (const one of waiting.keys()) {
        if (!(one instanceof ClientStream) || parking?.has(one.stream) === true) continue;
        void one.stream.close({ error, timeoutMs: 0 });
      }
    };
    context.signal.addEventListener("abort", hurry);
    if (context.signal.aborted) hurry();
    await Promise.all(waiting.values());
    context.signal.removeEventListener("abort", hurry);
    // Those whose connection broke meanwhile.
    for (const session of this.#resumption.hibernating) if (!session.resting) await park(session);
    this.closed.kept = parking?.count ?? 0;
  }

  /**
   * Phase `quit` at a plain stop: takes all sessions that can be resumed from their connections, whatever had been done
   * before, lets nothing about them change any more, and returns them: for somebody who keeps them until the next start.
   * Waits at most `ms` for what is at work. `letGo` or `thaw` follows.
   */
  async keepSessions(ms: number): Promise<ReadonlySet<ClientSession>> {
    const parking = this.#parking;
    if (parking === undefined) return new Set();
    this.#stopping ??= new StreamError("system-shutdown");
    const enough = new AbortController();
    const over = this.#options.clock.sleep(ms, enough.signal);
    const held = Array.from(this.#streams, ({ session, stream }) =>
      session === undefined ? stream.hold() : parking.park(session, { over, stream }),
    );
    const waiting = Array.from(this.#resumption.hibernating, (session) => parking.park(session, { over }));
    await Promise.race([Promise.all([...held, ...waiting]), over]);
    enough.abort();
    const kept = this.freeze();
    this.closed.kept = kept.size;
    return kept;
  }

  /** What a client that comes too late is to learn of its session, as data for the next start. */
  past(): PastSession[] {
    return this.#resumption.past();
  }

  /** Takes what `past` returned in another life of the server; false when it is damaged. */
  remember(data: unknown): boolean {
    const parsed = pastSchema.safeParse(data);
    if (parsed.success) this.#resumption.remember(parsed.data);
    return parsed.success;
  }

  /** The frozen sessions could not be kept: they end with the others. */
  keptNothing(): void {
    this.closed.hibernating += this.closed.kept;
    this.closed.kept = 0;
    this.thaw();
  }

  /** After a start: ends the sessions that are too many by today's bounds. */
  keepBounds(): void {
    this.#resumption.keepBounds();
  }

  /** Ends the sessions of an account that has been removed; resolves when their contacts have been told. Never rejects. */
  async accountRemoved(account: Jid): Promise<void> {
    await this.#endSessions(account, new StreamError("not-authorized", GONE));
  }

  /**
   * Ends the session of a full JID, or all sessions of an account, for good: their clients are told `reason` and have to
   * log in anew. Resolves to how many it were, when their contacts have been told. Never rejects.
   */
  async endSessions(jid: Jid, reason: string): Promise<number> {
    return await this.#endSessions(jid, new StreamError("policy-violation", reason));
  }

  async #endSessions(jid: Jid, error: StreamError): Promise<number> {
    const sessions = [...this.#options.sessions.of(jid).values()];
    const told: Promise<void>[] = [];
    for (const session of sessions) {
      if (!(session instanceof ClientSession)) continue;
      if (jid.isFull && !session.jid.equals(jid)) continue;
      void session.close(error);
      told.push(session.end(""));
    }
    await Promise.all(told);
    return told.length;
  }

  /**
   * Takes in a session that another life of the server wrote down (`ClientSession.snapshot`): it waits for its client for
   * as long as was left, and ends then. Throws `MORENDO_SESSION_STATE`, and changes nothing, when `data` is damaged or the
   * session has no place here.
   */
  restore(data: unknown): ClientSession {
    const { sessions, hosts, random, clock } = this.#options;
    const { jid, created, sm, presence, hibernatedSince = clock.wallTime(), outage } = readSnapshot(data);
    const refuse = (what: string): never => {
      throw new MorendoError("MORENDO_SESSION_STATE", `the state of a session cannot be used: ${what}`);
    };
    if (!hosts.includes(jid.domain)) refuse(`jid: ${jid.domain} is not served here`);
    if (sessions.get(jid) !== undefined) refuse("jid: there is such a session already");
    if (!this.#mayHibernate) refuse("the server goes down");
    const session = new ClientSession({
      id: random.id(),
      jid,
      created,
      sm,
      surroundings: this.#surroundings,
      detachedAt: hibernatedSince,
      outage,
      ...(presence === undefined ? {} : { presence }),
    });
    sessions.add(session);
    if (this.#resumption.adopt(session)) return session;
    sessions.remove(session);
    session.forget();
    return refuse("smId: it is known here already");
  }

  /**
   * Stops taking connections and input, in the name of `holder`; resolves when nothing that had come is at work any more.
   * `tell` hears of whom it waits for.
   */
  async hold(holder: string, tell?: (progress: Progress) => void): Promise<void> {
    this.pauseListening(holder);
    this.#holders.add(holder);
    const still: Waiting[] = [];
    for (const one of this.#streams) {
      const done = one.stream.hold(holder);
      // Nothing is at work in a handshake, and it may take long.
      if (!one.stream.transport.handshaking) still.push({ name: nameOf(one), done });
    }
    // Nothing more comes from those who wait for a slow reader, who could hold everything up.
    for (const session of this.#options.sessions.all()) if (session instanceof ClientSession) session.waitNoMore();
    await allOf(still, tell);
  }

  /**
   * Lets the connections that are being closed come to their end although `holder` holds everything; resolves when they
   * are gone, and the sessions that are being seen off.
   */
  async finishClosing(holder: string): Promise<void> {
    const { close_timeout: timeoutMs } = this.#options.config;
    const ends: Promise<unknown>[] = [...this.#endings.values()];
    for (const { stream } of this.#streams) {
      if (!stream.closing) continue;
      stream.release(holder);
      ends.push(stream.close({ timeoutMs }));
    }
    await Promise.all(ends);
  }

  /** Sends white space to every client that has a session, and gives up the event loop in between. */
  async keepAlive(batch: number): Promise<void> {
    let count = 0;
    for (const { session, stream } of this.#streams) {
      if (session === undefined || stream.transport.buffered > 0) continue;
      stream.send(" ");
      if (++count % batch === 0) await this.#options.clock.turn();
    }
  }

  /** Ends a session for good and tells its client `error`; one that waits for its client ends too. */
  dismiss(session: unknown, error: StreamError): void {
    if (session instanceof ClientSession) void session.close(error);
  }

  /** Tells everybody who wants to bind a resource `error`, or lets them, with undefined. */
  refuseNew(error: StreamError | undefined): void {
    this.#refusal = error;
  }

  /** Everybody who waits for a client has all the agreed time again: nobody could come while everything was held. */
  waitAnew(): void {
    for (const session of this.#resumption.hibernating) session.waitAnew();
  }

  /** Goes on after `hold`, unless somebody else holds too. */
  release(holder: string): void {
    this.#holders.delete(holder);
    this.resumeListening(holder);
    for (const { stream } of this.#streams) stream.release(holder);
  }

  /** Lets nothing about the resumable sessions change any more, until `thaw` or `passOn`, and returns them. */
  freeze(): ReadonlySet<ClientSession> {
    return this.#frozen.freeze();
  }

  /** Goes on after `freeze`. */
  thaw(): void {
    this.#frozen.thaw();
  }

  /**
   * Another process has the frozen sessions and the listening sockets: lets go of both. The sessions' connections end
   * in order, but without a word of XMPP, which is how clients resume best: docs/CLIENTS.md has what was measured. Who has
   * not logged in is told to come again: it may be somebody who wants to resume.
   */
  passOn(reason: string): void {
    this.#stopping = new StreamError("system-shutdown", reason);
    this.#listeners.passOn();
    this.#mayHibernate = false;
    for (const stream of this.#streams) if (stream.session === undefined) this.#dismiss(stream, this.#stopping);
    const passed = this.letGo();
    for (const stream of this.#streams) {
      if (stream.session !== undefined && passed.has(stream.session)) stream.passedOn();
    }
  }

  /** Somebody else has the frozen sessions: forgets them, without a word to anybody, and returns them. */
  letGo(): ReadonlySet<ClientSession> {
    return this.#frozen.letGo();
  }

  /** Forgets every session that waits for its client, without a word to anybody: they are another process's after all. */
  forgetAll(): void {
    this.#frozen.forgetAll();
  }

  /** Accepts nothing in the name of `holder`, and goes on: what waits in the backlog is taken in then. */
  pauseListening(holder: string): void {
    this.#listeners.pause(holder);
  }

  resumeListening(holder: string): void {
    this.#listeners.resume(holder);
  }

  /** What other processes need to listen in our place. */
  get passable(): readonly PassableSocket[] {
    return this.#listeners.passable;
  }

  /** Ends every session and every connection now; resolves when what the clients have not acknowledged has its fate. */
  async destroy(): Promise<void> {
    this.#mayHibernate = false;
    // Those that `closeSessions` had no time to wait for are among them.
    const ends = [...this.#closing.values()];
    for (const session of this.#resumption.hibernating) ends.push(session.end(""));
    for (const { session, stream } of this.#streams) {
      stream.destroy();
      if (session !== undefined) ends.push(session.end(""));
    }
    await Promise.all(ends);
  }

  async #endHibernating(session: ClientSession, reason: string): Promise<void> {
    this.closed.hibernating++;
    await session.end(reason);
  }

  async #closeStream(stream: ClientStream, error: StreamError, timeoutMs: number): Promise<void> {
    const { session } = stream;
    const end = await stream.close(error, timeoutMs);
    if (session === undefined) return;
    if (end.peerClosed) this.closed.answered++;
    else {
      if (end.orderly) this.closed.unanswered++;
      else this.closed.cut++;
      if (this.closed.named.length < MAX_NAMED) this.closed.named.push(nameOf(stream));
    }
  }

  #onConnection({ transport, ready }: Accepted): void {
    const { log } = this.#options;
    const address = transport.remoteAddress;
    const group = addressGroup(address);
    const admission = this.#limits.enter(group, this.#stopping);
    if (admission === undefined) {
      transport.destroy();
      return;
    }
    const stream: ClientStream = new ClientStream(this.#context, transport, () => {
      this.#streams.delete(stream);
      this.#limits.leave(group, admission);
    });
    this.#streams.add(stream);
    ready.then(
      (tls) => {
        if (tls !== undefined) stream.secured(tls);
      },
      (thrown: unknown) => log.debug({ err: thrown, address }, "TLS handshake failed"),
    );
    if (admission.kind === "admitted") return;
    if (admission.error === this.#stopping) this.#dismiss(stream, admission.error);
    else stream.fail(admission.error);
  }

  /** Closes a connection that has no session. */
  #dismiss(stream: ClientStream, error: StreamError): void {
    void stream.close(error, this.#options.config.close_timeout);
  }

  #enable(session: ClientSession, request: EnableRequest): void {
    const { sm, reply } = this.#resumption.enable(session, request);
    session.manage(sm, reply);
  }

  async #bind(user: Jid, wanted: string | undefined, connection: Connection): Promise<ClientSession | StanzaError> {
    const { config, random, sessions, clock, accounts } = this.#options;
    const jid = wanted === undefined ? user.withResource(random.id()) : Jid.parse(`${user.toString()}/${wanted}`);
    if (jid === undefined) return new StanzaError("bad-request", "the resource is not acceptable");
    // Removed since it logged in: nothing may be bound that `accountRemoved` will not see.
    if (!(await accounts.exists(user.local, user.domain))) return new StanzaError("not-allowed", GONE);
    // RFC 6120 §7.7.2.2: the client that comes last gets the resource.
    const full = jid.toString();
    for (;;) {
      const holder = sessions.get(jid);
      // Contacts hear that the one has gone before they hear of the other.
      const ending = this.#endings.get(full);
      if (holder === undefined && ending === undefined) {
        // One that waits for a client that may never come back does not keep out one that is here.
        const room = sessions.of(user).size < config.max_resources ? undefined : this.#resumption.endOldest(user);
        if (room === undefined) break;
        await room;
        continue;
      }
      if (holder !== undefined && !(holder instanceof ClientSession)) return new StanzaError("conflict");
      if (holder !== undefined) void holder.close(new StreamError("conflict", "the resource was bound anew"));
      await (holder?.end("") ?? ending);
    }
    if (connection.stream.closing || this.#stopping !== undefined) return new StanzaError("service-unavailable");
    if (sessions.of(user).size >= config.max_resources) {
      return new StanzaError("resource-constraint", "too many resources are connected");
    }
    const surroundings = this.#surroundings;
    const session = new ClientSession({ id: random.id(), jid, connection, surroundings, created: clock.wallTime() });
    sessions.add(session);
    return session;
  }

  /** The client of a session that was kept over a stop and a start is back. */
  #welcomeBack(session: ClientSession): void {
    const presence = session.comeBack();
    const done = presence === undefined ? undefined : this.#options.keeping?.returned(session, presence);
    if (done === undefined) return;
    this.#returning.set(session, done);
    void done.then(() => this.#returning.delete(session));
  }

  #surroundingsOf(
    { config, clock, wheel, router, sessions, ...options }: C2sOptions,
    traffic: Traffic,
  ): SessionSurroundings {
    return {
      delivered: traffic.toClients,
      clock,
      wheel,
      ...sessionBoundsOf(config),
      undeliverable: (stanza) => router.route(stanza),
      referred: (session, ref, isTaken) => options.stanzaReferred(session, ref, isTaken),
      copiesOf: (stanza) => router.copiesOf(stanza),
      reroute: (unacked) => rerouteAll(unacked, { log: options.log, reroute: (...args) => router.reroute(...args) }),
      reachable: (session) => options.sessionReachable(session),
      mayWait: () => this.#holders.size === 0,
      mayHibernate: () => this.#mayHibernate,
      detached: (session) => {
        this.#resumption.detached(session);
        options.sessionDetached(session);
      },
      grew: (size) => this.#resumption.grew(size),
      resumed: (session, size) => {
        this.#resumption.attached(session, size);
        options.sessionResumed(session);
        this.#welcomeBack(session);
      },
      ending: (session, reason) => {
        sessions.remove(session);
        this.#resumption.ending(session);
        const full = session.jid.toString();
        const done = options.sessionEnding(session, reason).then(() => {
          if (this.#endings.get(full) === done) this.#endings.delete(full);
        });
        this.#endings.set(full, done);
        return done;
      },
      gone: (session) => this.#resumption.gone(session),
    };
  }
}

function nameOf(one: ClientStream | ClientSession): string {
  if (one instanceof ClientSession) return one.jid.toString();
  return one.session?.jid.toString() ?? `login from ${one.stream.transport.remoteAddress}`;
}
