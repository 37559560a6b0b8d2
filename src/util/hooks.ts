// Ordered hooks: named points where several handlers may answer, the first answer wins. Handlers run in the order in
// which they were added, in three groups (`early`, `normal`, `late`); there are no numbers to compare across modules.
// A handler that answers without waiting costs no promise. Not for notifications: see events.ts.

import type { Clock, Timer } from "./clock.ts";

/** When a handler runs among the others of its hook. */
export type HookOrder = "early" | "normal" | "late";

/** A handler: returns an answer, or undefined to let the next one look; either now or as a promise. */
export type HookHandler<Payload, Answer> = (payload: Payload) => Answer | undefined | Promise<Answer | undefined>;

interface Entry {
  readonly handler: HookHandler<never, unknown>;
  readonly order: number;
  readonly rank: number;
  readonly owner: string;
}

/** A run that waits for a handler. */
interface Waiting {
  readonly hook: string;
  readonly owner: string;
  readonly since: number;
  isTold: boolean;
}

const ORDERS: Record<HookOrder, number> = { early: 0, normal: 1, late: 2 };
const NONE: readonly Entry[] = [];
const nothing = (): void => undefined;

/** A handler that is still at work. */
export interface PendingHandler {
  readonly owner: string;
  /** Resolves when the handler has finished, well or badly. */
  readonly settled: Promise<void>;
}

/** Told of a handler that threw or rejected: the hook, the handler's owner and what was thrown. */
export type HookFailed = (hook: string, owner: string, thrown: unknown) => void;

/** Whom to tell of handlers that do not settle. */
export interface SlowHandlers {
  readonly clock: Clock;
  /** How long a handler may take before it is told of. */
  readonly afterMs: number;
  /** Told once of each run of a handler that took so long and goes on. */
  tell(hook: string, owner: string): void;
}

/** A set of hooks by name. A handler that fails is reported and skipped; the next one is asked. */
export class Hooks {
  #entries = new Map<string, readonly Entry[]>();
  #failed: HookFailed;
  #slow: SlowHandlers | undefined;
  #waiting = new Set<Waiting>();
  #look: Timer | undefined;

  /** Those who do not settle are told of only with `slow`; it costs one timer at a time, and only while somebody waits. */
  constructor(failed: HookFailed, slow?: SlowHandlers) {
    this.#failed = failed;
    this.#slow = slow;
  }

  /**
   * Adds a handler for `hook` in the name of `owner`; the returned function removes it, also during a run. Among handlers
   * of one order a lower `rank` comes first; those of the same rank come in the order of adding.
   */
  add<Payload, Answer>(
    hook: string,
    owner: string,
    handler: HookHandler<Payload, Answer>,
    order: HookOrder = "normal",
    rank = 0,
  ): () => void {
    const entry: Entry = { handler: handler as HookHandler<never, unknown>, order: ORDERS[order], rank, owner };
    const before = this.#entries.get(hook) ?? NONE;
    const at = before.findLastIndex((other) => (other.order - entry.order || other.rank - entry.rank) <= 0) + 1;
    // Lists are replaced, never changed: a run that is under way keeps the one it began with.
    this.#entries.set(hook, before.toSpliced(at, 0, entry));
    return () => {
      const left = (this.#entries.get(hook) ?? NONE).filter((other) => other !== entry);
      if (left.length === 0) this.#entries.delete(hook);
      else this.#entries.set(hook, left);
    };
  }

  /** Tells whether `hook` has a handler. */
  has(hook: string): boolean {
    return this.#entries.has(hook);
  }

  /** Returns the number of handlers, of one hook or of all. */
  count(hook?: string): number {
    if (hook !== undefined) return this.#entries.get(hook)?.length ?? 0;
    let sum = 0;
    for (const entries of this.#entries.values()) sum += entries.length;
    return sum;
  }

  /** Returns the handlers that runs of `hook`s wait for at the moment, each as often as it is waited for. */
  waitingFor(): readonly { readonly hook: string; readonly owner: string }[] {
    return Array.from(this.#waiting, ({ hook, owner }) => ({ hook, owner }));
  }

  /** Tells of slow handlers no more, and lets go of the timer for it. */
  close(): void {
    this.#slow = undefined;
    this.#look?.cancel();
    this.#look = undefined;
  }

  /** Asks the handlers of `hook` in order and returns the first answer, or undefined when nobody has one. */
  run<Answer>(hook: string, payload: unknown): Answer | undefined | Promise<Answer | undefined> {
    const entries = this.#entries.get(hook);
    return entries === undefined ? undefined : this.#runFrom(hook, entries, 0, payload);
  }

  /**
   * Calls every handler of `hook`, none waiting for another, and returns those that have not settled yet, each with its
   * owner. Their promises never reject. For points where everybody acts and nobody answers.
   */
  all(hook: string, payload: unknown): readonly PendingHandler[] {
    const pending: PendingHandler[] = [];
    for (const entry of this.#entries.get(hook) ?? NONE) {
      const failed = (thrown: unknown): void => this.#failed(hook, entry.owner, thrown);
      try {
        const answer = entry.handler(payload as never);
        if (answer instanceof Promise) pending.push({ owner: entry.owner, settled: answer.then(nothing, failed) });
      } catch (thrown) {
        failed(thrown);
      }
    }
    return pending;
  }

  #runFrom<Answer>(
    hook: string,
    entries: readonly Entry[],
    start: number,
    payload: unknown,
  ): Answer | undefined | Promise<Answer | undefined> {
    for (let index = start; index < entries.length; index++) {
      const entry = entries[index] as Entry;
      try {
        const answer = entry.handler(payload as never);
        if (answer instanceof Promise) return this.#wait(hook, entries, index, payload, answer);
        if (answer !== undefined) return answer as Answer;
      } catch (thrown) {
        this.#failed(hook, entry.owner, thrown);
      }
    }
    return undefined;
  }

  async #wait<Answer>(
    hook: string,
    entries: readonly Entry[],
    index: number,
    payload: unknown,
    pending: Promise<unknown>,
  ): Promise<Answer | undefined> {
    const { owner } = entries[index] as Entry;
    const waiting: Waiting = { hook, owner, since: this.#slow?.clock.now() ?? 0, isTold: false };
    this.#waiting.add(waiting);
    this.#lookAfter(this.#slow?.afterMs);
    try {
      const answer = await pending;
      if (answer !== undefined) return answer as Answer;
    } catch (thrown) {
      this.#failed(hook, owner, thrown);
    } finally {
      this.#waiting.delete(waiting);
    }
    return await this.#runFrom(hook, entries, index + 1, payload);
  }

  /** Looks for those who do not settle, at most twice in the time that they may take. */
  #lookAfter(ms: number | undefined): void {
    if (ms === undefined || this.#slow === undefined) return;
    this.#look ??= this.#slow.clock.setTimer(ms, () => {
      this.#look = undefined;
      const slow = this.#slow;
      if (slow === undefined) return;
      let isAnyYoung = false;
      for (const waiting of this.#waiting) {
        if (waiting.isTold) continue;
        if (slow.clock.now() - waiting.since < slow.afterMs) isAnyYoung = true;
        else {
          waiting.isTold = true;
          slow.tell(waiting.hook, waiting.owner);
        }
      }
      if (isAnyYoung) this.#lookAfter(slow.afterMs);
    });
  }
}
