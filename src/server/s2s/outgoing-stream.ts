// An authenticated stream to another domain: writes stanzas and finds out that they arrived, by XEP-0198 where the peer
// offers it, by pings where it does not, by the closing handshake at the end. It decides nothing about what was not
// proved: that goes back to the link that owns it.

import type { Evidence } from "../../shutdown/types.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import { AckWindow, parseH } from "../../stream/acks.ts";
import type { StreamEnd, StreamHandler, XmlStream } from "../../stream/contract.ts";
import type { WheelTimeout } from "../../util/timer-wheel.ts";
import type { Element } from "../../xml/element.ts";
import type { S2sContext } from "./context.ts";
import { kindOf, ping, SM_ENABLE, SM_REQUEST, smAnswer } from "./elements.ts";
import type { Owed } from "./fates.ts";
import type { Pings } from "./pings.ts";

/** How a stream learns what has arrived. `recycle`: by closing, for a peer whose answers to pings do not reach us. */
export type Proof = "sm" | "ping" | "recycle";

/** Proof is asked for when so many stanzas lack it, or when nothing has been asked for so long. */
const ASK_AFTER: Record<Proof, { readonly count: number; readonly ms: number }> = {
  sm: { count: 100, ms: 2_000 },
  ping: { count: 100, ms: 2_000 },
  recycle: { count: 1_000, ms: 30_000 },
};

/** While going down: asked again after so long when an answer covered nothing new. */
const ASK_AGAIN_MS = 250;

/** Who owns the stream. */
export interface StreamOwner {
  /** The peer has handled it. */
  onProved(owed: Owed, evidence: Evidence): void;
  /** There is room to write again. */
  onRoom(): void;
  /** The stream takes nothing more; `onGone` follows. */
  onClosing(): void;
  /** A ping had no answer although the peer was still there. */
  onPingsUnanswered(): void;
  /** The stream is over; `unproved` was written to it, in this order. */
  onGone(unproved: readonly Owed[], end: StreamEnd): void;
}

export interface OutgoingStreamOptions {
  readonly context: S2sContext;
  readonly pings: Pings;
  readonly local: string;
  readonly remote: string;
  readonly stream: XmlStream;
  readonly proof: Proof;
  readonly owner: StreamOwner;
}

/** An open stream to another domain. */
export class OutgoingStream implements StreamHandler {
  #options: OutgoingStreamOptions;
  #context: S2sContext;
  #stream: XmlStream;
  #owner: StreamOwner;
  #proof: Proof;
  /** Between `<enable/>` and its answer: nothing may be asked yet. */
  #enabling: boolean;
  #window = new AckWindow<Owed>();
  #unprovedSize = 0;
  /** How many in the window are still owed; the others, such as answers to pings, are worth no question of their own. */
  #wanting = 0;
  #blocked = false;
  /** The peer asked what we have handled while it did not read; one answer will do for all such questions. */
  #owesAnswer = false;
  /** How much the question under way covers; undefined when none is. */
  #asked: number | undefined;
  #pingId: string | undefined;
  #answerTimer: WheelTimeout | undefined;
  #quietTimer: WheelTimeout | undefined;
  #idleTimer: WheelTimeout;
  #lastUsed: number;
  /** How long an answer may take while going down; undefined while running. */
  #urgentMs: number | undefined;
  #askSoon = false;
  #closing: "no" | "by-us" | "by-peer" | "over" = "no";
  #ownFault: StreamError | undefined;

