// Stanzas on their way back to their senders: a whole queue can come back at once, so the event loop has its turn after
// each batch.

import type { StanzaError } from "../../stanza/stanza-error.ts";
import type { Clock } from "../../util/clock.ts";
import type { Fates, Owed } from "./fates.ts";

/** Stanzas returned in one go. */
const BATCH = 200;

/** Gives stanzas back, in order. */
export class ReturnQueue {
  #clock: Clock;
  #fates: Fates;
  #batches: { readonly owed: readonly Owed[]; next: number; readonly error: StanzaError }[] = [];

  constructor(clock: Clock, fates: Fates) {
    this.#clock = clock;
    this.#fates = fates;
  }

  /** How many have not been given back yet. */
  get length(): number {
    let length = 0;
    for (const { owed, next } of this.#batches) length += owed.length - next;
    return length;
  }

  /** Returns `owed` to their senders with `error`; who cannot be told loses his. */
  add(owed: readonly Owed[], error: StanzaError): void {
    if (owed.length === 0) return;
    this.#batches.push({ owed, next: 0, error });
    if (this.#batches.length === 1) this.#returnSome();
  }

  /** Loses what is left. */
  loseAll(): void {
    for (const { owed, next } of this.#batches) for (const each of owed.slice(next)) this.#fates.lose(each);
    this.#batches = [];
  }

  #returnSome(): void {
    const batch = this.#batches[0];
    if (batch === undefined) return;
    const end = Math.min(batch.next + BATCH, batch.owed.length);
    while (batch.next < end) this.#fates.giveBackOrLose(batch.owed[batch.next++] as Owed, batch.error);
    if (batch.next === batch.owed.length) this.#batches.shift();
    if (this.#batches.length > 0) this.#clock.soon(() => this.#returnSome());
  }
}
