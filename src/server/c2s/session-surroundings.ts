// What every client session shares with its server, and what it sees of its connection. bound-sessions.ts makes one; a
// session sees nothing else of the server.

import type { Stanza } from "../../stanza/stanza.ts";
import type { StreamError } from "../../stanza/stream-error.ts";
import type { XmlStream } from "../../stream/contract.ts";
import type { Clock } from "../../util/clock.ts";
import type { TimerWheel } from "../../util/timer-wheel.ts";
import type { Copies } from "../router.ts";
import type { KindCounts } from "../traffic.ts";
import type { SessionBounds } from "./bounds.ts";
import type { ClientSession } from "./client-session.ts";
import type { Unacked } from "./sm-state.ts";

/** A client connection as its session sees it. */
export interface Connection {
  readonly stream: XmlStream;
  /** The session is this connection's from now on. */
  adopted(session: ClientSession): void;
  /** The session is another connection's from now on: what still comes on this one does not count. */
  replaced(error: StreamError): void;
}

/** What a session needs of its surroundings. */
export interface SessionSurroundings extends SessionBounds {
  /** Counts the stanzas that are given to sessions. */
  readonly delivered: KindCounts;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  /** A stanza came for a session that has just ended: it takes the way of a missing resource. */
  undeliverable(stanza: Stanza): void | Promise<void>;
  /** A stanza that a module knows as `ref` is with the client, or not known to be although the session has ended. */
  referred(session: ClientSession, ref: string, isTaken: boolean): void;
  /** What sessions that were given the same message share. */
  copiesOf(stanza: Stanza): Copies | undefined;
  /** What the client of a session that ended has not acknowledged, oldest first, takes another way. Never rejects. */
  reroute(unacked: readonly Unacked[]): Promise<void>;
  /** The session takes messages from now on: it became available with a priority of 0 or more. */
  reachable(session: ClientSession): void;
  /** Whether producers are to wait for a client that reads too slowly: not while everything is to stand still. */
  mayWait(): boolean;
  /** Whether a session may still outlive its connection. */
  mayHibernate(): boolean;
  /** The session has lost its connection and waits for its client. */
  detached(session: ClientSession): void;
  /** A stanza of `size` characters joined the queue of a session that waits for its client. */
  grew(size: number): void;
  /** The client is back. `size` is what waited for it, in characters. */
  resumed(session: ClientSession, size: number): void;
  /** The session ends: it leaves the session table, and what is owed on its behalf is sent. Never rejects. */
  ending(session: ClientSession, reason: string): Promise<void>;
  /** The last connection of a session that ended is gone: nothing of it will be handled any more. */
  gone(session: ClientSession): void;
}
