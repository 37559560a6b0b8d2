// The closed list of hooks and notifications: each name, what it carries, when it runs and what an answer means.

import type { Jid } from "../jid/jid.ts";
import type { Cause } from "../shutdown/types.ts";
import type { Stanza } from "../stanza/stanza.ts";
import type { StanzaError } from "../stanza/stanza-error.ts";
import type { Element } from "../xml/element.ts";
import type { RosterItem } from "./rosters.ts";
import type { Session } from "./session.ts";

/** An IQ request that the server answers itself. */
export interface IqRequest {
  readonly stanza: Stanza;
  /** The one child element. */
  readonly payload: Element;
  /** `host`: sent to the bare domain. `account`: sent to a local account's bare JID, or by a client to nobody. */
  readonly target: "host" | "account";
  /** The host, or the account, that is asked. */
  readonly asked: Jid;
  /** The local session that asks; undefined for a request from another server. */
  readonly session: Session | undefined;
}

/** An answer to an IQ request: the result's payload, `empty` for a result without one, an error, or `handled` when the handler replies itself. */
export type IqAnswer = Element | StanzaError | "empty" | "handled";

/** A presence stanza a local client sent, with `from` set to its full JID. */
export interface PresenceSent {
  readonly session: Session;
  readonly stanza: Stanza;
}

/** A presence stanza for a local account or one of its resources, from anywhere. */
export interface PresenceReceived {
  readonly stanza: Stanza;
  /** The bare JID of the local account. It is known to exist. */
  readonly account: Jid;
}

/** A message for a local account that has no resource to take it. */
export interface MessageOffline {
  readonly stanza: Stanza;
  readonly account: Jid;
}

/** What became of a message that nobody was there to take. */
export type OfflineAnswer = "stored" | "dropped" | StanzaError;

/** A session that is about to end, still in the session table's view of itself but no longer given stanzas. */
export interface SessionEnding {
  readonly session: Session;
  /** Text for contacts and logs, such as the reason of a shutdown; empty for an ordinary logout. */
  readonly reason: string;
}

/** The hooks by name: what a handler is given, and what its answer means. Handlers run in order; the first answer wins. */
export interface HookCatalogue {
  /** A request with a payload in the namespace; unanswered ones get `service-unavailable` (RFC 6120 §8.4). */
  [iq: `iq/get/${string}` | `iq/set/${string}`]: { payload: IqRequest; answer: IqAnswer };
  /** A client sent presence of any type. `true`: handled. */
  "presence/sent": { payload: PresenceSent; answer: true };
  /** Presence came for a local account. `true`: handled; otherwise it is dropped. */
  "presence/received": { payload: PresenceReceived; answer: true };
  /**
   * Nobody is there to take a message. `stored` only when it is on disk; `dropped` when it is of no use later, such as
   * that somebody was typing; an error goes back to the sender.
   */
  "message/offline": { payload: MessageOffline; answer: OfflineAnswer };
  /** A session ends: send on its behalf what is owed. Awaited, all handlers run; no answer. */
  "session/ending": { payload: SessionEnding; answer: never };
}

/** The event for modules while the server goes down. */
export interface ServerStopping {
  /** Why the server goes down. */
  readonly cause: Cause;
  /** What who asked for it said: free text for people. */
  readonly reason: string;
  /** Aborts when the time is over. */
  readonly signal: AbortSignal;
  /** The milliseconds left for what is handed to `waitUntil`. */
  remaining(): number;
  /** Keeps the phase open until `work` settles or the time is over; a rejection is recorded under the module's name. */
  waitUntil(work: Promise<unknown>): void;
}

/** A change of one roster item, already stored. */
export interface RosterChanged {
  readonly account: Jid;
  /** The item as it is now; `subscription` is `remove` when it is gone. */
  readonly item: RosterItem;
  /** The item as it was; undefined when there was none. */
  readonly before: RosterItem | undefined;
  /** The roster's version after the change. */
  readonly version: string;
}

/** The notifications by name: told in passing, not awaited, no answer. */
export interface NotificationCatalogue {
  /** A client bound a resource. */
  "session/bound": Session;
  /** A session became available (again) with a priority of 0 or more: messages that wait may go to it. */
  "session/available": Session;
  /**
   * A session lost its connection and waits for its client to resume it (XEP-0198 §5). It stays open, keeps its presence,
   * and takes stanzas, within bounds.
   */
  "session/detached": Session;
  /** The client of a session that waited is back, with the same session. */
  "session/resumed": Session;
  /** A session is gone and everything owed on its behalf has been sent. */
  "session/ended": SessionEnding;
  /** An account was removed with everything stored for it by the server itself. */
  "account/removed": Jid;
  /** A roster item changed. */
  "roster/changed": RosterChanged;
  /** Every listener is up. */
  "server-started": undefined;
  /** The server goes down; client sessions are closed already, other servers are still connected. */
  "server-stopping": ServerStopping;
}
