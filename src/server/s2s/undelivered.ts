// What becomes of a stanza that its domain has not taken, or has not said that it has: it goes again, waits in the journal,
// goes back to its sender, or is of no use to anybody any more. Not for: when that is so (remote-link.ts).

import type { Fates, Owed } from "./fates.ts";
import type { JournalLane } from "./journal-lane.ts";
import { treatmentOf } from "./journal-treatment.ts";
import { type LinkFailure, temporary } from "./link-dial.ts";
import type { ReturnQueue } from "./return-queue.ts";
import type { SendQueue } from "./send-queue.ts";

/** How many streams and dials may fail a stanza before it comes back; presence is worth more patience. */
const MAX_BROKEN = 2;
const MAX_BROKEN_PRESENCE = 8;

/** How many streams may break while the same stanza of the journal is the first without proof; then it comes back. */
const MAX_BROKEN_FIRST = 5;

/** While going down: how often a stream that breaks is replaced. */
const DRAIN_REDIALS = 5;

/** How a link goes down. */
export interface LinkEnding {
  /** Set while it does: how long the peer may take to answer. */
  answerMs: number | undefined;
  /** How often it has dialled anew meanwhile. */
  redials: number;
  /** Nothing is dialled any more. */
  isRefusing: boolean;
}

export interface UndeliveredOptions {
  readonly fates: Fates;
  readonly queue: SendQueue;
  readonly returning: ReturnQueue;
  readonly lane: JournalLane | undefined;
  /** The link's own, as it is at the time. */
  readonly ending: Readonly<LinkEnding>;
}

/** Decides for one link. */
export class Undelivered {
  #fates: Fates;
  #queue: SendQueue;
  #returning: ReturnQueue;
  #lane: JournalLane | undefined;
  #ending: Readonly<LinkEnding>;

  constructor({ fates, queue, returning, lane, ending }: UndeliveredOptions) {
    this.#fates = fates;
    this.#queue = queue;
    this.#returning = returning;
    this.#lane = lane;
    this.#ending = ending;
  }

  /** Whether the journal takes what this domain does not, now or when we go down. */
  get isKept(): boolean {
    return this.#lane?.mayAdd === true && (this.#isEnding || this.#lane.isForAbsence);
  }

  /**
   * Takes what a broken stream took with it: presence goes again, a sender is told, and the rest is tried once more. A peer
   * that closed first, as for idleness, has not said what it had read. Presence that it had read arrives twice then, and
   * changes nothing the second time; presence that it had not read and that did not go again would leave a ghost. `read`
   * came from the journal and was not written.
   */
  recover(unproved: readonly Owed[], read: readonly Owed[]): void {
    const failure = temporary("the stream broke before the stanza was acknowledged");
    const again: Owed[] = [];
    const kept: Owed[] = [];
    const first = unproved.find(({ settled }) => !settled);
    for (const owed of unproved) {
      if (owed.settled) continue;
      owed.broken++;
      const isPresence = owed.stanza.kind === "presence";
      const isJournalled = owed.entry !== undefined || (this.isKept && treatmentOf(owed.stanza) === "keep");
      if (isJournalled && (!this.#isEnding || !this.#mayRetry(owed))) {
        if (owed === first && this.#isPoison(owed)) void this.#fates.giveBackLate(owed, failure.error);
        else kept.push(owed);
      } else if (!isPresence && !isJournalled && this.#fates.giveBack(owed, failure.error)) continue;
      else if (this.#mayRetry(owed)) again.push(owed);
      else void this.giveUp(owed, failure);
    }
    this.putBack([...kept, ...read], failure);
    if (again.length > 0) this.#queue.putBack(again);
  }

  /** Takes back what was written and not proved, and what was read from the journal for a stream that is gone, in order. */
  putBack(owed: readonly Owed[], failure: LinkFailure): void {
    this.#lane?.putBack(owed);
    for (const each of owed) if (!each.settled) void this.giveUp(each, failure);
  }

  /** It cannot be delivered now: it waits in the journal, or its sender is told, or it is of no use to anybody. */
  giveUp(owed: Owed, failure: LinkFailure): void | Promise<void> {
    if (owed.settled) return undefined;
    if (owed.entry !== undefined && !failure.isFinal) return this.#lane?.putBack([owed]);
    const treatment = treatmentOf(owed.stanza);
    const isKept = this.isKept && !failure.isFinal;
    if (isKept && treatment === "keep") return this.#lane?.add(owed);
    const isLate = this.#isEnding || owed.stanza.type === "unavailable";
    if (isKept && treatment === "state" && isLate) return this.#lane?.add(owed);
    if (this.#lane === undefined) return this.#fates.giveBackOrLose(owed, failure.error);
    if (treatment === "keep") return this.#fates.giveBackLate(owed, failure.error);
    if (this.#fates.giveBack(owed, failure.error)) return undefined;
    if (treatment === "drop") return this.#fates.drop(owed);
    return this.#fates.lose(owed);
  }

  /** The same for what waited, a batch in each turn where senders are to be told. */
  giveUpAll(list: readonly Owed[], failure: LinkFailure): void {
    if (list.length === 0) return;
    // Of several presences the last is what counts.
    this.#queue.putBack(list);
    const back: Owed[] = [];
    for (const owed of this.#queue.takeAll()) {
      // At once: what is sent from now on must not get into the journal before it.
      if (this.isKept && !failure.isFinal) void this.giveUp(owed, failure);
      else back.push(owed);
    }
    this.#returning.add(back, (owed) => void this.giveUp(owed, failure));
  }

  /** Whether a stanza waits through the back-off after `failure`. A contact that misses an unavailable presence is left with a ghost. */
  outlasts({ error }: LinkFailure, owed: Owed): boolean {
    if (this.#ending.isRefusing || this.#isEnding || !isState(owed)) return false;
    return error.condition !== "remote-server-not-found" && owed.broken <= MAX_BROKEN_PRESENCE;
  }

  get #isEnding(): boolean {
    return this.#ending.answerMs !== undefined;
  }

  #mayRetry(owed: Owed): boolean {
    const { isRefusing, redials } = this.#ending;
    if (isRefusing) return false;
    if (this.#isEnding) return redials < DRAIN_REDIALS;
    return owed.broken <= (isState(owed) ? MAX_BROKEN_PRESENCE : MAX_BROKEN);
  }

  /** Whether stream after stream broke on the very same stanza of the journal: others wait behind it. */
  #isPoison({ entry, broken }: Owed): boolean {
    if (this.#ending.isRefusing || this.#isEnding) return false;
    if (entry === undefined) return broken >= MAX_BROKEN_FIRST;
    return ++entry.broken >= MAX_BROKEN_FIRST;
  }
}

/** Presence that says whether somebody is there; the latest is what counts. */
function isState({ stanza }: Owed): boolean {
  return stanza.kind === "presence" && (stanza.type === "available" || stanza.type === "unavailable");
}
