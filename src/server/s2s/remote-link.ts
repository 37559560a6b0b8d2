// Everything on its way from one local host to one remote domain: the queue, the stream if there is one, and what to do
// when there is none. It dials on demand, backs off after a failure, and knows the fate of what a broken stream took
// with it; what a domain does not take for longer goes to its lane of the journal, and comes from there again. Links know
// nothing of each other.

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
import type { JournalLane } from "./journal-lane.ts";
import { treatmentOf } from "./journal-treatment.ts";
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

/** How many streams may break while the same stanza of the journal is the first without proof; then it comes back. */
const MAX_BROKEN_FIRST = 5;

/** How many stanzas of the journal may lack proof on a stream before more are read from the disk. */
const JOURNAL_WINDOW = 500;

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
  /** What waits in the journal from this host to this domain; without one nothing does. */
  readonly lane?: JournalLane | undefined;
}

/** Why there is no stream. */
interface LinkFailure {
  readonly error: StanzaError;
  /** Trying again later is of no use: what waits goes back. */
  readonly isFinal: boolean;
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
  #lastFailure: LinkFailure = temporary();
  #lane: JournalLane | undefined;
  /** What was read from the journal and not written to the stream yet: it goes before the queue. */
  #fromJournal: Owed[] = [];
  #isReading = false;
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
    this.#lane = options.lane;
    if (this.#lane !== undefined) this.#lane.onReady = () => this.wake();
  }

  /** The configuration has changed. */
  reconfigured(): void {
    const { max_queue: maxCount, max_queue_size: maxSize } = this.#context.config;
    this.#queue.setBounds(maxCount, maxSize);
  }

  get state(): LinkState {
    return this.#state;
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
    const remembers =
      this.#failures > 0 && now - this.#failedAt < this.#context.config.retry_delay * MAX_BACKOFF_FACTOR;
    return this.#state === "idle" && !remembers && this.outstanding === 0 && (this.#lane?.length ?? 0) === 0;
  }

