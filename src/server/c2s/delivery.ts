// What is on its way to the client of one session: written to its connection, kept until it is acknowledged where that was
// agreed on (XEP-0198), and bounded, so that whoever produces it waits for a client that reads or acknowledges too slowly.
// Not for: whether the session lives (client-session.ts), the queue itself (sm-state.ts), when to ask (ack-requests.ts).

import type { Stanza } from "../../stanza/stanza.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import { AckRequests } from "./ack-requests.ts";
import type { ClientSession } from "./client-session.ts";
import { Room } from "./room.ts";
import type { Connection, SessionSurroundings } from "./session-surroundings.ts";
import { smAnswer, smResumed } from "./sm-elements.ts";
import { pack, type SmState } from "./sm-state.ts";

/** What one character takes in UTF-8 at most. */
const MAX_BYTES = 3;

/** The way out to one client. */
export class Delivery {
  #session: ClientSession;
  #surroundings: SessionSurroundings;
  #connection: Connection | undefined;
  #sm: SmState | undefined;
  #asks: AckRequests | undefined;
  #isFull = false;
  #room: Room | undefined;

  constructor(session: ClientSession, surroundings: SessionSurroundings, connection?: Connection, sm?: SmState) {
    this.#session = session;
    this.#surroundings = surroundings;
    this.#connection = connection;
    this.#sm = sm;
  }

