// Stanzas that cannot be delivered now, on their way back to their senders or into the journal: a whole queue can come back
// at once, so the event loop has its turn after each batch.

import type { Clock } from "../../util/clock.ts";
import type { Fates, Owed } from "./fates.ts";

/** Stanzas taken in one go. */
const BATCH = 200;

/** Takes stanzas, in order. */
export class ReturnQueue {
  #clock: Clock;
  #fates: Fates;
  #batches: { readonly owed: readonly Owed[]; next: number; readonly giveUp: (owed: Owed) => void }[] = [];

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

  /** Calls `giveUp` with each of `owed`, after those that came before. */
  add(owed: readonly Owed[], giveUp: (owed: Owed) => void): void {
    if (owed.length === 0) return;
    this.#batches.push({ owed, next: 0, giveUp });
    if (this.#batches.length === 1) this.#returnSome();
  }

  /** Takes what is left at once. */
  hurry(): void {
    for (const { owed, next, giveUp } of this.#batches.splice(0)) for (const each of owed.slice(next)) giveUp(each);
  }

  /** Loses what is left. */
  loseAll(): void {
    for (const { owed, next } of this.#batches.splice(0)) for (const each of owed.slice(next)) this.#fates.lose(each);
  }

  #returnSome(): void {
    const batch = this.#batches[0];
    if (batch === undefined) return;
    const end = Math.min(batch.next + BATCH, batch.owed.length);
    while (batch.next < end) batch.giveUp(batch.owed[batch.next++] as Owed);
    if (batch.next === batch.owed.length) this.#batches.shift();
    if (this.#batches.length > 0) this.#clock.soon(() => this.#returnSome());
  }
}
