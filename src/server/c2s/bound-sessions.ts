// The sessions that clients have bound, whatever becomes of their connections: how one comes to be, by binding a resource
// or from another life of the server, what it is given of the rest of the server, and how it is seen off. Not for: what a
// session does in between (client-session.ts), who may resume it (resumption.ts), nor connections (c2s.ts).

import type { Config } from "../../config/schema.ts";
import { Jid } from "../../jid/jid.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import type { Clock } from "../../util/clock.ts";
import { MorendoError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import type { Random } from "../../util/random.ts";
import type { TimerWheel } from "../../util/timer-wheel.ts";
import type { Accounts } from "../accounts.ts";
import type { Router } from "../router.ts";
import type { SessionTable } from "../session-table.ts";
import type { Traffic } from "../traffic.ts";
import { sessionBounds } from "./bounds.ts";
import { ClientSession } from "./client-session.ts";
import type { Keeping } from "./parking.ts";
import { rerouteAll } from "./reroute.ts";
import type { Resumption } from "./resumption.ts";
import { readSnapshot } from "./session-snapshot.ts";
import type { Connection, SessionSurroundings } from "./session-surroundings.ts";

/** What sessions need of the rest of the server. */
export interface SessionServices {
  readonly config: Config["c2s"];
  readonly hosts: readonly string[];
  readonly accounts: Accounts;
  readonly sessions: SessionTable;
  readonly router: Router;
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly log: Logger;
  /** Runs what a session that ends owes to others. Never rejects. */
  sessionEnding(session: ClientSession, reason: string): Promise<void>;
  /** A session takes messages from now on. */
  sessionReachable(session: ClientSession): void;
  /** How sessions that can be resumed go on after a stop and a start; without it they end at a stop. */
  readonly keeping?: Keeping;
  /** A session waits for its client from now on, and its client is back. */
  sessionDetached(session: ClientSession): void;
  sessionResumed(session: ClientSession): void;
  /** What became of a stanza that a module gave to a session with a reference. */
  stanzaReferred(session: ClientSession, ref: string, isTaken: boolean): void;
}

export interface BoundSessionsOptions extends SessionServices {
  readonly resumption: Resumption;
  /** Where stanzas to clients are counted. */
  readonly traffic: Traffic;
  /** Whether the server goes down: nobody may bind any more. */
  readonly isStopping: () => boolean;
  readonly mayWait: SessionSurroundings["mayWait"];
}

const GONE = "the account was removed";

/** Makes sessions and sees them off. */
export class BoundSessions {
  #options: BoundSessionsOptions;
  #surroundings: SessionSurroundings;
  /** Sessions that have left the table and are still being seen off, by full JID. */
  #endings = new Map<string, Promise<void>>();
  /** Cleared when sessions are closed for good: from then on none outlives its connection. */
  mayHibernate = true;
  /** Sessions whose contacts hear again of a client that is back: what it says of itself since then comes after that. */
  readonly returning = new WeakMap<ClientSession, Promise<void>>();

  constructor(options: BoundSessionsOptions) {
    this.#options = options;
    this.#surroundings = this.#surroundingsOf(options);
  }

  /** The values of the configuration have changed: sessions that come to be from now on have the new bounds. */
  reconfigured(): void {
    this.#surroundings = { ...this.#surroundings, ...sessionBounds(this.#options.config) };
  }

  /** Sessions that are being seen off: each resolves when its contacts have been told. None rejects. */
  get endings(): Iterable<Promise<void>> {
    return this.#endings.values();
  }

  /** Binds a resource for `user` on `connection` (RFC 6120 §7.6), ending a session that holds the same one. */
  async bind(user: Jid, wanted: string | undefined, connection: Connection): Promise<ClientSession | StanzaError> {
    const { config, random, sessions, clock, accounts, resumption, isStopping } = this.#options;
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
        const room = sessions.of(user).size < config.max_resources ? undefined : resumption.endOldest(user);
        if (room === undefined) break;
        await room;
        continue;
      }
      if (holder !== undefined && !(holder instanceof ClientSession)) return new StanzaError("conflict");
      if (holder !== undefined) void holder.close(new StreamError("conflict", "the resource was bound anew"));
      await (holder?.end("") ?? ending);
    }
    if (connection.stream.closing || isStopping()) return new StanzaError("service-unavailable");
    if (sessions.of(user).size >= config.max_resources) {
      return new StanzaError("resource-constraint", "too many resources are connected");
    }
    const surroundings = this.#surroundings;
    const session = new ClientSession({ id: random.id(), jid, connection, surroundings, created: clock.wallTime() });
    sessions.add(session);
    return session;
  }

  /**
   * Takes in a session that another life of the server wrote down (`ClientSession.snapshot`): it waits for its client for
   * as long as was left, and ends then. Throws `MORENDO_SESSION_STATE`, and changes nothing, when `data` is damaged or the
   * session has no place here.
   */
  restore(data: unknown): ClientSession {
    const { sessions, hosts, random, clock, resumption } = this.#options;
    const { jid, created, sm, presence, hibernatedSince = clock.wallTime(), outage } = readSnapshot(data);
    const refuse = (what: string): never => {
      throw new MorendoError("MORENDO_SESSION_STATE", `the state of a session cannot be used: ${what}`);
    };
    if (!hosts.includes(jid.domain)) refuse(`jid: ${jid.domain} is not served here`);
    if (sessions.get(jid) !== undefined) refuse("jid: there is such a session already");
    if (!this.mayHibernate) refuse("the server goes down");
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
    if (resumption.adopt(session)) return session;
    sessions.remove(session);
    session.forget();
    return refuse("smId: it is known here already");
  }

  /** Ends the sessions of an account that has been removed; resolves when their contacts have been told. Never rejects. */
  async accountRemoved(account: Jid): Promise<void> {
    await this.end(account, new StreamError("not-authorized", GONE));
  }

  /**
   * Ends the session of a full JID, or all sessions of an account, for good: their clients are told `error` and have to
   * log in anew. Resolves to how many it were, when their contacts have been told. Never rejects.
   */
  async end(jid: Jid, error: StreamError): Promise<number> {
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

  #surroundingsOf(options: BoundSessionsOptions): SessionSurroundings {
    const { config, clock, wheel, router, resumption, log, traffic, mayWait } = options;
    return {
      delivered: traffic.toClients,
      clock,
      wheel,
      ...sessionBounds(config),
      undeliverable: (stanza) => router.route(stanza),
      referred: (session, ref, isTaken) => options.stanzaReferred(session, ref, isTaken),
      copiesOf: (stanza) => router.copiesOf(stanza),
      reroute: (unacked) => rerouteAll(unacked, { log, reroute: (...args) => router.reroute(...args) }),
      reachable: (session) => options.sessionReachable(session),
      mayWait,
      mayHibernate: () => this.mayHibernate,
      detached: (session) => {
        resumption.detached(session);
        options.sessionDetached(session);
      },
      grew: (size) => resumption.grew(size),
      resumed: (session, size) => {
        resumption.attached(session, size);
        options.sessionResumed(session);
        this.#welcomeBack(session);
      },
      ending: (session, reason) => this.#seeOff(session, reason),
      gone: (session) => resumption.gone(session),
    };
  }

  #seeOff(session: ClientSession, reason: string): Promise<void> {
    const { sessions, resumption } = this.#options;
    sessions.remove(session);
    resumption.ending(session);
    const full = session.jid.toString();
    const done = this.#options.sessionEnding(session, reason).then(() => {
      if (this.#endings.get(full) === done) this.#endings.delete(full);
    });
    this.#endings.set(full, done);
    return done;
  }

  /** The client of a session that was kept over a stop and a start is back. */
  #welcomeBack(session: ClientSession): void {
    const presence = session.comeBack();
    const done = presence === undefined ? undefined : this.#options.keeping?.returned(session, presence);
    if (done === undefined) return;
    this.returning.set(session, done);
    void done.then(() => this.returning.delete(session));
  }
}
