// The resumable sessions while they are handed to somebody else, another process or the store: nothing about them changes
// until they are thawed or let go of. Not for: how they travel (passing-on.ts, kept-sessions.ts).

import type { SessionTable } from "../session-table.ts";
import type { ClientSession } from "./client-session.ts";
import type { Resumption } from "./resumption.ts";

export interface FrozenSessionsOptions {
  readonly resumption: Resumption;
  readonly sessions: SessionTable;
}

/** Sessions that stand still. */
export class FrozenSessions {
  #options: FrozenSessionsOptions;
  #frozen: ReadonlySet<ClientSession> = new Set();

  constructor(options: FrozenSessionsOptions) {
    this.#options = options;
  }

  /** Lets nothing about the resumable sessions change any more, until `thaw` or `letGo`, and returns them. */
  freeze(): ReadonlySet<ClientSession> {
    this.#frozen = new Set(this.#options.resumption.sessions());
    for (const session of this.#frozen) session.freeze();
    return this.#frozen;
  }

  /** Goes on after `freeze`. */
  thaw(): void {
    for (const session of this.#frozen) session.thaw();
    this.#frozen = new Set();
  }

  /** Somebody else has the frozen sessions: forgets them, without a word to anybody, and returns them. */
  letGo(): ReadonlySet<ClientSession> {
    const frozen = this.#frozen;
    this.#frozen = new Set();
    this.#forget(frozen);
    return frozen;
  }

  /** Forgets every session that waits for its client, without a word to anybody: they are another process's after all. */
  forgetAll(): void {
    this.#forget(new Set(this.#options.resumption.hibernating));
  }

  #forget(sessions: ReadonlySet<ClientSession>): void {
    for (const session of sessions) {
      this.#options.sessions.remove(session);
      session.forget();
    }
    this.#options.resumption.forget(sessions);
  }
}
