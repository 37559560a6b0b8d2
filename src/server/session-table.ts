// Who is connected: the bound sessions of every local account, found in O(1) by full JID or by account. Not for:
// sockets that have not logged in; c2s keeps those.

import type { Jid } from "../jid/jid.ts";
import type { Session } from "./session.ts";

const NOBODY: ReadonlyMap<string, Session> = new Map();

/** The bound sessions by domain, localpart and resource. */
export class SessionTable {
  #byDomain = new Map<string, Map<string, Map<string, Session>>>();
  #size = 0;

  /** How many sessions there are. */
  get size(): number {
    return this.#size;
  }

  /** Adds a session; the caller has made sure that its full JID is free. */
  add(session: Session): void {
    const { domain, local, resource } = session.jid;
    let accounts = this.#byDomain.get(domain);
    if (accounts === undefined) {
      accounts = new Map();
      this.#byDomain.set(domain, accounts);
    }
    let resources = accounts.get(local);
    if (resources === undefined) {
      resources = new Map();
      accounts.set(local, resources);
    }
    resources.set(resource, session);
    this.#size++;
  }

  /** Removes the session, if it is the one that holds its full JID. */
  remove(session: Session): void {
    const { domain, local, resource } = session.jid;
    const accounts = this.#byDomain.get(domain);
    const resources = accounts?.get(local);
    if (resources?.get(resource) !== session) return;
    resources.delete(resource);
    this.#size--;
    if (resources.size === 0) accounts?.delete(local);
  }

  /** Returns the session with this full JID. */
  get(full: Jid): Session | undefined {
    return this.#byDomain.get(full.domain)?.get(full.local)?.get(full.resource);
  }

  /** Returns the sessions of the account of `jid` by resource: a live view, not a copy. */
  of(jid: Jid): ReadonlyMap<string, Session> {
    return this.#byDomain.get(jid.domain)?.get(jid.local) ?? NOBODY;
  }

  /** Returns all sessions. */
  *all(): Generator<Session> {
    for (const accounts of this.#byDomain.values()) {
      for (const resources of accounts.values()) yield* resources.values();
    }
  }
}
