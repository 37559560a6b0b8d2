// A bound client resource on a connection: takes stanzas for the client, slows down their producers when it reads too
// slowly, and ends once, in order: nothing more is delivered, then contacts are told, then the session is gone.

import type { Jid } from "../../jid/jid.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import type { StreamEnd, XmlStream } from "../../stream/contract.ts";
import type { TimerWheel, WheelTimeout } from "../../util/timer-wheel.ts";
import type { Session } from "../session.ts";

/** What a session needs of its surroundings. */
export interface SessionSurroundings {
  readonly wheel: TimerWheel;
  /** Bytes that may wait for a client that does not read. */
  readonly maxUnread: number;
  /** Milliseconds a client may leave its full buffer unread. */
  readonly stallTimeoutMs: number;
  readonly closeTimeoutMs: number;
  /** A stanza came for a session that has just ended: it takes the way of a missing resource. */
  undeliverable(stanza: Stanza): void | Promise<void>;
  /** The session takes messages from now on: it became available with a priority of 0 or more. */
  reachable(session: ClientSession): void;
  /** The session ends: it leaves the session table, and what is owed on its behalf is sent. Never rejects. */
  ending(session: ClientSession, reason: string): Promise<void>;
}

/** A session of a connected client. */
export class ClientSession implements Session {
  readonly id: string;
  readonly jid: Jid;
  readonly account: Jid;
  #stream: XmlStream;
  #surroundings: SessionSurroundings;
  #presence: Stanza | undefined;
  #priority = 0;
  #ended: Promise<void> | undefined;
  #room: { readonly promise: Promise<void>; readonly open: () => void } | undefined;
  #stall: WheelTimeout | undefined;

  constructor(id: string, jid: Jid, stream: XmlStream, surroundings: SessionSurroundings) {
    this.id = id;
    this.jid = jid;
    this.account = jid.bare;
    this.#stream = stream;
    this.#surroundings = surroundings;
  }

  get presence(): Stanza | undefined {
    return this.#presence;
  }

  get priority(): number {
    return this.#priority;
  }

  get open(): boolean {
    return this.#ended === undefined;
  }

  setPresence(presence: Stanza | undefined): void {
    const wasReachable = this.#presence !== undefined && this.#priority >= 0;
    this.#presence = presence;
    const priority = Number(presence?.element.getChildText("priority") ?? 0);
    this.#priority = Number.isInteger(priority) ? priority : 0;
    if (!wasReachable && presence !== undefined && this.#priority >= 0) this.#surroundings.reachable(this);
  }

  deliver(stanza: Stanza): void | Promise<void> {
    if (this.#ended !== undefined) return this.#surroundings.undeliverable(stanza);
    return this.send(stanza.text);
  }

  /** Sends what the connection itself has to say, with the same bounds as `deliver`; nothing once the session has ended. */
  send(text: string): void | Promise<void> {
    if (this.#ended !== undefined || this.#stream.send(text)) return undefined;
    return this.#wait();
  }

  /** Room again in the connection's buffer. */
  drained(): void {
    this.#stall?.cancel();
    this.#stall = undefined;
    this.#room?.open();
    this.#room = undefined;
  }

  /**
   * Ends the session: from now on nothing is delivered; resolves when everything owed on its behalf, such as unavailable
   * presence, has been handed on. Late callers get the same promise. The connection is not touched.
   */
  end(reason: string): Promise<void> {
    this.#ended ??= this.#surroundings.ending(this, reason);
    this.drained();
    return this.#ended;
  }

  /** Ends the session and closes its connection with `error`; resolves when the connection is gone. Never rejects. */
  async close(error: StreamError, timeoutMs: number = this.#surroundings.closeTimeoutMs): Promise<StreamEnd> {
    await this.end(error.text ?? "");
    return await this.#stream.close({ error, timeoutMs });
  }

  #wait(): Promise<void> {
    if (this.#stream.transport.buffered > this.#surroundings.maxUnread) {
      void this.close(new StreamError("resource-constraint", "too much is waiting to be read"));
      return Promise.resolve();
    }
    if (this.#room === undefined) {
      const { promise, resolve } = withResolvers();
      this.#room = { promise, open: resolve };
      this.#stall = this.#surroundings.wheel.add(this.#surroundings.stallTimeoutMs, () => {
        void this.close(new StreamError("connection-timeout", "nothing was read for too long"));
      });
    }
    return this.#room.promise;
  }
}

/** Promise.withResolvers, which Node 20 does not have. */
function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
