// What is left in the store of sessions that a start has taken from it: each record goes when its session is resumed or has
// ended with everything in it on its way, so that a crash before that loses nothing that waited. After such a crash nobody can
// resume them, because what came later is gone; they end at the next start. Not for: reading and writing them (kept-sessions.ts).

import type { Key, Store, Write } from "../store/store.ts";
import type { Clock } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import type { Notifier } from "../util/events.ts";
import type { Logger } from "../util/log.ts";
import type { ClientSession } from "./c2s/client-session.ts";
import type { NotificationCatalogue } from "./catalogue.ts";
import type { Session } from "./session.ts";

export interface KeptRecordsOptions {
  readonly store: Store;
  readonly notifications: Notifier<NotificationCatalogue>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly collection: string;
  /** Goes when there is no other record any more. */
  readonly head: Key;
}

/** The records of sessions that are here. */
export class KeptRecords {
  #options: KeptRecordsOptions;
  #keys = new Map<Session, Key>();
  #stopListening: (() => void) | undefined;

  constructor(options: KeptRecordsOptions) {
    this.#options = options;
  }

  /** How many there are. */
  get size(): number {
    return this.#keys.size;
  }

  /** Deletes the record under `key` once `session` needs it no more. */
  add(session: ClientSession, key: Key): void {
    this.#keys.set(session, key);
    if (this.#stopListening !== undefined) return;
    const { notifications } = this.#options;
    const offResumed = notifications.on("session/resumed", (one) => this.#release(one));
    const offEnded = notifications.on("session/ended", ({ session: one }) => void this.#ended(one));
    this.#stopListening = () => {
      offResumed();
      offEnded();
    };
  }

  /** Somebody else has deleted them, or is to find them as they are. */
  forget(): void {
    this.#keys.clear();
    this.#stopListening?.();
    this.#stopListening = undefined;
  }

  async #ended(session: Session): Promise<void> {
    if (!this.#keys.has(session)) return;
    // Its end, which is told in its middle, is over when what waited is on the disk or has been returned.
    await this.#options.clock.turn();
    await (session as ClientSession).end("");
    this.#release(session);
  }

  #release(session: Session): void {
    const key = this.#keys.get(session);
    if (key === undefined) return;
    const { store, log, collection, head } = this.#options;
    this.#keys.delete(session);
    const writes: Write[] = [{ op: "delete", collection, key }];
    if (this.#keys.size === 0) {
      this.forget();
      writes.push({ op: "delete", collection, key: head });
    }
    const deleted = store.batch(writes).then(() => store.flushed());
    deleted.catch((thrown: unknown) => {
      log.warn({ err: asError(thrown), jid: session.jid.toString() }, "what was kept of a session cannot be deleted");
    });
  }
}
