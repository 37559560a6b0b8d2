// Everything on its way from one local host to one remote domain: the queue, the stream if there is one, and when there is to
// be one. It dials on demand and backs off after a failure; what a domain does not take for longer goes to its lane of the
// journal, and comes from there again. What becomes of each stanza when there is no stream is decided in undelivered.ts. Links
// know nothing of each other.

import type { Evidence } from "../../shutdown/types.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import type { StreamError } from "../../stanza/stream-error.ts";
import type { StreamEnd } from "../../stream/contract.ts";
import { asError } from "../../util/errors.ts";
import { BackOff } from "./back-off.ts";
import type { S2sContext } from "./context.ts";
import type { DialGate } from "./dial-gate.ts";
import type { Fates, Owed } from "./fates.ts";
import type { JournalLane } from "./journal-lane.ts";
import { treatmentOf } from "./journal-treatment.ts";
import { LinkDial, type LinkFailure, type ReadyStream, temporary } from "./link-dial.ts";
import { OutgoingStream, type StreamOwner } from "./outgoing-stream.ts";
import type { Pings } from "./pings.ts";
import { ReturnQueue } from "./return-queue.ts";
import { SendQueue } from "./send-queue.ts";
import { type LinkEnding, Undelivered } from "./undelivered.ts";

/** Where a link is. */
export type LinkState = "idle" | "dialling" | "negotiating" | "open" | "closing" | "backing-off";

/** Stanzas written in one go before the event loop gets its turn. */
const BATCH = 200;

/** How many streams in a row may break before anything on them is proved; then the link backs off. */
const MAX_BREAKS = 3;

/** How many stanzas of the journal may lack proof on a stream before more are read from the disk. */
const JOURNAL_WINDOW = 500;

/** How many times the bounds of the queue unavailable presence may use. */
const UNAVAILABLE_ROOM = 10;

/** While going down: the first wait before a stream that breaks is replaced. */
const DRAIN_REDIAL_MS = 250;

export interface RemoteLinkOptions {
  readonly context: S2sContext;
  readonly local: string;
  readonly remote: string;
  readonly fates: Fates;
  readonly pings: Pings;
  readonly gate: DialGate;
  /** What waits in the journal from this host to this domain; without one nothing does. */
  readonly lane?: JournalLane | undefined;
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
  #breaks = 0;
  #lastFailure: LinkFailure = temporary();
  #lane: JournalLane | undefined;
  /** What was read from the journal and not written to the stream yet: it goes before the queue. */
  #fromJournal: Owed[] = [];
  #isReading = false;
  #backOff: BackOff;
  #dialling: LinkDial | undefined;
  #flushing = false;
  #pingsWork = true;
  #ending: LinkEnding = { answerMs: undefined, redials: 0, isRefusing: false };
  #undelivered: Undelivered;

