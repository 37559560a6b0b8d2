// How the clients' sessions and connections end at a shutdown: in shuffled batches, each client told and waited for, and
// counted by how it went; at a plain stop those that are to be kept are parked instead (parking.ts). Not for: a session's
// own end (client-session.ts), nor who may still come (c2s.ts).

import type { Config } from "../../config/schema.ts";
import type { PhaseContext } from "../../shutdown/types.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import type { XmlStream } from "../../stream/contract.ts";
import type { Clock } from "../../util/clock.ts";
import { type Random, shuffle } from "../../util/random.ts";
import { ClientSession } from "./client-session.ts";
import { ClientStream } from "./client-stream.ts";
import { type Keeping, Parking } from "./parking.ts";
import type { Resumption } from "./resumption.ts";

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

export interface ClosingSessionsOptions {
  readonly config: Pick<Config["c2s"], "close_timeout">;
  /** How many sessions are ended in one turn of the event loop. */
  readonly batch: number;
  readonly clock: Clock;
  readonly random: Random;
  /** All connections there are, at any time. */
  readonly streams: ReadonlySet<ClientStream>;
  readonly resumption: Pick<Resumption, "hibernating">;
  /** How sessions that can be resumed go on after a stop and a start; without it they end at a stop. */
  readonly keeping: Keeping | undefined;
}

const MAX_NAMED = 100;

/** Ends sessions and connections, once. */
export class ClosingSessions {
  #options: ClosingSessionsOptions;
  #parking: Parking | undefined;
  /** What `close` waits for. */
  #waiting = new Map<ClientStream | ClientSession, Promise<void>>();
  readonly closed: ClosedSessions = { answered: 0, unanswered: 0, cut: 0, hibernating: 0, kept: 0, named: [] };

  constructor(options: ClosingSessionsOptions) {
    this.#options = options;
    this.#parking = options.keeping === undefined ? undefined : new Parking(options.keeping);
  }

  /** The ends that are under way, those included that `close` had no time to wait for. */
  get underWay(): Iterable<Promise<void>> {
    return this.#waiting.values();
  }

  /** Tells whether sessions that can be resumed go on after a shutdown with this cause. */
  keepsAt(cause: PhaseContext["cause"]): boolean {
    return cause === "stop" && this.#parking !== undefined;
  }

  /** Ends every session and closes every connection, but for the sessions that are kept: those are only parked. */
  async close(context: PhaseContext): Promise<void> {
    const error = new StreamError("system-shutdown", context.reason);
    const parking = this.keepsAt(context.cause) ? this.#parking : undefined;
    let stopWaiting = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      stopWaiting = resolve;
    });
    const park = async (session: ClientSession | undefined, stream?: XmlStream): Promise<boolean> =>
      session !== undefined &&
      (await parking?.park(session, { reason: context.reason, over, ...(stream === undefined ? {} : { stream }) })) ===
        true;
    const { streams, resumption, random, config, clock } = this.#options;
    const all = shuffle([...streams, ...resumption.hibernating], random);
    const waiting = this.#waiting;
    const total = all.length;
    let done = 0;
    const report = (): void => {
      const blockers = waiting.size > 5 ? [] : [...waiting.keys()].map((one) => nameOf(one));
      context.progress({ done, total, blockers });
    };
    for (const [index, one] of all.entries()) {
      const timeoutMs = Math.min(config.close_timeout, context.remaining());
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
      if ((index + 1) % this.#options.batch === 0) await clock.turn();
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
    for (const session of resumption.hibernating) if (!session.resting) await park(session);
    this.closed.kept = parking?.count ?? 0;
  }

  /**
   * Takes all sessions that can be resumed from their connections, whatever had been done before, and reads nothing more
   * from anybody else. Waits at most `ms` for what is at work.
   */
  async parkAll(ms: number): Promise<void> {
    const { clock, streams, resumption } = this.#options;
    const parking = this.#parking;
    if (parking === undefined) return;
    const enough = new AbortController();
    const over = clock.sleep(ms, enough.signal);
    const held = Array.from(streams, ({ session, stream }) =>
      session === undefined ? stream.hold() : parking.park(session, { over, stream }),
    );
    const waiting = Array.from(resumption.hibernating, (session) => parking.park(session, { over }));
    await Promise.race([Promise.all([...held, ...waiting]), over]);
    enough.abort();
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
      if (this.closed.named.length < MAX_NAMED) this.closed.named.push(stream.name);
    }
  }
}

function nameOf(one: ClientStream | ClientSession): string {
  return one instanceof ClientSession ? one.jid.toString() : one.name;
}
