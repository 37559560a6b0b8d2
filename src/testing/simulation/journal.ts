// The history of a simulated run: who did or saw what and when, in order. Kept as it is and put into words only when
// somebody wants to read it.

/** One line of history. */
export interface Entry {
  readonly at: number;
  readonly who: string;
  readonly what: string;
}

/** The history. Recording nothing costs nothing. */
export class Journal {
  readonly entries: Entry[] = [];
  readonly isKept: boolean;
  #now: () => number;

  constructor(isKept: boolean, now: () => number) {
    this.isKept = isKept;
    this.#now = now;
  }

  write(who: string, what: string): void {
    if (this.isKept) this.entries.push({ at: this.#now(), who, what });
  }

  /** Returns the history as lines for people. */
  lines(): string[] {
    return this.entries.map(({ at, who, what }) => `${at.toFixed(0).padStart(7)} ms  ${who.padEnd(24)}  ${what}`);
  }
}
