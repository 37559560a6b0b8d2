// Everything on its way from one local host to one remote domain: the queue, the stream if there is one, and what to do
// when there is none. It dials on demand, backs off after a failure, and knows the fate of what a broken stream took
// with it. Links know nothing of each other.

import type { Evidence } from "../../shutdown/types.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import type { StreamError } from "../../stanza/stream-error.ts";
import type { StreamEnd } from "../../stream/contract.ts";
import { asError } from "../../util/errors.ts";
import type { WheelTimeout } from "../../util/timer-wheel.ts";
import type { S2sContext } from "./context.ts";
import type { DialGate } from "./dial-gate.ts";
import { unreachable } from "./elements.ts";
import type { Fates, Owed } from "./fates.ts";
import { type Negotiated, negotiate } from "./negotiation.ts";
import { OutgoingStream, type StreamOwner } from "./outgoing-stream.ts";
import type { Pings } from "./pings.ts";
import { ReturnQueue } from "./return-queue.ts";
import { SendQueue } from "./send-queue.ts";

/** Where a link is. */
export type LinkState = "idle" | "dialling" | "negotiating" | "open" | "closing" | "backing-off";

/** Stanzas written in one go before the event loop gets its turn. */
const BATCH = 200;

/** Back-off grows up to this multiple of the configured delay. */
const MAX_BACKOFF_FACTOR = 10;

/** How many streams in a row may break before anything on them is proved; then the link backs off. */
const MAX_BREAKS = 3;

/** How many streams and dials may fail a stanza before it comes back; presence is worth more patience. */
const MAX_BROKEN = 2;
const MAX_BROKEN_PRESENCE = 8;

/** How many times the bounds of the queue unavailable presence may use. */
const UNAVAILABLE_ROOM = 10;

/** While going down: how often a stream that breaks is replaced, and the first wait before that. */
const DRAIN_REDIALS = 5;
const DRAIN_REDIAL_MS = 250;

export interface RemoteLinkOptions {
  readonly context: S2sContext;
  readonly local: string;
  readonly remote: string;
  readonly fates: Fates;
  readonly pings: Pings;
  readonly gate: DialGate;
}

/** The way from one local host to one remote domain. */
export class RemoteLink implements StreamOwner {
  readonly local: string;
  readonly remote: string;
  #options: RemoteLinkOptions;
  #context: S2sContext;
  #fates: Fates;
  #queue: SendQueue;
  #returning: ReturnQueue;
  #stream: OutgoingStream | undefined;
  #state: LinkState = "idle";
  #failures = 0;
  #breaks = 0;
  #failedAt = 0;
  #lastError = new StanzaError("remote-server-timeout");
  #backOff: WheelTimeout | undefined;
  #dialling: AbortController | undefined;
  #flushing = false;
  #pingsWork = true;
  /** Set while going down: how long the peer may take to answer. */
  #drainAnswerMs: number | undefined;
  #drainRedials = 0;
  #refusing = false;

  constructor(options: RemoteLinkOptions) {
    this.local = options.local;
    this.remote = options.remote;
    this.#options = options;
    this.#context = options.context;
    this.#fates = options.fates;
    this.#returning = new ReturnQueue(options.context.clock, options.fates);
    this.#queue = new SendQueue(options.context.config.max_queue, options.context.config.max_queue_size);
  }

  get state(): LinkState {
    return this.#state;
  }

  /** How many stanzas wait to be written. */
  get queued(): number {
    return this.#queue.length;
  }

  /** How many were written and lack proof. */
  get unproved(): number {
    return this.#stream?.wanting ?? 0;
  }

  /** How many have no fate yet. */
  get outstanding(): number {
    return this.queued + this.unproved + this.#returning.length;
  }

  /** Whether it holds nothing worth keeping, `now`: the memory of failures is kept for a while. */
  isDisposable(now: number): boolean {
    const remembers =
      this.#failures > 0 && now - this.#failedAt < this.#context.config.retry_delay * MAX_BACKOFF_FACTOR;
    return this.#state === "idle" && !remembers && this.outstanding === 0;
  }

