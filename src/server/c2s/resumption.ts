// The sessions that may be resumed (XEP-0198 §5): found by SM-ID, counted while they wait for their clients, and remembered
// for a while after their end, so that a client that comes too late learns at least what had arrived. Not for: what a
// session does (client-session.ts) or how the elements look (sm-elements.ts).

import { z } from "zod";
import type { Config } from "../../config/schema.ts";
import type { Jid } from "../../jid/jid.ts";
import type { ErrorCondition } from "../../stanza/stanza-error.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import type { Clock } from "../../util/clock.ts";
import type { Random } from "../../util/random.ts";
import type { ClientSession } from "./client-session.ts";
import type { Connection } from "./session-surroundings.ts";
import { type EnableRequest, type ResumeRequest, SM_ENABLED, smResumable } from "./sm-elements.ts";
import { SmState } from "./sm-state.ts";

/** What came of a request to resume. */
export type ResumeOutcome =
  | { readonly kind: "resumed"; readonly session: ClientSession }
  /** The client is told so, and may bind a resource instead. */
  | { readonly kind: "failed"; readonly condition: ErrorCondition; readonly h?: number | undefined }
  /** The connection ends. */
  | { readonly kind: "fault"; readonly error: StreamError };

export interface ResumptionOptions {
  readonly config: Pick<
    Config["c2s"],
    "sm_max" | "sm_location" | "sm_max_hibernating" | "sm_max_hibernating_per_account" | "sm_max_hibernating_size"
  >;
  readonly clock: Clock;
  readonly random: Random;
  /** The other sessions of an account. */
  sessionsOf(account: Jid): Iterable<unknown>;
}

/** What is remembered of a session that has ended, as data for the next life of the server. */
export const pastSchema = z.strictObject({
  smId: z.string(),
  account: z.string(),
  h: z.int().nonnegative(),
  /** For how long it is remembered from now on, in milliseconds. */
  leftMs: z.int().nonnegative(),
});

export type PastSession = z.output<typeof pastSchema>;

/** A session that has ended. */
interface Ended {
  readonly account: string;
  /** Until when it is remembered, by `Clock.now()`. */
  readonly until: number;
  h: number;
  /** While its last connection lives: stanzas that had come on it may still be at work. */
  session: ClientSession | undefined;
}

/** How many sessions that have ended are remembered, and for how long. */
const MAX_ENDED = 10_000;
const ENDED_KEPT_MS = 24 * 3_600_000;
/** The counters of XEP-0198 wrap here (§4). */
const WRAP = 0x1_0000_0000;

/** The resumable sessions of a server. */
export class Resumption {
  #options: ResumptionOptions;
  /** IDs of one life of the server differ from those of any other. */
  #epoch: string;
  #sessions = new Map<string, ClientSession>();
  /** Those that wait for their clients, the longest first. */
  #hibernating = new Set<ClientSession>();
  /** What waits in their queues together, in characters. */
  #size = 0;
  #ended = new Map<string, Ended>();

  constructor(options: ResumptionOptions) {
    this.#options = options;
    this.#epoch = `${options.clock.wallTime().toString(36)}${options.random.bytes(3).toString("hex")}`;
  }

  /** All sessions that may be resumed. */
  sessions(): Iterable<ClientSession> {
    return this.#sessions.values();
  }

  /** How many sessions may be resumed. */
  get count(): number {
    return this.#sessions.size;
  }

  /** Other than `ending`: the sessions are another process's now, and nothing of them is remembered. */
  forget(sessions: Iterable<ClientSession>): void {
    for (const session of sessions) {
      if (session.sm === undefined) continue;
      this.attached(session, session.sm.size);
      this.#sessions.delete(session.sm.id ?? "");
    }
  }

  /** The sessions that wait for their clients. */
  get hibernating(): ReadonlySet<ClientSession> {
    return this.#hibernating;
  }

  /** Agrees on acknowledgements with the client of `session`, and on resumption if it asks for it; returns the answer. */
  enable(session: ClientSession, { resume, maxMs }: EnableRequest): { readonly sm: SmState; readonly reply: string } {
    const { config, random } = this.#options;
    const longest = Math.min(maxMs ?? config.sm_max, config.sm_max);
    if (!resume || longest < 1000) return { sm: new SmState(undefined, 0), reply: SM_ENABLED };
    const id = `${this.#epoch}-${random.id()}`;
    this.#sessions.set(id, session);
    return { sm: new SmState(id, longest), reply: smResumable(id, longest, config.sm_location) };
  }

  /** Gives the session that `request` names to `connection`, on which `user` has logged in. */
  async resume(user: Jid, { previd, h }: ResumeRequest, connection: Connection): Promise<ResumeOutcome> {
    const session = this.#sessions.get(previd);
    const sm = session?.sm;
    if (session === undefined || sm === undefined || !session.account.equals(user)) {
      return await this.#late(user, previd);
    }
    if (!sm.covers(h)) {
      // Somebody who has handled less than he said before can only begin anew: what he lacks is not here any more.
      const behind = (((sm.proved - h) % WRAP) + WRAP) % WRAP;
      if (behind < WRAP / 2) return { kind: "failed", condition: "unexpected-request", h: sm.handled.h };
      return { kind: "fault", error: StreamError.handledCountTooHigh(h, sm.sent) };
    }
    const isOurs = await session.claim();
    if (!session.open) return await this.#late(user, previd);
    if (connection.stream.closing) return { kind: "failed", condition: "unexpected-request" };
    if (!isOurs) {
      return { kind: "fault", error: new StreamError("conflict", "the session was resumed on another connection") };
    }
    session.resume(connection, sm, h);
    return { kind: "resumed", session };
  }