  /** The connection it goes out on; undefined while the session waits for its client. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** Sends a stanza, or keeps it for a client that is away; a promise means: produce no more until it resolves. */
  push(text: string, stanza: Stanza | undefined, ref?: string): void | Promise<void> {
    const connection = this.#connection;
    const sm = this.#sm;
    if (sm !== undefined) {
      const { size } = sm;
      const copies = stanza === undefined ? undefined : this.#surroundings.copiesOf(stanza);
      sm.add({ text, copies, at: this.#surroundings.clock.wallTime(), ref });
      if (connection === undefined) {
        pack(text);
        this.#surroundings.grew(sm.size - size);
        return !this.#session.open || this.#isOver(sm, 1) ? this.#session.end("") : undefined;
      }
      if (this.#isOver(sm, 1)) return this.#overflow();
    }
    if (connection === undefined) return undefined;
    this.#write(connection, text);
    this.#asks?.sent();
    if (sm === undefined && ref !== undefined) this.#surroundings.referred(this.#session, ref, true);
    return this.#isFull || (sm !== undefined && this.#isOver(sm, 0.5)) ? this.#wait(connection) : undefined;
  }

  /** Room again in the connection's buffer. */
  drained(): void {
    this.#isFull = false;
    this.#openRoom();
  }

  /** Nobody waits for the client to read any more. */
  waitNoMore(): void {
    this.#room?.open();
  }

  /** Acknowledgements are agreed on from here on; `reply` tells the client so. What is sent after that is counted. */
  manage(connection: Connection, sm: SmState, reply: string): void {
    this.#write(connection, reply);
    this.#sm = sm;
    this.#ask();
  }

  /** Tells the client what has been carried; a promise means: it does not read, read nothing more from it. */
  answer(): void | Promise<void> {
    const connection = this.#connection;
    if (connection === undefined || this.#sm === undefined) return undefined;
    if (this.#write(connection, smAnswer(this.#sm.handled.h)) || !this.#session.open) return undefined;
    return this.#wait(connection);
  }

  /** Takes the client's `h`; false when it may not say that. */
  acknowledge(h: number): boolean {
    const sm = this.#sm;
    if (sm === undefined) return false;
    const { pending } = sm;
    if (!sm.acknowledge(h)) return false;
    this.#tellTaken(sm);
    if (!this.#session.open) return true;
    this.#asks?.answered();
    if (sm.pending < pending) this.#room?.progressed();
    this.#openRoom();
    return true;
  }

  /** Asks the client for a sign of life; false when it never agreed to answer. */
  probe(): boolean {
    this.#asks?.ask();
    return this.#asks !== undefined;
  }

  /** There is no connection any more. */
  disconnected(): void {
    this.#connection = undefined;
    this.#asks?.stop();
    this.#asks = undefined;
    this.#isFull = false;
    this.#room?.open();
    this.#sm?.pack();
  }

  /** Goes on with `connection`: sends what its client has not acknowledged, in order. */
  resume(connection: Connection, sm: SmState): void {
    this.#tellTaken(sm);
    this.#connection = connection;
    this.#write(connection, smResumed(sm.id ?? "", sm.handled.h));
    for (const { text } of sm.unacked()) this.#write(connection, text);
    this.#ask();
    if (sm.pending > 0) this.#asks?.ask();
  }

  /** No time runs out for the client until `goOn`. Nothing may be pushed meanwhile. */
  hold(): void {
    this.#asks?.stop();
    this.#room?.hold();
  }

  /** Goes on after `hold`. */
  goOn(): void {
    this.#room?.progressed();
    if (this.#sm !== undefined) this.#ask();
  }

  /** The session has ended: nobody waits for the client any more, and it is asked for nothing. */
  stop(): void {
    this.#asks?.stop();
    this.#room?.open();
  }

  #write(connection: Connection, text: string): boolean {
    const hasRoom = connection.stream.send(text);
    if (!hasRoom) this.#isFull = true;
    return hasRoom;
  }

  /** Tells whether more than `share` of what may be left unacknowledged is. */
  #isOver(sm: SmState, share: number): boolean {
    const { maxUnacked, maxUnackedSize } = this.#surroundings;
    return sm.pending > maxUnacked * share || sm.size > maxUnackedSize * share;
  }

  /** The last stanza was one too many; it takes the way of all the others. */
  #overflow(): Promise<void> {
    const error = new StreamError("resource-constraint", "too much is waiting to be acknowledged");
    return this.#session.close(error).then(() => undefined);
  }

  #wait(connection: Connection): Promise<void> {
    const unacked = this.#sm === undefined ? 0 : this.#sm.size * MAX_BYTES;
    if (connection.stream.transport.buffered > this.#surroundings.maxUnread + unacked) {
      void this.#session.close(new StreamError("resource-constraint", "too much is waiting to be read"));
      return Promise.resolve();
    }
    if (!this.#surroundings.mayWait()) return Promise.resolve();
    this.#room ??= new Room(this.#surroundings, () => this.#stalled());
    return this.#room.wait();
  }

  #stalled(): void {
    // Somebody who has room for more and takes nothing may have lost the network rather than the will.
    const hasRoom = this.#sm !== undefined && !this.#isOver(this.#sm, 0.5);
    if (hasRoom) this.#lose("nothing was read for too long");
    else void this.#session.close(new StreamError("connection-timeout", "nothing was read for too long"));
  }

  /** The connection is as good as broken. */
  #lose(text: string): void {
    const connection = this.#connection;
    if (this.#session.detach()) connection?.stream.destroy();
    else void this.#session.close(new StreamError("connection-timeout", text));
  }

  #openRoom(): void {
    if (!this.#isFull && (this.#sm === undefined || !this.#isOver(this.#sm, 0.5))) this.#room?.open();
  }

  #ask(): void {
    const { clock, wheel, ackTimeoutMs } = this.#surroundings;
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#asks = new AckRequests({
      clock,
      wheel,
      timeoutMs: ackTimeoutMs,
      send: (text) => this.#write(connection, text),
      pending: () => this.#sm?.pending ?? 0,
      // While a stanza of the client is at work, what it says is left in the network.
      lastHeardAt: () => (this.#session.isWorking ? clock.now() : connection.stream.lastInputAt),
      silent: () => this.#lose("the client does not answer"),
    });
  }

  #tellTaken(sm: SmState): void {
    for (const ref of sm.takeReferences() ?? []) this.#surroundings.referred(this.#session, ref, true);
  }
}
