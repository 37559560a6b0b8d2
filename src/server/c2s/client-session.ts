// The life of a bound client resource: it takes stanzas for its client and ends once, in order: nothing more is delivered,
// then contacts are told, then the session is gone. With XEP-0198 it outlives its connection, goes on with another, and
// sees to it that what is left at its end is not lost. Not for: how stanzas get to the client (delivery.ts).

import type { Jid } from "../../jid/jid.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import type { StreamEnd } from "../../stream/contract.ts";
import type { WheelTimeout } from "../../util/timer-wheel.ts";
import { withResolvers } from "../../util/with-resolvers.ts";
import type { Session } from "../session.ts";
import { Delivery } from "./delivery.ts";
import { type Outage, type SessionSnapshot, writeSnapshot } from "./session-snapshot.ts";
import type { Connection, SessionSurroundings } from "./session-surroundings.ts";
import { SM_REQUEST, smAnswer } from "./sm-elements.ts";
import type { SmState } from "./sm-state.ts";

/** What a session is made of. */
export interface ClientSessionOptions {
  readonly id: string;
  readonly jid: Jid;
  readonly surroundings: SessionSurroundings;
  /** When the client bound its resource, in milliseconds since 1970. */
  readonly created: number;
  /** Undefined for a session that waits for its client. */
  readonly connection?: Connection;
  readonly presence?: Stanza;
  readonly sm?: SmState;
  /** Since when it waits for its client, in milliseconds since 1970. */
  readonly detachedAt?: number;
  /** Whether the server was down since the client was here; with `told`, `presence` is for when it is back. */
  readonly outage?: Outage;
}

const NO_CONNECTION: StreamEnd = { peerClosed: false, orderly: false };

/** A session of a client, connected or waiting for it. */
export class ClientSession implements Session {
  readonly id: string;
  readonly jid: Jid;
  readonly account: Jid;
  readonly created: number;
  /** What is on its way to the client. */
  readonly delivery: Delivery;
  #surroundings: SessionSurroundings;
  /** The connection it has or had last, until that is gone: stanzas that had come on it may still be at work. */
  #last: Connection | undefined;
  #presence: Stanza | undefined;
  #priority = 0;

  #isEnding = false;
  #ended: Promise<void> | undefined;
  /** Our closing tag is to be answered: the answer tells what the client has read. */
  #isClosing = false;
  #hasClosed = false;
  #hasClientClosed = false;
  /** It acknowledged after our closing tag: that number counts, because its own closing tag may have crossed ours. */
  #toldAtEnd = false;
  #settled: Promise<void> | undefined;

  #sm: SmState | undefined;
  #working: Promise<void> | undefined;
  #claim = 0;
  #detachedAt: number | undefined;
  #expiry: WheelTimeout | undefined;
  #isResting = false;
  #outage: Outage;
  /** Its presence, while its contacts are told that it is gone although its client may be back after a stop and a start. */
  #away: Stanza | undefined;
  /** While the session may be handed to another process, what is delivered waits. */
  #frozen: { readonly promise: Promise<void>; readonly open: () => void } | undefined;

  constructor({ id, jid, surroundings, created, connection, presence, sm, detachedAt, outage }: ClientSessionOptions) {
    this.id = id;
    this.jid = jid;
    this.account = jid.bare;
    this.created = created;
    this.#surroundings = surroundings;
    this.delivery = new Delivery(this, surroundings, connection, sm);
    this.#last = connection;
    this.#outage = outage;
    if (outage === "told") this.#away = presence;
    else this.#notePresence(presence);
    this.#sm = sm;
    this.#detachedAt = detachedAt;
    if (sm !== undefined && detachedAt !== undefined) this.#awaitClient(sm, detachedAt);
  }

  get presence(): Stanza | undefined {
    return this.#presence;
  }

  get priority(): number {
    return this.#priority;
  }

  get open(): boolean {
    return !this.#isEnding;
  }

  /** What XEP-0198 adds to the session, once the client has asked for it. */
  get sm(): SmState | undefined {
    return this.#sm;
  }