  /** Takes over a stanza, which will have its fate whatever happens. Resolves when it is on the disk, if it goes there. */
  send(owed: Owed): void | Promise<void> {
    const stream = this.#stream;
    if (this.#lane?.isAhead && this.#keeps && treatmentOf(owed.stanza) === "keep") return this.#lane.add(owed);
    if ((this.#state === "backing-off" && !this.#outlastsFailure(owed)) || (this.#refusing && stream === undefined)) {
      return this.#giveUp(owed, this.#lastFailure);
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
    if (lane === undefined || lane.isAhead || this.#refusing || this.#state === "backing-off") return this.send(owed);
    return lane.log(owed).then(() => this.send(owed));
  }

  /** Something in the journal is ready to be sent. */
  wake(): void {
    if (this.#stream !== undefined) this.#flush();
    else if (this.#state === "idle" && !this.#refusing && this.#mayReadJournal) this.#dial();
  }

  /** Ends the back-off: dials for what waits at once. */
  retry(): void {
    if (this.#state === "backing-off" && !this.#refusing) this.#endBackOff();
    else this.wake();
  }

  /** Sends white space on its stream, if it has one. */
  keepAlive(): void {
    this.#stream?.keepAlive();
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
    if (this.#stream === undefined) this.#giveUpAll(this.#queue.takeAll(), temporary("the server is shutting down"));
  }

  /** No more time: what has no proof goes to the journal, if it is of the kind. */
  giveUpRest(): void {
    this.stopDialling();
    this.#returning.hurry();
    this.#putBack(this.#stream?.abandon() ?? [], temporary("the server is shutting down"));
    this.#giveUpAll(this.#queue.takeAll(), temporary("the server is shutting down"));
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
    const left = [...(this.#stream?.abandon() ?? []), ...this.#takeRead(), ...this.#queue.takeAll()];
    // What is on the disk comes again.
    this.#lane?.putBack(left);
    for (const owed of left) this.#fates.lose(owed);
  }

  onProved(owed: Owed, evidence: Evidence): void {
    this.#failures = 0;
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
    this.#recover(unproved);
    const isUseless = this.#breaks >= MAX_BREAKS && this.#drainAnswerMs === undefined;
    if (this.#refusing || isUseless) this.#failed(temporary("the stream broke"));
    else if (this.#queue.length > 0 || this.#mayReadJournal) this.#redial();
  }

  /**
   * What a broken stream took with it: presence goes again, a sender is told, and the rest is tried once more. A peer
   * that closed first, as for idleness, has not said what it had read. Presence that it had read arrives twice then, and
   * changes nothing the second time; presence that it had not read and that did not go again would leave a ghost.
   */
  #recover(unproved: readonly Owed[]): void {
    const failure = temporary("the stream broke before the stanza was acknowledged");
    const again: Owed[] = [];
    const kept: Owed[] = [];
    const first = unproved.find(({ settled }) => !settled);
    for (const owed of unproved) {
      if (owed.settled) continue;
      owed.broken++;
      const isPresence = owed.stanza.kind === "presence";
      const isJournalled = owed.entry !== undefined || (this.#keeps && treatmentOf(owed.stanza) === "keep");
      if (isJournalled && (this.#drainAnswerMs === undefined || !this.#mayRetry(owed))) {
        if (owed === first && this.#isPoison(owed)) void this.#fates.giveBackLate(owed, failure.error);
        else kept.push(owed);
      } else if (!isPresence && !isJournalled && this.#fates.giveBack(owed, failure.error)) continue;
      else if (this.#mayRetry(owed)) again.push(owed);
      else void this.#giveUp(owed, failure);
    }
    this.#putBack(kept, failure);
    if (again.length > 0) this.#queue.putBack(again);
  }

  /** Whether stream after stream broke on the very same stanza of the journal: others wait behind it. */
  #isPoison({ entry, broken }: Owed): boolean {
    if (this.#refusing || this.#drainAnswerMs !== undefined) return false;
    if (entry === undefined) return broken >= MAX_BROKEN_FIRST;
    return ++entry.broken >= MAX_BROKEN_FIRST;
  }

  /** What was written and not proved, and what was read from the journal for a stream that is gone, in their order. */
  #putBack(written: readonly Owed[], failure: LinkFailure): void {
    const all = [...written, ...this.#takeRead()];
    this.#lane?.putBack(all);
    for (const owed of all) if (!owed.settled) void this.#giveUp(owed, failure);
  }

  #takeRead(): Owed[] {
    const read = this.#fromJournal;
    this.#fromJournal = [];
    return read;
  }

  /** Whether the journal takes what this domain does not, now or when we go down. */
  get #keeps(): boolean {
    return this.#lane?.mayAdd === true && (this.#drainAnswerMs !== undefined || this.#lane.isForAbsence);
  }

  /** Whether the journal has something that is to go out now: what is on the disk can wait when we go down. */
  get #mayReadJournal(): boolean {
    return this.#lane?.hasReady === true && this.#drainAnswerMs === undefined && !this.#refusing;
  }

  /** It cannot be delivered now: it waits in the journal, or its sender is told, or it is of no use to anybody. */
  #giveUp(owed: Owed, failure: LinkFailure): void | Promise<void> {
    if (owed.settled) return undefined;
    if (owed.entry !== undefined && !failure.isFinal) return this.#lane?.putBack([owed]);
    const treatment = treatmentOf(owed.stanza);
    const isKept = this.#keeps && !failure.isFinal;
    if (isKept && treatment === "keep") return this.#lane?.add(owed);
    const isLate = this.#drainAnswerMs !== undefined || owed.stanza.type === "unavailable";
    if (isKept && treatment === "state" && isLate) return this.#lane?.add(owed);
    if (this.#lane === undefined) return this.#fates.giveBackOrLose(owed, failure.error);
    if (treatment === "keep") return this.#fates.giveBackLate(owed, failure.error);
    if (this.#fates.giveBack(owed, failure.error)) return undefined;
    if (treatment === "drop") return this.#fates.drop(owed);
    return this.#fates.lose(owed);
  }

  #giveUpAll(list: readonly Owed[], failure: LinkFailure): void {
    if (list.length === 0) return;
    // Of several presences the last is what counts.
    this.#queue.putBack(list);
    const back: Owed[] = [];
    for (const owed of this.#queue.takeAll()) {
      // At once: what is sent from now on must not get into the journal before it.
      if (this.#keeps && !failure.isFinal) void this.#giveUp(owed, failure);
      else back.push(owed);
    }
    this.#returning.add(back, (owed) => void this.#giveUp(owed, failure));
  }

  #mayRetry(owed: Owed): boolean {
    if (this.#refusing) return false;
    if (this.#drainAnswerMs !== undefined) return this.#drainRedials < DRAIN_REDIALS;
    return owed.broken <= (isState(owed) ? MAX_BROKEN_PRESENCE : MAX_BROKEN);
  }

  /** Whether a stanza waits through a back-off. A contact that misses an unavailable presence is left with a ghost. */
  #outlastsFailure(owed: Owed): boolean {
    if (this.#refusing || this.#drainAnswerMs !== undefined || !isState(owed)) return false;
    return this.#lastFailure.error.condition !== "remote-server-not-found" && owed.broken <= MAX_BROKEN_PRESENCE;
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
        return temporary();
      })
      .then((result) => {
        this.#dialling = undefined;
        if ("error" in result) this.#failed(result);
        else this.#opened(result);
      })
      .catch((thrown: unknown) => this.#context.log.error({ error: asError(thrown).message }, "s2s: link failed"));
  }

  /** Connects and negotiates; once more without EXTERNAL when that is what the peer broke off at. */
  async #connect(signal: AbortSignal): Promise<Extract<Negotiated, { kind: "ready" }> | LinkFailure> {
    const leave = await this.#options.gate.enter(signal);
    if (leave === undefined) return temporary();
    try {
      for (let external = true; ; external = false) {
        this.#state = "dialling";
        const connected = await this.#context.connect(this.remote, this.local, signal);
        if ("failure" in connected) {
          const { failure, reason } = connected;
          return { error: unreachable(failure, reason), isFinal: failure === "not-found" };
        }
        this.#state = "negotiating";
        const { context } = this.#options;
        const { local, remote } = this;
        const purpose = { kind: "send", external } as const;
        const result = await negotiate(connected.transport, { context, local, remote, purpose, signal });
        if (result.kind === "ready") return result;
        if (result.kind !== "failed") return temporary();
        if (!(result.withoutExternal && external) || signal.aborted) {
          return { error: result.error, isFinal: result.isRefusal };
        }
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
      return this.#failed(temporary("the server is shutting down"));
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
      if (this.#stream === undefined || this.#refusing) {
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
    this.#failures++;
    this.#failedAt = this.#context.clock.now();
    this.#state = "backing-off";
    const kept: Owed[] = [];
    const back: Owed[] = [];
    for (const owed of this.#queue.takeAll()) {
      owed.broken++;
      (this.#outlastsFailure(owed) ? kept : back).push(owed);
    }
    this.#giveUpAll(back, failure);
    this.#queue.putBack(kept);
    if (failure.isFinal && this.#mayReadJournal) void this.#lane?.returnAll(failure.error);
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
    if (this.#queue.length > 0 || this.#mayReadJournal) this.#dial();
  }

  /** Between half of `ms` and all of it. */
  #jittered(ms: number): number {
    return ms / 2 + this.#context.random.below(Math.max(1, Math.ceil(ms / 2)));
  }
}

/** A failure after which it is worth trying again. */
function temporary(text?: string): LinkFailure {
  return { error: new StanzaError("remote-server-timeout", text), isFinal: false };
}

/** Presence that says whether somebody is there; the latest is what counts. */
function isState({ stanza }: Owed): boolean {
  return stanza.kind === "presence" && (stanza.type === "available" || stanza.type === "unavailable");
}
