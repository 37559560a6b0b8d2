// A cache of answers that are costly to get: bounded in number and in time, and one question at a time for each name.
// Not for: knowing what the answers mean.

import type { Clock } from "../util/clock.ts";

interface Kept<Answer> {
  readonly answer: Answer;
  readonly until: number;
}

/** Remembers answers by name. */
export class Lookups<Answer> {
  #clock: Clock;
  #size: number;
  #kept = new Map<string, Kept<Answer>>();
  #asking = new Map<string, Promise<Answer>>();

  /** Keeps at most `size` answers; the one that came first goes first. */
  constructor(clock: Clock, size: number) {
    this.#clock = clock;
    this.#size = size;
  }

  /**
   * Returns the answer for `name`: the kept one, that of a question under way, or that of `ask`, which returns an answer
   * and its time to live. `ttlOf` says how long an answer is kept, from both.
   */
  get(
    name: string,
    ask: () => Promise<[answer: Answer, ttlMs: number]>,
    ttlOf: (answer: Answer, ttlMs: number) => number,
  ): Promise<Answer> {
    const kept = this.#kept.get(name);
    if (kept !== undefined && kept.until > this.#clock.now()) return Promise.resolve(kept.answer);
    const asking = this.#asking.get(name);
    if (asking !== undefined) return asking;
    const question = this.#ask(name, ask, ttlOf);
    this.#asking.set(name, question);
    return question;
  }

  async #ask(
    name: string,
    ask: () => Promise<[answer: Answer, ttlMs: number]>,
    ttlOf: (answer: Answer, ttlMs: number) => number,
  ): Promise<Answer> {
    try {
      const [answer, ttlMs] = await ask();
      this.#keep(name, { answer, until: this.#clock.now() + ttlOf(answer, ttlMs) });
      return answer;
    } finally {
      this.#asking.delete(name);
    }
  }

  #keep(name: string, kept: Kept<Answer>): void {
    // Deleted first, so that it goes to the end of the order.
    this.#kept.delete(name);
    this.#kept.set(name, kept);
    if (this.#kept.size <= this.#size) return;
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest);
      return;
    }
  }
}