  /** Takes over a stanza, which will have its fate whatever happens. */
  send(owed: Owed): void {
    const stream = this.#stream;
    if ((this.#state === "backing-off" && !this.#outlastsFailure(owed)) || (this.#refusing && stream === undefined)) {
      return this.#fates.giveBackOrLose(owed, this.#lastError);
    }
    // An unavailable presence that is refused leaves a ghost behind, and there is one at most for each resource and
    // contact: it has room of its own.
    const factor = owed.stanza.type === "unavailable" ? UNAVAILABLE_ROOM : 1;
    if (!this.#queue.fits(owed.size, stream?.unproved ?? 0, stream?.unprovedSize ?? 0, factor)) {
      const error = new StanzaError("resource-constraint", "too much is waiting for that server");
      return this.#fates.giveBackOrLose(owed, error);
    }
    if (stream?.writable && this.#queue.length === 0) {
      stream.write(owed);
      return;
    }
    this.#queue.push(owed);
    if (this.#state === "idle") this.#dial();
  }

  /** Going down: what waits is dialled for at once, back-off or not, and proof is asked for without delay. */
  hurry(answerMs: number): void {
    this.#drainAnswerMs = answerMs;
    if (this.#state === "backing-off" && this.#drainRedials === 0) this.#endBackOff();
    this.#stream?.hurry(answerMs);
  }

  /** No more dialling: what has no stream by now cannot get one. An open stream goes on taking stanzas. */
  stopDialling(): void {
    this.#refusing = true;
    this.#dialling?.abort();
    this.#backOff?.cancel();
    if (this.#stream !== undefined) return;
    this.#returning.add(this.#queue.takeAll(), new StanzaError("remote-server-timeout", "the server is shutting down"));
  }

  /** Closes the stream in order; resolves when it is over. Nothing is dialled any more. */
  async close(timeoutMs: number, error?: StreamError): Promise<void> {
    this.stopDialling();
    const stream = this.#stream;
    if (stream === undefined) return;
    this.#flush(Number.POSITIVE_INFINITY);
    await stream.close(timeoutMs, error);
  }

  /** Ends everything now: what has no fate is lost. */
  destroy(): void {
    this.#refusing = true;
    this.#drainAnswerMs = undefined;
    this.#dialling?.abort();
    this.#backOff?.cancel();
    this.#returning.loseAll();
    for (const owed of this.#queue.takeAll()) this.#fates.lose(owed);
    for (const owed of this.#stream?.abandon() ?? []) this.#fates.lose(owed);
  }

  onProved(owed: Owed, evidence: Evidence): void {
    this.#failures = 0;
    this.#breaks = 0;
    this.#fates.prove(owed, evidence);
  }

  onRoom(): void {
    this.#flush();
  }

  onClosing(): void {
    this.#state = "closing";
  }

  onPingsUnanswered(): void {
    this.#pingsWork = false;
  }

  onGone(unproved: readonly Owed[], end: StreamEnd): void {
    this.#stream = undefined;
    this.#state = "idle";
    const { local, remote } = this;
    if (unproved.length > 0 || end.error !== undefined) {
      this.#context.log.info(
        { local, remote, unproved: unproved.length, fault: end.fault?.condition, error: end.error?.message },
        "s2s: stream broke",
      );
    }
    if (unproved.some(({ settled }) => !settled)) this.#breaks++;
    this.#recover(unproved);
    const isUseless = this.#breaks >= MAX_BREAKS && this.#drainAnswerMs === undefined;
    if (this.#refusing || isUseless) this.#failed(new StanzaError("remote-server-timeout", "the stream broke"));
    else if (this.#queue.length > 0) this.#redial();
  }

  /**
   * What a broken stream took with it: presence goes again, a sender is told, and the rest is tried once more. A peer
   * that closed first, as for idleness, has not said what it had read. Presence that it had read arrives twice then, and
   * changes nothing the second time; presence that it had not read and that did not go again would leave a ghost.
   */
  #recover(unproved: readonly Owed[]): void {
    const error = new StanzaError("remote-server-timeout", "the stream broke before the stanza was acknowledged");
    const again: Owed[] = [];
    for (const owed of unproved) {
      if (owed.settled) continue;
      owed.broken++;
      const isPresence = owed.stanza.kind === "presence";
      if (!isPresence && this.#fates.giveBack(owed, error)) continue;
      if (this.#mayRetry(owed)) again.push(owed);
      else this.#fates.giveBackOrLose(owed, error);
    }
    if (again.length > 0) this.#queue.putBack(again);
  }

  #mayRetry(owed: Owed): boolean {
    if (this.#refusing) return false;
    if (this.#drainAnswerMs !== undefined) return this.#drainRedials < DRAIN_REDIALS;
    return owed.broken <= (isState(owed) ? MAX_BROKEN_PRESENCE : MAX_BROKEN);
  }

  /** Whether a stanza waits through a back-off. A contact that misses an unavailable presence is left with a ghost. */
  #outlastsFailure(owed: Owed): boolean {
    if (this.#refusing || this.#drainAnswerMs !== undefined || !isState(owed)) return false;
    return this.#lastError.condition !== "remote-server-not-found" && owed.broken <= MAX_BROKEN_PRESENCE;
  }

  #redial(): void {
    if (this.#drainAnswerMs === undefined) return this.#dial();
    const wait = DRAIN_REDIAL_MS * 2 ** this.#drainRedials++;
    if (this.#drainRedials === 1) return this.#dial();
    this.#state = "dialling";
    this.#backOff = this.#context.wheel.add(this.#jittered(wait), () => this.#dial());
    return undefined;
  }

  #dial(): void {
    this.#state = "dialling";
    const dialling = new AbortController();
    this.#dialling = dialling;
    this.#connect(dialling.signal)
      .catch((thrown: unknown) => {
        const { local, remote } = this;
        this.#context.log.error({ local, remote, error: asError(thrown).message }, "s2s: dialling failed");
        return new StanzaError("remote-server-timeout");
      })
      .then((result) => {
        this.#dialling = undefined;
        if (result instanceof StanzaError) this.#failed(result);
        else this.#opened(result);
      })
      .catch((thrown: unknown) => this.#context.log.error({ error: asError(thrown).message }, "s2s: link failed"));
  }

  /** Connects and negotiates; once more without EXTERNAL when that is what the peer broke off at. */
  async #connect(signal: AbortSignal): Promise<Extract<Negotiated, { kind: "ready" }> | StanzaError> {
    const leave = await this.#options.gate.enter(signal);
    if (leave === undefined) return new StanzaError("remote-server-timeout");
    try {
      for (let external = true; ; external = false) {
        this.#state = "dialling";
        const connected = await this.#context.connect(this.remote, this.local, signal);
        if ("failure" in connected) return unreachable(connected.failure, connected.reason);
        this.#state = "negotiating";
        const { context } = this.#options;
        const { local, remote } = this;
        const purpose = { kind: "send", external } as const;
        const result = await negotiate(connected.transport, { context, local, remote, purpose, signal });
        if (result.kind === "ready") return result;
        const error = result.kind === "failed" ? result.error : new StanzaError("remote-server-timeout");
        if (!(result.kind === "failed" && result.withoutExternal && external) || signal.aborted) return error;
      }
    } finally {
      leave();
    }
  }

  #opened({ stream, handler, sm }: Extract<Negotiated, { kind: "ready" }>): void {
    const { context, pings } = this.#options;
    const { local, remote } = this;
    if (this.#refusing) {
      void stream.close({ timeoutMs: context.config.close_timeout });
      return this.#failed(new StanzaError("remote-server-timeout", "the server is shutting down"));
    }
    this.#state = "open";
    const proof = sm ? "sm" : this.#pingsWork ? "ping" : "recycle";
    const opened = new OutgoingStream({ context, pings, local, remote, stream, proof, owner: this });
    this.#stream = opened;
    handler.target = opened;
    context.log.info({ local, remote, proof }, "s2s: stream opened");
    if (this.#drainAnswerMs !== undefined) opened.hurry(this.#drainAnswerMs);
    this.#flush();
  }

  /** Writes what waits; after a batch the event loop has its turn first. */
  #flush(batch = BATCH): void {
    if (this.#flushing) return;
    const stream = this.#stream;
    for (let written = 0; stream?.writable && written < batch; written++) {
      const owed = this.#queue.shift();
      if (owed === undefined) return;
      stream.write(owed);
    }
    if (!stream?.writable || this.#queue.length === 0) return;
    this.#flushing = true;
    this.#context.clock.soon(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #failed(error: StanzaError): void {
    this.#lastError = error;
    this.#failures++;
    this.#failedAt = this.#context.clock.now();
    this.#state = "backing-off";
    const kept: Owed[] = [];
    const back: Owed[] = [];
    for (const owed of this.#queue.takeAll()) {
      owed.broken++;
      (this.#outlastsFailure(owed) ? kept : back).push(owed);
    }
    this.#queue.putBack(kept);
    this.#returning.add(back, error);
    if (this.#refusing) return;
    if (this.#drainAnswerMs !== undefined) {
      this.#drainRedials++;
      return;
    }
    const factor = Math.min(2 ** (this.#failures - 1), MAX_BACKOFF_FACTOR);
    const delay = this.#jittered(this.#context.config.retry_delay * factor);
    this.#backOff = this.#context.wheel.add(delay, () => this.#endBackOff());
  }

  #endBackOff(): void {
    this.#backOff?.cancel();
    this.#backOff = undefined;
    this.#state = "idle";
    if (this.#queue.length > 0) this.#dial();
  }

  /** Between half of `ms` and all of it. */
  #jittered(ms: number): number {
    return ms / 2 + this.#context.random.below(Math.max(1, Math.ceil(ms / 2)));
  }
}

/** Presence that says whether somebody is there; the latest is what counts. */
function isState({ stanza }: Owed): boolean {
  return stanza.kind === "presence" && (stanza.type === "available" || stanza.type === "unavailable");
}
