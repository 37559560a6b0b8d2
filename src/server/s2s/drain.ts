// How federation ends: first every stanza gets onto an authenticated stream and is proved, with the listener open because
// cold links are dialled back and answers to pings come in on inbound streams; then the listener and the inbound streams
// close; the outbound streams last, so that what inbound stanzas still caused can go out; what has no proof then goes to the
// journal. Waits for conditions, each bounded by the phase's time; domains do not wait for one another.

import type { Config } from "../../config/schema.ts";
import type { PhaseContext } from "../../shutdown/types.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import type { Clock, Timer } from "../../util/clock.ts";
import type { Fates } from "./fates.ts";
import type { FinishLimits, IncomingStream } from "./incoming-stream.ts";
import type { Journal } from "./journal.ts";
import type { RemoteLink } from "./remote-link.ts";

/** The part of the time that is kept for closing streams. */
const CLOSING_SHARE = 0.25;

/** The part of the time after which a peer that answers no question is asked by a closing tag instead. */
const ANSWER_SHARE = 0.4;

/** The time that is kept for writing down what has no proof: so much, and so much for each stanza, but no more than that part. */
const JOURNAL_MS = 200;
const JOURNAL_MS_EACH = 0.4;
const JOURNAL_SHARE = 0.2;

const PROGRESS_MS = 250;
const BLOCKERS_NAMED = 5;

export interface DrainOptions {
  readonly phase: PhaseContext;
  readonly clock: Clock;
  readonly config: Config["s2s"];
  readonly fates: Fates;
  readonly links: Iterable<RemoteLink>;
  readonly incoming: Iterable<IncomingStream>;
  readonly journal: Journal | undefined;
  /** Takes in the accept backlog and closes the listening sockets. */
  readonly closeListeners: () => Promise<void>;
}

/** One run of the drain. */
export class Drain {
  #options: DrainOptions;
  #answerMs: number;
  #step: "evidence" | "closing-inbound" | "closing-outbound" | "journal" | "over" = "evidence";
  #nothingOwed: (() => void) | undefined;
  #takenBefore: number;
  #progress: Timer | undefined;
  /** The most that writing what has no proof may have. */
  #maxJournalMs: number;
  #outOfTime: () => void = () => undefined;
  #isOutOfTime = false;

  constructor(options: DrainOptions) {
    this.#options = options;
    const { phase, journal } = options;
    this.#maxJournalMs = journal?.isOpen === true ? phase.remaining() * JOURNAL_SHARE : 0;
    this.#answerMs = this.#remaining() * (1 - CLOSING_SHARE) * ANSWER_SHARE;
    this.#takenBefore = options.fates.taken - options.fates.outstanding;
  }

  /** True once no new link can come into being. */
  get isFinal(): boolean {
    return this.#step !== "evidence";
  }

