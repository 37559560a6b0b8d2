// The closed list of hooks and notifications: each name, what it carries, when it runs and what an answer means.

import type { Jid } from "../jid/jid.ts";
import type { Cause, LifecycleState } from "../shutdown/types.ts";
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
  /**
   * The server sends it, for a client that is back after a stop and a start: what it last said, for contacts who were told
   * that it is gone, or who may have missed that it was not reachable, and whose presence it does not know any more.
   */
  readonly again?: boolean;
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

/**
 * The hooks by name: what a handler is given, and what its answer means. Any module may answer. Handlers run one after the
 * other, by their order and then in the order in which their modules were loaded; the first answer wins, and undefined
 * lets the next one look. Whoever asked waits for a promise, and so does the stream that the stanza came by.
 */
export interface HookCatalogue {
  /**
   * An IQ request came that the server is to answer itself: to a host, to a local account, or from a client to nobody. The
   * name is the request's type and the namespace of its one child. The answer goes back to the asker, from whoever was
   * asked: the payload of a result, `empty` for a result without one, an error, or `handled` when the handler sends the
   * reply itself (each request must have one). A request that nobody answers gets `service-unavailable` (RFC 6120 §8.4).
   */
  [iq: `iq/get/${string}` | `iq/set/${string}`]: { payload: IqRequest; answer: IqAnswer };
  /**
   * A client sent presence of any type, to its contacts (no `to`) or to somebody; `from` is its full JID by now. `true`:
   * handled, no other handler is asked. The module presence answers in the order `normal`; a handler that only wants to
   * see it is `early` and returns undefined.
   */
  "presence/sent": { payload: PresenceSent; answer: true };
  /**
   * Presence came for a local account that exists, or for one of its resources, from a local user or from another server.
   * `true`: handled. Presence that nobody handles is dropped.
   */
  "presence/received": { payload: PresenceReceived; answer: true };
  /**
   * A message came for a local account that exists, and none of its resources is there to take it (RFC 6121 §8.5.2.2).
   * Answer `stored` only when it is on disk; `dropped` when it is of no use later, such as that somebody was typing; an
   * error goes back to the sender. A message that nobody answers for goes back with `service-unavailable`, or is dropped
   * if it is of a kind that gets no error.
   */
  "message/offline": { payload: MessageOffline; answer: OfflineAnswer };
  /**
   * A session ends, by logout, a lost connection or a shutdown: send on its behalf what is owed, such as unavailable
   * presence. Stanzas do not reach it any more. All handlers run, none waiting for another; their promises are awaited,
   * for `c2s.close_timeout` together, and only then the session is over. There is no answer.
   */
  "session/ending": { payload: SessionEnding; answer: never };
  /**
   * The server stops, with `shutdown.resumable = "end"`, and the session's client may resume it after the next start:
   * tell now, on its behalf, what is owed as at its end, such as unavailable presence. The session stays open and takes
   * stanzas. When its client is back, `presence/sent` comes with what it had last said. Answer `end`, before anything is
   * told, when the session cannot go on like that, because only the client itself can bring back what it had: it ends
   * then like any other. All together have `c2s.close_timeout`.
   */
  "session/parting": { payload: SessionEnding; answer: "end" };
}

/** The event for modules while the server goes down. */
export interface ServerStopping {
  /** Why the server goes down. */
  readonly cause: Cause;
  /** What who asked for it said: free text for people. */
  readonly reason: string;
  /** Aborts when the time is over. */
  readonly signal: AbortSignal;
  /** The moment, on the clock's `now()`, at which the time is over. It can move nearer, never further away. */
  readonly deadline: number;
  /** The milliseconds left for what is handed to `waitUntil`. */
  remaining(): number;
  /**
   * Keeps the phase open until `work` settles or the time is over; a rejection is recorded under the module's name. Work
   * that is under way may hand over more. Throws `MORENDO_PHASE_OVER` when the event is over: all that was handed over has
   * settled, or the time is up.
   */
  waitUntil(work: Promise<unknown>): void;
}

/** A stanza that a module gave to a session with a reference: `Session.deliver`. */
export interface ReferredStanza {
  readonly session: Session;
  /** What the module said; it is another module's unless it begins with the own name. */
  readonly ref: string;
}

/** A change of the server's state. */
export interface StateChanged {
  /** The state from now on. */
  readonly state: LifecycleState;
  /** Why, when the server goes down or is suspended. */
  readonly cause?: Cause;
  /** The same in words. */
  readonly reason?: string;
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

/**
 * The notifications by name and what comes with each: told in passing to every listener, in the order of registration.
 * Nobody waits and there is no answer; only `server-stopping` can be kept open.
 */
export interface NotificationCatalogue {
  /** A client has logged in and bound a resource (RFC 6120 §7). It has not sent presence yet. */
  "session/bound": Session;
  /**
   * A session became available with a priority of 0 or more, for the first time or again: messages that wait for its
   * account may go to it.
   */
  "session/available": Session;
  /**
   * A session lost its connection and waits for its client to resume it (XEP-0198 §5). It stays open, keeps its presence,
   * and takes stanzas, within bounds.
   */
  "session/detached": Session;
  /** The client of a session that waited is back, with the same session. */
  "session/resumed": Session;
  /** A session is gone, and everything owed on its behalf has been sent or has run out of time (hook `session/ending`). */
  "session/ended": SessionEnding;
  /**
   * The client has a stanza that was delivered with a `ref`: it has acknowledged it (XEP-0198) or, where it does not
   * acknowledge, it was written to its stream. Delete what is kept of it.
   */
  "stanza/taken": ReferredStanza;
  /**
   * The session ended, and its client is not known to have a stanza that was delivered with a `ref`. Nothing more is done
   * about the stanza: it is for whoever delivered it.
   */
  "stanza/left": ReferredStanza;
  /**
   * An account was removed, its sessions ended, and everything that the server itself stored for it deleted. The payload is
   * the bare JID. Delete what you stored for it: another account may get the same name.
   */
  "account/removed": Jid;
  /** An item of a user's roster was changed or removed, by a client, by a subscription or by a module; it is on disk. */
  "roster/changed": RosterChanged;
  /** The start is complete: every module is loaded and every listener is up. Once in a process; no payload. */
  "server-started": undefined;
  /**
   * No other process goes on with sessions or stanzas of this server: at a plain start right after `server-started`, at a
   * restart once the predecessor has gone, however it went. Once in a process; no payload.
   */
  "server-alone": undefined;
  /**
   * The server's state has changed: `running` at the end of the start, `stopping` when a stop begins, `running` again when
   * one was cancelled; `suspending`, `suspended` and `running` when an operator suspends the server and lets it go on. `stopped` comes when modules are unloaded, so that nobody is told.
   */
  "lifecycle/state": StateChanged;
  /**
   * The server goes down, in the phase of this name; client sessions are closed already, other servers are still connected.
   * Listeners are participants of the phase: hand what you have to finish to `waitUntil`. An async listener is waited for
   * as well.
   */
  "server-stopping": ServerStopping;
}