  constructor(options: OutgoingStreamOptions) {
    this.#options = options;
    this.#context = options.context;
    this.#stream = options.stream;
    this.#owner = options.owner;
    this.#proof = options.proof;
    this.#enabling = options.proof === "sm";
    this.#lastUsed = this.#context.clock.now();
    this.#idleTimer = this.#context.wheel.add(this.#context.config.idle_timeout, () => this.#onIdle());
    if (this.#enabling) this.#stream.send(SM_ENABLE);
  }

  /** Whether `write` may be called now. */
  get writable(): boolean {
    return this.#closing === "no" && !this.#blocked;
  }

  /** How many stanzas that are owed lack proof. */
  get wanting(): number {
    return this.#wanting;
  }

  /** How many stanzas lack proof in all, and their size. */
  get unproved(): number {
    return this.#window.pending;
  }

  get unprovedSize(): number {
    return this.#unprovedSize;
  }

  /** Sends white space, so that the connection is not idle. */
  keepAlive(): void {
    if (this.writable) this.#stream.send(" ");
  }

  /** Writes a stanza. */
  write(owed: Owed): void {
    owed.written = true;
    this.#window.add(owed);
    this.#unprovedSize += owed.size;
    this.#lastUsed = this.#context.clock.now();
    if (!this.#stream.send(owed.stanza.text)) this.#blocked = true;
    if (!owed.settled) this.#wanting++;
    if (this.#asked !== undefined) return;
    if (this.#window.pending >= ASK_AFTER[this.#proof].count) this.#askAtEndOfTurn();
    else if (owed.settled) return;
    else if (this.#urgentMs !== undefined) this.#askAtEndOfTurn();
    else this.#askWhenQuiet();
  }

  /** From now on proof is asked for at once, and the stream is closed for it when the answer takes longer than `answerMs`. */
  hurry(answerMs: number): void {
    this.#urgentMs = answerMs;
    if (this.#asked !== undefined) this.#awaitAnswer();
    if (this.#wanting > 0) this.#askAtEndOfTurn();
  }

  /** Closes in order; what the peer's closing tag proves is proved. Resolves when the stream is over. */
  async close(timeoutMs: number, error?: StreamError): Promise<void> {
    if (this.#closing === "no") {
      this.#closing = "by-us";
      this.#ownFault = error;
      this.#owner.onClosing();
    }
    await this.#stream.close(error === undefined ? { timeoutMs } : { error, timeoutMs });
  }

  /** Tears the stream down and returns what lacks proof. */
  abandon(): Owed[] {
    const left = this.#window.takeAll();
    this.#wanting = 0;
    this.#stream.destroy();
    return left;
  }

  onHeader(): void {
    return undefined;
  }

  onElement(element: Element): void {
    if (kindOf(element) !== "sm") return;
    switch (element.getName()) {
      case "a":
        return this.#onAck(element);
      case "enabled":
        return this.#onEnabled();
      case "failed":
        if (this.#enabling) this.#proof = "ping";
        return this.#onEnabled();
      case "r":
        return this.#answer();
    }
  }

  onPeerClosing(): void {
    if (this.#closing !== "no") return;
    this.#closing = "by-peer";
    this.#owner.onClosing();
  }

  onDrain(): void {
    this.#blocked = false;
    if (this.#owesAnswer) this.#answer();
    if (this.#closing === "no") this.#owner.onRoom();
  }

  onClosed(end: StreamEnd): void {
    const closedByUs = this.#closing === "by-us";
    this.#closing = "over";
    this.#answered();
    this.#quietTimer?.cancel();
    this.#idleTimer.cancel();
    // RFC 6120 §4.4: a peer answers our closing tag after it has read what came before. A peer that closed first, or
    // that reports an error, has not said that.
    const peersFault = end.fault !== undefined && end.fault !== this.#ownFault;
    if (closedByUs && end.peerClosed && !peersFault) {
      this.#window.proveUpTo(this.#window.sent, (owed) => this.#proved(owed, "closed"));
    }
    this.#wanting = 0;
    this.#owner.onGone(this.#window.takeAll(), end);
  }

  /** The peer sends no stanzas on this stream, so there is nothing that could have been handled. */
  #answer(): void {
    this.#owesAnswer = this.#blocked;
    if (!this.#blocked && !this.#stream.send(smAnswer(0))) this.#blocked = true;
  }

  #onAck(element: Element): void {
    // Where no acknowledgements were agreed on, it is no proof and does no harm.
    if (this.#proof !== "sm") return;
    const before = this.#window.proved;
    const h = parseH(element.attrs.h);
    if (h === undefined || !this.#window.acknowledge(h, (owed) => this.#proved(owed, "sm-ack"))) {
      const error =
        h === undefined
          ? new StreamError("invalid-xml", "an acknowledgement without its number")
          : StreamError.handledCountTooHigh(h, this.#window.sent);
      // Whatever the peer counts, its closing tag proves nothing any more.
      this.#closing = "by-peer";
      this.#owner.onClosing();
      void this.#stream.close({ error, timeoutMs: this.#context.config.close_timeout });
      return;
    }
    this.#afterAnswer(this.#window.proved > before);
  }

  #onEnabled(): void {
    if (!this.#enabling) return;
    this.#enabling = false;
    if (this.#asked === undefined) return;
    this.#answered();
    this.#ask();
  }

  #onPong(covers: number): void {
    this.#pingId = undefined;
    const before = this.#window.proved;
    this.#window.proveUpTo(covers, (owed) => this.#proved(owed, "pong"));
    this.#afterAnswer(this.#window.proved > before);
  }

  #afterAnswer(progress: boolean): void {
    this.#answered();
    if (this.#wanting === 0 || this.#closing !== "no") return;
    if (this.#urgentMs === undefined) this.#askWhenQuiet();
    else if (progress) this.#askAtEndOfTurn();
    else this.#askLater(ASK_AGAIN_MS);
  }

  #proved(owed: Owed, evidence: Evidence): void {
    this.#unprovedSize -= owed.size;
    if (!owed.settled) this.#wanting--;
    this.#owner.onProved(owed, evidence);
  }

  #askAtEndOfTurn(): void {
    if (this.#askSoon) return;
    this.#askSoon = true;
    this.#context.clock.soon(() => {
      this.#askSoon = false;
      this.#ask();
    });
  }

  #askWhenQuiet(): void {
    if (this.#quietTimer === undefined) this.#askLater(ASK_AFTER[this.#proof].ms);
  }

  #askLater(ms: number): void {
    this.#quietTimer?.cancel();
    this.#quietTimer = this.#context.steadyWheel.add(ms, () => {
      this.#quietTimer = undefined;
      this.#ask();
    });
  }

  #ask(): void {
    if (this.#asked !== undefined || this.#window.pending === 0 || this.#closing !== "no") return;
    if (this.#proof === "recycle") {
      void this.close(this.#context.config.close_timeout);
      return;
    }
    this.#asked = this.#window.sent;
    this.#awaitAnswer();
    if (this.#enabling) return;
    if (this.#proof === "sm") {
      this.#stream.send(SM_REQUEST);
      return;
    }
    const { pings, local, remote } = this.#options;
    const covers = this.#window.sent;
    this.#pingId = pings.open(local, remote, () => this.#onPong(covers));
    this.#stream.send(ping(local, remote, this.#pingId));
  }

  #awaitAnswer(): void {
    this.#answerTimer?.cancel();
    const ms = Math.min(this.#context.config.ack_timeout, this.#urgentMs ?? Number.POSITIVE_INFINITY);
    this.#answerTimer = this.#context.wheel.add(ms, () => this.#onNoAnswer());
  }

  #answered(): void {
    this.#asked = undefined;
    this.#answerTimer?.cancel();
    this.#answerTimer = undefined;
    if (this.#pingId !== undefined) this.#options.pings.forget(this.#pingId);
    this.#pingId = undefined;
  }

  /** The last rung: a peer that does not answer questions may still answer our closing tag. */
  #onNoAnswer(): void {
    this.#answerTimer = undefined;
    if (this.#proof === "ping") this.#owner.onPingsUnanswered();
    void this.close(this.#context.config.close_timeout);
  }

  #onIdle(): void {
    const { clock, config } = this.#context;
    const left = this.#lastUsed + config.idle_timeout - clock.now();
    if (left > 0 || this.#wanting > 0) this.#idleTimer.restart(Math.max(left, ASK_AFTER.ping.ms));
    else void this.close(config.close_timeout);
  }
}