  /** Whether the session waits for its client. */
  get hibernating(): boolean {
    return !this.#isEnding && this.delivery.connection === undefined;
  }

  /** Tells whether `connection` is the one the session has. */
  isOn(connection: Connection): boolean {
    return this.delivery.connection === connection;
  }

  setPresence(presence: Stanza | undefined): void {
    if (this.#outage === "told" && presence !== undefined) {
      // It was said before the goodbye and is heard after it: it is for when the client is back.
      this.#away = presence;
      return;
    }
    const wasReachable = this.#presence !== undefined && this.#priority >= 0;
    this.#notePresence(presence);
    if (!wasReachable && presence !== undefined && this.#priority >= 0) this.#surroundings.reachable(this);
  }

  deliver(stanza: Stanza, ref?: string): void | Promise<void> {
    if (this.#frozen !== undefined) return this.#frozen.promise.then(() => this.deliver(stanza, ref));
    if (this.#isEnding && ref !== undefined) return this.#surroundings.referred(this, ref, false);
    if (this.#isEnding) return this.#surroundings.undeliverable(stanza);
    this.#surroundings.delivered[stanza.kind]++;
    return this.delivery.push(stanza.text, stanza, ref);
  }

  /** Sends a stanza of the connection itself, with the same bounds as `deliver`; nothing once the session has ended. */
  send(text: string): void | Promise<void> {
    if (this.#frozen !== undefined) return this.#frozen.promise.then(() => this.send(text));
    return this.#isEnding ? undefined : this.delivery.push(text, undefined);
  }

  /** The client asked for acknowledgements; `reply` tells it what was agreed on. What is sent after that is counted. */
  manage(sm: SmState, reply: string): void {
    const { connection } = this.delivery;
    if (connection === undefined) return;
    this.delivery.manage(connection, sm, reply);
    this.#sm = sm;
  }

  /** Whether it can be resumed. */
  get resumable(): boolean {
    return !this.#isEnding && this.#sm?.id !== undefined;
  }

  /** Whether no time runs out for it. */
  get resting(): boolean {
    return this.#isResting;
  }

  /** Whether its client has not come in time. */
  get isLate(): boolean {
    return this.hibernating && this.#sm !== undefined && this.#remaining(this.#sm, this.#detachedAt ?? 0) === 0;
  }

  /** Its contacts are told from here on that it is gone, although its client may be back after a stop and a start. */
  part(): void {
    if (this.#outage === "told") return;
    this.#outage = "told";
    this.#away = this.#presence;
  }

  /** The server was down, and the client is back: returns the presence that its contacts are to hear again. */
  comeBack(): Stanza | undefined {
    const presence = this.#outage === undefined ? undefined : (this.#away ?? this.#presence);
    this.#outage = undefined;
    this.#away = undefined;
    return presence;
  }

  /** Lets no time run out while it waits for its client, until `wake`. */
  rest(): void {
    this.#isResting = true;
    this.#expiry?.cancel();
  }

  /** Goes on after `rest`: waits for what is left of the agreed time. */
  wake(): void {
    this.#isResting = false;
    if (this.hibernating && this.#sm !== undefined) this.#awaitClient(this.#sm, this.#detachedAt ?? 0);
  }

  /** Waits for its client as long as was agreed, from now on. */
  waitAnew(): void {
    if (!this.hibernating || this.#sm === undefined) return;
    this.#detachedAt = this.#surroundings.clock.wallTime();
    this.#awaitClient(this.#sm, this.#detachedAt);
  }

  /** Gives up its connection and waits for its client, for whom no time runs out; false when it cannot be resumed. */
  park(): boolean {
    if (!this.resumable) return false;
    this.rest();
    return this.hibernating || this.detach();
  }

  /** Whether a stanza of the client is at work. */
  get isWorking(): boolean {
    return this.#working !== undefined;
  }

  /** Resolves when no stanza of the client is at work any more. Never rejects. */
  async worked(): Promise<void> {
    while (this.#working !== undefined) await this.#working.catch(() => undefined);
  }

  /**
   * Lets nothing about the session change until `thaw` or `forget`: no time runs out, and what is delivered waits. The
   * input of its connection must be held already.
   */
  freeze(): void {
    if (this.#isEnding || this.#frozen !== undefined) return;
    const { promise, resolve } = withResolvers();
    this.#frozen = { promise, open: resolve };
    this.#expiry?.cancel();
    this.delivery.hold();
  }

  /** Goes on after `freeze`, with what waited first. */
  thaw(): void {
    const frozen = this.#frozen;
    if (frozen === undefined) return;
    this.#frozen = undefined;
    this.delivery.goOn();
    if (this.#sm !== undefined && this.#detachedAt !== undefined) this.#awaitClient(this.#sm, this.#detachedAt);
    frozen.open();
  }

  /**
   * Gives up a session that was never taken in, or that another process has now, without a word to anybody. What waits
   * or comes for it here takes the way of a missing resource.
   */
  forget(): void {
    this.#isEnding = true;
    this.#ended = Promise.resolve();
    this.#settled = Promise.resolve();
    this.#expiry?.cancel();
    this.delivery.stop();
    const frozen = this.#frozen;
    this.#frozen = undefined;
    frozen?.open();
  }

  /** One more stanza of the client is carried. */
  carried(): void {
    this.#sm?.handled.count();
  }

  /** A stanza of the client is carried when `work` is done. Returns what to wait for before the next. */
  carrying(work: Promise<void>): Promise<void> {
    if (this.#sm === undefined) return work;
    const done = work
      .then(() => this.carried())
      .finally(() => {
        if (this.#working === done) this.#working = undefined;
      });
    this.#working = done;
    return done;
  }

  /** Takes the client's `h`; false when it may not say that. */
  acknowledge(h: number): boolean {
    if (!this.delivery.acknowledge(h)) return false;
    if (this.#isClosing) this.#toldAtEnd = true;
    return true;
  }

  /** The client closes the stream on `connection`, of its own accord or in answer to us. */
  clientClosing(connection: Connection): void {
    if (this.#last !== connection || this.#hasClosed) return;
    this.#hasClientClosed = true;
    // XEP-0198 §7: so that it does not send again what has been carried.
    if (this.#sm !== undefined) connection.stream.send(smAnswer(this.#sm.handled.h));
    // It had said so before the connection broke, and was only now heard.
    if (this.hibernating) void this.end("");
  }

  /** The connection can carry nothing more to the client. */
  outputClosed(how: "closed" | "broken"): void {
    if (how === "broken" && this.detach()) return;
    void this.end("");
  }

  /** The connection is gone, and all that had come on it has been handled. */
  connectionGone(connection: Connection): void {
    if (this.#last !== connection) return;
    this.#last = undefined;
    if (this.#isEnding) this.#surroundings.gone(this);
  }

  /** Whether stanzas of the client may still be at work although the session has ended. */
  get hasConnection(): boolean {
    return this.#last !== undefined;
  }

  /**
   * Goes on without a connection: the session waits for its client as long as was agreed, and then ends. False, and
   * nothing has changed, when it cannot: resumption was not agreed on, or the session ends.
   */
  detach(): boolean {
    const sm = this.#sm;
    if (this.#isEnding || this.delivery.connection === undefined || sm?.id === undefined) return false;
    if (!this.#surroundings.mayHibernate()) return false;
    this.delivery.disconnected();
    const now = this.#surroundings.clock.wallTime();
    this.#detachedAt = now;
    this.#awaitClient(sm, now);
    this.#surroundings.detached(this);
    return true;
  }

  /**
   * Takes the session from the connection that it has or had, for another: nothing that comes on the old one counts from
   * now on. Resolves when the stanza that was at work is carried, so that the number of those handled is final; to
   * whether nobody else has claimed the session since.
   */
  async claim(): Promise<boolean> {
    const claim = ++this.#claim;
    const last = this.#last;
    // Without a connection of its own it would be nobody's.
    if (!this.detach() && this.open && this.delivery.connection !== undefined) return false;
    this.#last = undefined;
    last?.replaced(new StreamError("conflict", "the session was resumed on another connection"));
    // One that fails is not carried, and the client will send it again.
    if (this.#working !== undefined) await this.#working.catch(() => undefined);
    return this.#claim === claim;
  }

  /** Goes on with `connection`, whose client has handled `h`: sends what it has not, in order. */
  resume(connection: Connection, sm: SmState, h: number): void {
    const { size } = sm;
    sm.acknowledge(h);
    this.#last = connection;
    this.#detachedAt = undefined;
    this.#expiry?.cancel();
    connection.adopted(this);
    this.delivery.resume(connection, sm);
    this.#surroundings.resumed(this, size);
  }

  /**
   * Ends the session: from now on nothing is delivered; resolves when everything owed on its behalf, such as unavailable
   * presence, has been handed on. Late callers get the same promise. The connection is not touched.
   */
  end(reason: string): Promise<void> {
    if (this.#frozen !== undefined) return this.#frozen.promise.then(() => this.end(reason));
    if (this.#isEnding) return this.#ended ?? Promise.resolve();
    this.#isEnding = true;
    this.#expiry?.cancel();
    const told = this.#surroundings.ending(this, reason);
    this.#ended = this.#isClosing ? told : Promise.all([told, this.#settle(false)]).then(() => undefined);
    this.delivery.stop();
    return this.#ended;
  }

  /** Ends the session and closes its connection with `error`; resolves when the connection is gone. Never rejects. */
  async close(error: StreamError, timeoutMs: number = this.#surroundings.closeTimeoutMs): Promise<StreamEnd> {
    const { connection } = this.delivery;
    this.#isClosing = connection !== undefined;
    await this.end(error.text ?? "");
    if (connection === undefined) return NO_CONNECTION;
    const sm = this.#sm;
    if (sm !== undefined) connection.stream.send((sm.pending > 0 ? SM_REQUEST : "") + smAnswer(sm.handled.h));
    this.#hasClosed = true;
    const end = await connection.stream.close({ error, timeoutMs });
    // The answer to our closing tag comes from somebody who has read what was before it (RFC 6120 §4.4).
    await this.#settle(end.peerClosed && !this.#hasClientClosed && !this.#toldAtEnd);
    return end;
  }

  /** The session as data that `readSnapshot` takes; undefined when it cannot be resumed. */
  snapshot(): SessionSnapshot | undefined {
    const sm = this.#sm;
    if (sm?.id === undefined) return undefined;
    return writeSnapshot(sm.id, {
      jid: this.jid,
      created: this.created,
      sm,
      presence: this.#away ?? this.#presence,
      hibernatedSince: this.#detachedAt,
      outage: this.#outage,
    });
  }

  #notePresence(presence: Stanza | undefined): void {
    this.#presence = presence;
    const priority = Number(presence?.element.getChildText("priority") ?? 0);
    this.#priority = Number.isInteger(priority) ? priority : 0;
  }

  #awaitClient(sm: SmState, since: number): void {
    this.#expiry?.cancel();
    if (this.#isResting) return;
    this.#expiry = this.#surroundings.wheel.add(this.#remaining(sm, since), () => void this.end(""));
  }

  /** How long it waits for its client from now on, in milliseconds. */
  #remaining(sm: SmState, since: number): number {
    // The calendar may have been set back meanwhile.
    const waited = Math.max(0, this.#surroundings.clock.wallTime() - since);
    return Math.max(0, sm.maxMs - waited);
  }

  /** What the client has not acknowledged is proved to have been read, or takes another way. */
  #settle(isRead: boolean): Promise<void> {
    const unacked = this.#settled === undefined ? (this.#sm?.takeAll() ?? []) : [];
    for (const { ref } of unacked) if (ref !== undefined) this.#surroundings.referred(this, ref, isRead);
    this.#settled ??= isRead || unacked.length === 0 ? Promise.resolve() : this.#surroundings.reroute(unacked);
    return this.#settled;
  }
}