  /** Takes a session in that came from elsewhere; false when its ID is known here already. */
  adopt(session: ClientSession): boolean {
    const id = session.sm?.id;
    if (id === undefined || this.#sessions.has(id) || this.#ended.has(id)) return false;
    this.#sessions.set(id, session);
    // Those that come over have been let in already; bounds are for those who come to be by what clients do here.
    this.#hibernating.add(session);
    this.#size += session.sm?.size ?? 0;
    return true;
  }

  /** A session waits for its client from now on: where there are too many, the one that waits the longest ends. */
  detached(session: ClientSession): void {
    const { config, sessionsOf } = this.#options;
    this.#hibernating.add(session);
    this.#size += session.sm?.size ?? 0;
    // The server goes down, and it is not for the client's sake that the session waits.
    if (session.resting) return;
    const own: ClientSession[] = [];
    for (const other of sessionsOf(session.account)) {
      if (this.#hibernating.has(other as ClientSession)) own.push(other as ClientSession);
    }
    if (own.length > config.sm_max_hibernating_per_account) void this.endOldest(session.account);
    if (this.#hibernating.size > config.sm_max_hibernating) this.#endFirst();
    this.#keepSize();
  }

  /** Ends those that are too many by today's bounds; for after a start, those of each account that wait the longest first. */
  keepBounds(): void {
    const { config } = this.#options;
    const counts = new Map<string, number>();
    const count = (session: ClientSession, change: 1 | -1): number => {
      const account = session.account.toString();
      const left = (counts.get(account) ?? 0) + change;
      counts.set(account, left);
      return left;
    };
    for (const session of this.#hibernating) count(session, 1);
    for (const session of this.#hibernating) {
      if (count(session, -1) >= config.sm_max_hibernating_per_account) void session.end("");
    }
    while (this.#hibernating.size > config.sm_max_hibernating) this.#endFirst();
    this.#keepSize();
  }

  /** A stanza of `size` characters joined the queue of a session that waits for its client. */
  grew(size: number): void {
    this.#size += size;
    this.#keepSize();
  }

  /** A session waits no more: its client has come, or it ends. `size` is what waited, in characters. */
  attached(session: ClientSession, size: number): void {
    if (this.#hibernating.delete(session)) this.#size -= size;
  }

  /** Ends the session of `account` that has waited the longest for its client, and returns its end. */
  endOldest(account: Jid): Promise<void> | undefined {
    const own = new Set(this.#options.sessionsOf(account));
    for (const session of this.#hibernating) if (own.has(session)) return session.end("");
    return undefined;
  }

  /** A session ends: what it has handled is remembered. */
  ending(session: ClientSession): void {
    const { sm } = session;
    if (sm === undefined) return;
    this.attached(session, sm.size);
    if (sm.id === undefined) return;
    this.#sessions.delete(sm.id);
    const now = this.#options.clock.now();
    this.#ended.set(sm.id, {
      account: session.account.toString(),
      until: now + ENDED_KEPT_MS,
      h: sm.handled.h,
      session: session.hasConnection ? session : undefined,
    });
    for (const [id, { until }] of this.#ended) {
      if (until > now && this.#ended.size <= MAX_ENDED) break;
      this.#ended.delete(id);
    }
  }

  /** What is remembered of sessions that have ended. */
  past(): PastSession[] {
    const now = this.#options.clock.now();
    return Array.from(this.#ended, ([smId, { account, until, h, session }]) => ({
      smId,
      account,
      h: session?.sm?.handled.h ?? h,
      leftMs: Math.max(0, Math.round(until - now)),
    }));
  }

  /** Remembers what `past` told in another life of the server. */
  remember({ smId, account, h, leftMs }: PastSession): void {
    const until = this.#options.clock.now() + Math.min(leftMs, ENDED_KEPT_MS);
    this.#ended.set(smId, { account, until, h, session: undefined });
  }

  /** Nothing of a session that has ended will be handled any more. */
  gone(session: ClientSession): void {
    const ended = this.#ended.get(session.sm?.id ?? "");
    if (ended === undefined) return;
    ended.h = session.sm?.handled.h ?? ended.h;
    ended.session = undefined;
  }

  /** Answers a client that is too late, or never was here. */
  async #late(user: Jid, previd: string): Promise<ResumeOutcome> {
    const ended = this.#ended.get(previd);
    if (ended === undefined || ended.account !== user.toString() || ended.until <= this.#options.clock.now()) {
      return { kind: "failed", condition: "item-not-found" };
    }
    if (ended.session !== undefined) {
      // What is told now must not be overtaken by what the old connection still says.
      await ended.session.claim();
      this.gone(ended.session);
    }
    return { kind: "failed", condition: "item-not-found", h: ended.h };
  }

  #keepSize(): void {
    while (this.#size > this.#options.config.sm_max_hibernating_size && this.#hibernating.size > 0) this.#endFirst();
  }

  #endFirst(): void {
    const [first] = this.#hibernating;
    void first?.end("");
  }
}
