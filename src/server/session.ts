// What a bound client resource looks like to the router and to modules. c2s implements it; a session may live on without
// a connection (XEP-0198), so nothing here speaks of sockets.

import type { Jid } from "../jid/jid.ts";
import type { Stanza } from "../stanza/stanza.ts";

/** A client resource bound to an account (RFC 6120 §7). */
export interface Session {
  /** Unique in this process; not the resource. */
  readonly id: string;
  /** The full JID. */
  readonly jid: Jid;
  /** The bare JID of the account. */
  readonly account: Jid;
  /** The presence it last broadcast; undefined until its first, and after its unavailable one (RFC 6121 §4). */
  readonly presence: Stanza | undefined;
  /** The priority of that presence, -128 to 127. */
  readonly priority: number;
  /** False from the moment the session began to end: nothing is delivered to it any more. */
  readonly open: boolean;
  /** Remembers the presence the session broadcast; undefined when it became unavailable. */
  setPresence(presence: Stanza | undefined): void;
  /**
   * Hands a stanza to the client. Returns at once while the client keeps up; otherwise a promise that resolves when
   * there is room again: whoever produced the stanza waits for it before it produces more.
   *
   * With a `ref` the stanza stays the caller's: it is told of its fate by the notifications `stanza/taken` and
   * `stanza/left`, perhaps in another process, and the stanza does not take another way when the session ends. A module
   * begins it with its own name; 200 characters at most.
   */
  deliver(stanza: Stanza, ref?: string): void | Promise<void>;
}