  constructor(options: RemoteLinkOptions) {
    this.local = options.local;
    this.remote = options.remote;
    this.#options = options;
    this.#context = options.context;
    this.#fates = options.fates;
    this.#returning = new ReturnQueue(options.context.clock, options.fates);
    this.#queue = new SendQueue(options.context.config.max_queue, options.context.config.max_queue_size);
    this.#lane = options.lane;
    this.#backOff = new BackOff(options.context);
    this.#undelivered = new Undelivered({
      fates: options.fates,
      queue: this.#queue,
      returning: this.#returning,
      lane: options.lane,
      ending: this.#ending,
    });
    if (this.#lane !== undefined) this.#lane.onReady = () => this.wake();
  }

  /** The configuration has changed. */
  reconfigured(): void {
    const { max_queue: maxCount, max_queue_size: maxSize } = this.#context.config;
    this.#queue.setBounds(maxCount, maxSize);
  }

  get state(): LinkState {
    return this.#dialling?.isNegotiating ? "negotiating" : this.#state;
  }

  /** How many stanzas wait to be written. */
  get queued(): number {
    return this.#queue.length + this.#fromJournal.length;
  }

  /** How many were written and lack proof. */
  get unproved(): number {
    return this.#stream?.wanting ?? 0;
  }

  /** How many have no fate yet. */
  get outstanding(): number {
    return this.queued + this.unproved + this.#returning.length + (this.#lane?.writing ?? 0);
  }

  /** Whether it holds nothing worth keeping, `now`: the memory of failures is kept for a while. */
  isDisposable(now: number): boolean {
    const remembers = this.#backOff.remembers(now);
    return this.#state === "idle" && !remembers && this.outstanding === 0 && (this.#lane?.length ?? 0) === 0;
  }

  /** Takes over a stanza, which will have its fate whatever happens. Resolves when it is on the disk, if it goes there. */
  send(owed: Owed): void | Promise<void> {
    const stream = this.#stream;
    if (this.#lane?.isAhead && this.#undelivered.isKept && treatmentOf(owed.stanza) === "keep") {
      return this.#lane.add(owed);
    }
    const isGivenUp = this.#state === "backing-off" && !this.#undelivered.outlasts(this.#lastFailure, owed);
    if (isGivenUp || (this.#ending.isRefusing && stream === undefined)) {
      return this.#undelivered.giveUp(owed, this.#lastFailure);
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

  /** As `send`, but a stanza that could be lost in a crash is on the disk first. Resolves when it is taken over. */
  sendLogged(owed: Owed): void | Promise<void> {
    const lane = this.#lane;
    if (lane === undefined || lane.isAhead || this.#ending.isRefusing || this.#state === "backing-off") {
      return this.send(owed);
    }
    return lane.log(owed).then(() => this.send(owed));
  }

  /** Something in the journal is ready to be sent. */
  wake(): void {
    if (this.#stream !== undefined) this.#flush();
    else if (this.#state === "idle" && !this.#ending.isRefusing && this.#mayReadJournal) this.#dial();
  }

  /** Dials for what waits at once: ends the back-off, and does not wait for an attempt that may be of no use any more. */
  retry(): void {
    if (this.#state === "backing-off" && !this.#ending.isRefusing) this.#endBackOff();
    else if (this.#dialling !== undefined) this.#dialling.again();
    else this.wake();
  }

  /** Sends white space on its stream, if it has one. */
  keepAlive(): void {
    this.#stream?.keepAlive();
  }

  /** Going down: what waits is dialled for at once, back-off or not, and proof is asked for without delay. */
  hurry(answerMs: number): void {
    this.#ending.answerMs = answerMs;
    if (this.#state === "backing-off" && this.#ending.redials === 0) this.#endBackOff();
    this.#stream?.hurry(answerMs);
  }

  /** No more dialling: what has no stream by now cannot get one. An open stream goes on taking stanzas. */
  stopDialling(): void {
    this.#ending.isRefusing = true;
    this.#dialling?.abort();
    this.#backOff.cancel();
    if (this.#stream === undefined) {
      this.#undelivered.giveUpAll(this.#queue.takeAll(), temporary("the server is shutting down"));
    }
  }

  /** No more time: what has no proof goes to the journal, if it is of the kind. */
  giveUpRest(): void {
    this.stopDialling();
    this.#returning.hurry();
    const left = [...(this.#stream?.abandon() ?? []), ...this.#takeRead()];
    this.#undelivered.putBack(left, temporary("the server is shutting down"));
    this.#undelivered.giveUpAll(this.#queue.takeAll(), temporary("the server is shutting down"));
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
    this.#ending.isRefusing = true;
    this.#ending.answerMs = undefined;
    this.#dialling?.abort();
    this.#backOff.cancel();
    this.#returning.loseAll();
    const left = [...(this.#stream?.abandon() ?? []), ...this.#takeRead(), ...this.#queue.takeAll()];
    // What is on the disk comes again.
    this.#lane?.putBack(left);
    for (const owed of left) this.#fates.lose(owed);
  }

  onProved(owed: Owed, evidence: Evidence): void {
    this.#backOff.forget();
    this.#breaks = 0;
    this.#fates.prove(owed, evidence);
    if (this.#lane?.hasReady) this.#flush();
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
    this.#undelivered.recover(unproved, this.#takeRead());
    const isUseless = this.#breaks >= MAX_BREAKS && this.#ending.answerMs === undefined;
    if (this.#ending.isRefusing || isUseless) this.#failed(temporary("the stream broke"));
    else if (this.#queue.length > 0 || this.#mayReadJournal) this.#redial();
  }

  #takeRead(): Owed[] {
    const read = this.#fromJournal;
    this.#fromJournal = [];
    return read;
  }

  /** Whether the journal has something that is to go out now: what is on the disk can wait when we go down. */
  get #mayReadJournal(): boolean {
    return this.#lane?.hasReady === true && this.#ending.answerMs === undefined && !this.#ending.isRefusing;
  }

  #redial(): void {
    if (this.#ending.answerMs === undefined) return this.#dial();
    const wait = DRAIN_REDIAL_MS * 2 ** this.#ending.redials++;
    if (this.#ending.redials === 1) return this.#dial();
    this.#state = "dialling";
    this.#backOff.wait(() => this.#dial(), wait);
    return undefined;
  }

  #dial(): void {
    this.#state = "dialling";
    const { context, gate } = this.#options;
    const { local, remote } = this;
    const dialling = new LinkDial({ context, gate, local, remote });
    this.#dialling = dialling;
    dialling.done
      .catch((thrown: unknown) => {
        context.log.error({ local, remote, error: asError(thrown).message }, "s2s: dialling failed");
        return temporary();
      })
      .then((result) => {
        this.#dialling = undefined;
        if ("error" in result) this.#failed(result);
        else this.#opened(result);
      })
      .catch((thrown: unknown) => context.log.error({ error: asError(thrown).message }, "s2s: link failed"));
  }

  #opened({ stream, handler, sm }: ReadyStream): void {
    const { context, pings } = this.#options;
    const { local, remote } = this;
    if (this.#ending.isRefusing) {
      void stream.close({ timeoutMs: context.config.close_timeout });
      return this.#failed(temporary("the server is shutting down"));
    }
    this.#state = "open";
    const proof = sm ? "sm" : this.#pingsWork ? "ping" : "recycle";
    const opened = new OutgoingStream({ context, pings, local, remote, stream, proof, owner: this });
    this.#stream = opened;
    handler.target = opened;
    context.log.info({ local, remote, proof }, "s2s: stream opened");
    if (this.#ending.answerMs !== undefined) opened.hurry(this.#ending.answerMs);
    this.#flush();
  }

  /** Writes what waits; after a batch the event loop has its turn first. */
  #flush(batch = BATCH): void {
    if (this.#flushing || this.#isReading) return;
    const stream = this.#stream;
    for (let written = 0; stream?.writable && written < batch; written++) {
      if (this.#fromJournal.length === 0 && this.#mayReadJournal) return this.#readJournal(stream);
      const owed = this.#fromJournal.shift() ?? this.#queue.shift();
      if (owed === undefined) return;
      stream.write(owed);
    }
    if (!stream?.writable || (this.queued === 0 && !this.#mayReadJournal)) return;
    this.#flushing = true;
    this.#context.clock.soon(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  /** Reads what waits in the journal and goes on; when much lacks proof already, not before some of it is proved. */
  #readJournal(stream: OutgoingStream): void {
    const lane = this.#lane;
    if (lane === undefined || stream.unproved >= JOURNAL_WINDOW) return;
    this.#isReading = true;
    void lane.take().then((read) => {
      this.#isReading = false;
      if (this.#stream === undefined || this.#ending.isRefusing) {
        lane.putBack(read);
        this.wake();
        return;
      }
      this.#fromJournal.push(...read);
      this.#flush();
    });
  }

  #failed(failure: LinkFailure): void {
    this.#lastFailure = failure;
    this.#backOff.failed();
    this.#state = "backing-off";
    const kept: Owed[] = [];
    const back: Owed[] = [];
    for (const owed of this.#queue.takeAll()) {
      owed.broken++;
      (this.#undelivered.outlasts(failure, owed) ? kept : back).push(owed);
    }
    this.#undelivered.giveUpAll(back, failure);
    this.#queue.putBack(kept);
    if (failure.isFinal && this.#mayReadJournal) void this.#lane?.returnAll(failure.error);
    if (this.#ending.isRefusing) return;
    if (this.#ending.answerMs !== undefined) {
      this.#ending.redials++;
      return;
    }
    this.#backOff.wait(() => this.#endBackOff());
  }

  #endBackOff(): void {
    this.#backOff.cancel();
    this.#state = "idle";
    if (this.#queue.length > 0 || this.#mayReadJournal) this.#dial();
  }
}
