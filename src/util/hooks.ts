// Ordered hooks: named points where several handlers may answer, the first answer wins. Handlers run in the order in
// which they were added, in three groups (`early`, `normal`, `late`); there are no numbers to compare across modules.
// A handler that answers without waiting costs no promise. Not for notifications: see events.ts.

/** When a handler runs among the others of its hook. */
export type HookOrder = "early" | "normal" | "late";

/** A handler: returns an answer, or undefined to let the next one look; either now or as a promise. */
export type HookHandler<Payload, Answer> = (payload: Payload) => Answer | undefined | Promise<Answer | undefined>;

interface Entry {
  readonly handler: HookHandler<never, unknown>;
  readonly order: number;
  readonly owner: string;
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

/** A set of hooks by name. A handler that fails is reported and skipped; the next one is asked. */
export class Hooks {
  #entries = new Map<string, readonly Entry[]>();
  #failed: HookFailed;

  constructor(failed: HookFailed) {
    this.#failed = failed;
  }

  /** Adds a handler for `hook` in the name of `owner`; the returned function removes it, also during a run. */
  add<Payload, Answer>(
    hook: string,
    owner: string,
    handler: HookHandler<Payload, Answer>,
    order: HookOrder = "normal",
  ): () => void {
    const entry: Entry = { handler: handler as HookHandler<never, unknown>, order: ORDERS[order], owner };
    const before = this.#entries.get(hook) ?? NONE;
    const at = before.findLastIndex((other) => other.order <= entry.order) + 1;
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
    try {
      const answer = await pending;
      if (answer !== undefined) return answer as Answer;
    } catch (thrown) {
      this.#failed(hook, (entries[index] as Entry).owner, thrown);
    }
    return await this.#runFrom(hook, entries, index + 1, payload);
  }
}
