// The client side of the server: its listeners, every client connection from accept to close, and its part in a
// shutdown. Not for: what a connection negotiates (client-stream.ts) or where stanzas go (router.ts).

import type { Jid } from "../../jid/jid.ts";
import type { Accepted, CertificateSource, Network, PassableSocket } from "../../net/transport.ts";
import type { PhaseContext, Progress } from "../../shutdown/types.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import type { Element } from "../../xml/element.ts";
import { addressGroup, splitAddress } from "../address.ts";
import { Listeners } from "../listeners.ts";
import { noTraffic, type Traffic } from "../traffic.ts";
import { allOf, type Waiting } from "../waiting.ts";
import { BoundSessions, type SessionServices } from "./bound-sessions.ts";
import { connectionBounds } from "./bounds.ts";
import { ClientSession } from "./client-session.ts";
import { ClientStream } from "./client-stream.ts";
import { type ClosedSessions, ClosingSessions } from "./closing-sessions.ts";
import { ConnectionLimits } from "./connection-limits.ts";
import type { C2sContext } from "./context.ts";
import { FrozenSessions } from "./frozen-sessions.ts";
import { type PastSession, pastSchema, Resumption } from "./resumption.ts";

/** What the client side needs of the rest of the server. */
export interface C2sOptions extends SessionServices {
  /** How many sessions are ended in one turn of the event loop at a shutdown. */
  readonly batch: number;
  readonly network: Network;
  readonly certificates: CertificateSource;
  /** Where stanzas from and to clients are counted. */
  readonly traffic?: Traffic;
  moduleFeatures(): readonly Element[];
  sessionBound(session: ClientSession): void;
}

/** The client listeners and connections. */
export class C2s {
  #options: C2sOptions;
  #context: C2sContext;
  #listeners: Listeners;
  #limits: ConnectionLimits;
  #streams = new Set<ClientStream>();
  #resumption: Resumption;
  #bound: BoundSessions;
  #frozen: FrozenSessions;
  #closing: ClosingSessions;
  /** Set once the server goes down: new connections are only told so. */
  #stopping: StreamError | undefined;
  /** What those who want to bind a resource are told, while nobody may. */
  #refusal: StreamError | undefined;
  /** Who wants everything to stand still: between `hold` and `release`. */
  #holders = new Set<string>();

  constructor(options: C2sOptions) {
    const { traffic = noTraffic() } = options;
    this.#options = options;
    const { config, network, log, clock, random, sessions, keeping } = options;
    this.#listeners = new Listeners({ network, log, accept: (accepted) => this.#onConnection(accepted) });
    this.#limits = new ConnectionLimits(config);
    const sessionsOf = (account: Jid): Iterable<unknown> => sessions.of(account).values();
    const resumption = new Resumption({ config, clock, random, sessionsOf });
    const bound = new BoundSessions({
      ...options,
      traffic,
      resumption,
      isStopping: () => this.#stopping !== undefined,
      mayWait: () => this.#holders.size === 0,
    });
    this.#resumption = resumption;
    this.#bound = bound;
    this.#frozen = new FrozenSessions({ resumption, sessions });
    this.#closing = new ClosingSessions({
      config,
      get batch() {
        return options.batch;
      },
      clock,
      random,
      streams: this.#streams,
      resumption,
      keeping,
    });
    this.#context = {
      ...options,
      ...connectionBounds(config),
      tls: { role: "server", certificates: options.certificates, requestCertificate: false },
      moduleFeatures: () => options.moduleFeatures(),
      refusal: () => this.#refusal,
      bind: (user, resource, connection) => bound.bind(user, resource, connection),
      enable: (session, request) => {
        const { sm, reply } = resumption.enable(session, request);
        session.manage(sm, reply);
      },
      resume: async (user, request, connection) =>
        this.#stopping === undefined
          ? await resumption.resume(user, request, connection)
          : // An answer would tell the client that there is nothing to resume, and there may be, after a start.
            { kind: "fault", error: this.#stopping },
      bound: (session) => options.sessionBound(session),
      route: (session, stanza) => {
        traffic.fromClients[stanza.kind]++;
        const returning = stanza.kind === "presence" ? bound.returning.get(session) : undefined;
        if (returning === undefined) return options.router.fromClient(session, stanza);
        return returning.then(() => options.router.fromClient(session, stanza));
      },
    };
  }

  /**
   * The values of the configuration have changed. Connections and sessions keep the bounds on what they send and on what
   * waits for them as they were at their beginning, so that a lower one closes nobody; new ones have the new bounds.
   */
  reconfigured(): void {
    this.#context = { ...this.#context, ...connectionBounds(this.#options.config) };
    this.#bound.reconfigured();
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

  /** How sessions and connections ended at a shutdown, so far. */
  get closed(): ClosedSessions {
    return this.#closing.closed;
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
    this.#bound.mayHibernate = this.#closing.keepsAt(context.cause);
    await this.#closing.close(context);
  }

  /**
   * Phase `quit` at a plain stop: takes all sessions that can be resumed from their connections, whatever had been done
   * before, lets nothing about them change any more, and returns them: for somebody who keeps them until the next start.
   * Waits at most `ms` for what is at work. `letGo` or `thaw` follows.
   */
  async keepSessions(ms: number): Promise<ReadonlySet<ClientSession>> {
    if (this.#options.keeping === undefined) return new Set();
    this.#stopping ??= new StreamError("system-shutdown");
    await this.#closing.parkAll(ms);
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
    await this.#bound.accountRemoved(account);
  }

  /**
   * Ends the session of a full JID, or all sessions of an account, for good: their clients are told `reason` and have to
   * log in anew. Resolves to how many it were, when their contacts have been told. Never rejects.
   */
  async endSessions(jid: Jid, reason: string): Promise<number> {
    return await this.#bound.end(jid, new StreamError("policy-violation", reason));
  }

  /**
   * Takes in a session that another life of the server wrote down (`ClientSession.snapshot`): it waits for its client for
   * as long as was left, and ends then. Throws `MORENDO_SESSION_STATE`, and changes nothing, when `data` is damaged or the
   * session has no place here.
   */
  restore(data: unknown): ClientSession {
    return this.#bound.restore(data);
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
      if (!one.stream.transport.handshaking) still.push({ name: one.name, done });
    }
    // Nothing more comes from those who wait for a slow reader, who could hold everything up.
    for (const session of this.#options.sessions.all())
      if (session instanceof ClientSession) session.delivery.waitNoMore();
    await allOf(still, tell);
  }

  /**
   * Lets the connections that are being closed come to their end although `holder` holds everything; resolves when they
   * are gone, and the sessions that are being seen off.
   */
  async finishClosing(holder: string): Promise<void> {
    const { close_timeout: timeoutMs } = this.#options.config;
    const ends: Promise<unknown>[] = [...this.#bound.endings];
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
    this.#bound.mayHibernate = false;
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
    this.#bound.mayHibernate = false;
    // Those that `closeSessions` had no time to wait for are among them.
    const ends = [...this.#closing.underWay];
    for (const session of this.#resumption.hibernating) ends.push(session.end(""));
    for (const { session, stream } of this.#streams) {
      stream.destroy();
      if (session !== undefined) ends.push(session.end(""));
    }
    await Promise.all(ends);
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
}