  /** Runs to the end. Never rejects for what peers do. */
  async run(): Promise<void> {
    const { phase, links, clock, closeListeners } = this.#options;
    const outOfTime = new Promise<void>((resolve) => {
      this.#outOfTime = () => {
        this.#isOutOfTime = true;
        resolve();
      };
    });
    if (phase.signal.aborted) this.#outOfTime();
    phase.signal.addEventListener("abort", this.#outOfTime);
    const limit = clock.setTimer(this.#remaining(), this.#outOfTime);
    this.#tellProgress();
    try {
      for (const link of links) this.hurry(link);
      for (const stream of this.#options.incoming) stream.hurry();
      await Promise.race([this.#untilNothingOwed(), outOfTime]);
      if (this.#isOutOfTime) return;
      this.#step = "closing-inbound";
      for (const link of links) link.stopDialling();
      await Promise.race([this.#closeInbound(closeListeners), outOfTime]);
      if (this.#isOutOfTime) return;
      this.#step = "closing-outbound";
      await Promise.race([this.#closeOutbound(), outOfTime]);
    } finally {
      limit.cancel();
      this.#step = "journal";
      await this.#writeRest();
      phase.signal.removeEventListener("abort", this.#outOfTime);
      this.#step = "over";
      this.#progress?.cancel();
      this.#report();
    }
  }

  /** A link that takes part: one that was there, or one that came into being meanwhile. */
  hurry(link: RemoteLink): void {
    link.hurry(this.#answerMs);
  }

  /** A connection that was accepted while inbound streams are being closed goes the same way. */
  onAccepted(stream: IncomingStream): void {
    stream.hurry();
    if (this.#step === "evidence") return;
    void stream.finish(this.#inboundLimits(), this.#shutdownError());
  }

  /** Told whenever a stanza has its fate. */
  check(): void {
    if (this.#options.fates.outstanding === 0) this.#nothingOwed?.();
  }

  /** Resolves when nothing is owed, or when only the time kept for closing is left. */
  async #untilNothingOwed(): Promise<void> {
    const { clock, fates } = this.#options;
    const limit = new AbortController();
    this.#nothingOwed = () => limit.abort();
    if (fates.outstanding === 0) return;
    await clock.sleep(this.#remaining() - this.#timeForClosing(), limit.signal);
    this.#nothingOwed = undefined;
  }

  async #closeInbound(closeListeners: () => Promise<void>): Promise<void> {
    await closeListeners();
    const error = this.#shutdownError();
    await Promise.all(Array.from(this.#options.incoming, (stream) => stream.finish(this.#inboundLimits(), error)));
  }

  async #closeOutbound(): Promise<void> {
    const error = this.#shutdownError();
    const links = [...this.#options.links];
    await Promise.all(links.map((link) => link.close(this.#closeTimeout(), error)));
  }

  /** What has no proof is written down; resolves when that is on the disk, or the phase is over. */
  async #writeRest(): Promise<void> {
    const { links, journal, phase } = this.#options;
    if (journal?.isOpen !== true) return;
    for (const link of links) link.giveUpRest();
    let isOver = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      isOver = resolve;
    });
    if (phase.signal.aborted) return;
    phase.signal.addEventListener("abort", isOver);
    await Promise.race([journal.settled(), over]);
    phase.signal.removeEventListener("abort", isOver);
  }

  /** The time that is left, but for what writing needs. */
  #remaining(): number {
    const { phase, fates } = this.#options;
    const forJournal = Math.min(JOURNAL_MS + fates.outstanding * JOURNAL_MS_EACH, this.#maxJournalMs);
    return Math.max(0, phase.remaining() - forJournal);
  }

  #timeForClosing(): number {
    return Math.min(2 * this.#options.config.close_timeout, this.#remaining() * CLOSING_SHARE);
  }

  /** A peer that is still being read may use what the outbound streams do not need for their end. */
  #inboundLimits(): FinishLimits {
    const quietMs = this.#closeTimeout();
    return { quietMs, longestMs: this.#remaining() - quietMs };
  }

  /** Each of the two closing steps has half of what is left, so that a mute peer in the first leaves time for the second. */
  #closeTimeout(): number {
    const share = this.#step === "closing-outbound" ? 0.8 : 0.5;
    return Math.min(this.#options.config.close_timeout, this.#remaining() * share);
  }

  #shutdownError(): StreamError {
    const { reason } = this.#options.phase;
    return reason === "" ? new StreamError("system-shutdown") : new StreamError("system-shutdown", reason);
  }

  #tellProgress(): void {
    this.#report();
    // The deadline can have moved nearer.
    if (this.#step !== "journal" && this.#remaining() === 0) this.#outOfTime();
    this.#progress = this.#options.clock.setTimer(PROGRESS_MS, () => this.#tellProgress());
  }

  #report(): void {
    const { fates, links, phase } = this.#options;
    const total = fates.taken - this.#takenBefore;
    const slow = [...links].filter((link) => link.outstanding > 0);
    slow.sort((one, other) => other.outstanding - one.outstanding);
    const blockers = slow.slice(0, BLOCKERS_NAMED).map((link) => `${link.remote}: ${link.outstanding} (${link.state})`);
    if (blockers.length === 0 && this.#step === "closing-inbound") {
      for (const stream of this.#options.incoming) {
        if (blockers.length < BLOCKERS_NAMED) blockers.push(`from ${stream.domains.join(", ") || "an unknown server"}`);
      }
    }
    phase.progress({ done: total - fates.outstanding, total, blockers });
  }
}
