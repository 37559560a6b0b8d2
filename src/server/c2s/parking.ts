// At a stop: takes the sessions that can be resumed from their connections, so that they can go on after the next start.
// The connections end without a word about XMPP, which is how clients know that they may resume (XEP-0198 §5). Not for:
// keeping the sessions in the store (kept-sessions.ts), nor sessions that end.

import type { Stanza } from "../../stanza/stanza.ts";
import type { XmlStream } from "../../stream/contract.ts";
import type { ClientSession } from "./client-session.ts";
import { smAnswer } from "./sm-elements.ts";

/** In whose name a stream is held. */
const HOLDER = "parking";

/** What becomes of sessions that go on after a stop and a start. */
export interface Keeping {
  /**
   * Tells contacts that the session is gone; resolves to whether it may go on. Never rejects. Where there is no such
   * function, contacts hear nothing, and every session may go on.
   */
  readonly parting?: ((session: ClientSession, reason: string) => Promise<boolean>) | undefined;
  /** The client is back: its contacts hear `presence`, and their presence comes to it again. Never rejects. */
  returned(session: ClientSession, presence: Stanza): Promise<void>;
}

/** Takes sessions from their connections. */
export class Parking {
  #keeping: Keeping;
  #parked = new Set<ClientSession>();
  /** Streams that are to end without a closing tag. */
  #streams = new Set<XmlStream>();

  constructor(keeping: Keeping) {
    this.#keeping = keeping;
  }

  /** How many of those that were parked have not ended since. */
  get count(): number {
    let count = 0;
    for (const session of this.#parked) if (session.open) count++;
    return count;
  }

  /** Tells whether the stream's session is being parked: then nobody else may close it. */
  has(stream: XmlStream): boolean {
    return this.#streams.has(stream);
  }

  /**
   * Parks a session and ends its connection, if it has one, once the stanza at work is carried, or `over` resolves. What
   * else its client sent is left in the network: it was not counted, so that the client sends it again. Without a reason
   * contacts hear nothing. Resolves to false, and the session is as it was, when it must end: it cannot be resumed, or it
   * may not go on. Never rejects.
   */
  async park(
    session: ClientSession,
    { reason, over, stream }: { readonly reason?: string; readonly over: Promise<void>; readonly stream?: XmlStream },
  ): Promise<boolean> {
    if (!session.resumable) return false;
    if (this.#parked.has(session)) return true;
    const still = stream?.hold(HOLDER);
    if (stream !== undefined) this.#streams.add(stream);
    if (!(await Promise.race([this.#part(session, reason), over.then(() => true)])) || !session.park()) {
      if (stream !== undefined) this.#streams.delete(stream);
      stream?.release(HOLDER);
      return false;
    }
    this.#parked.add(session);
    await Promise.race([Promise.all([still, session.worked()]), over]);
    // Not for those that come back: for those that do not, and would send again what has arrived.
    stream?.send(smAnswer(session.sm?.handled.h ?? 0));
    await Promise.race([stream?.hangUp(), over]);
    return true;
  }

  async #part(session: ClientSession, reason: string | undefined): Promise<boolean> {
    if (reason === undefined || this.#keeping.parting === undefined) return true;
    session.part();
    return await this.#keeping.parting(session, reason);
  }
}
