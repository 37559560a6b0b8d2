// Which of the messages that wait have been handed to a session and not been acknowledged: they are still in the store, and
// nobody else is to get them. Only numbers; what they say is in the store.

import type { Session } from "../../src/module.ts";

/**
 * The session that has it; `elsewhere`: one of another process; `gone`: its client has it, and it is to be deleted;
 * `deleted`: it has been, but somebody may have an older list of messages in hand.
 */
export type Holder = Session | "elsewhere" | "gone" | "deleted";

/** Who has which message, by account and number. */
export class MessagesOut {
  #accounts = new Map<string, Map<number, Holder>>();

  has(name: string, number: number): boolean {
    return this.#accounts.get(name)?.has(number) === true;
  }

  add(name: string, number: number, holder: Holder): void {
    let numbers = this.#accounts.get(name);
    if (numbers === undefined) {
      numbers = new Map();
      this.#accounts.set(name, numbers);
    }
    numbers.set(number, holder);
  }

  /** Anybody may have it; with `holder` only if that one had it. */
  delete(name: string, number: number, holder?: Holder): void {
    const numbers = this.#accounts.get(name);
    if (numbers === undefined || (holder !== undefined && numbers.get(number) !== holder)) return;
    numbers.delete(number);
    if (numbers.size === 0) this.#accounts.delete(name);
  }

  /** Nobody has an older list in hand any more. */
  clean(name: string): void {
    for (const [number, holder] of this.#accounts.get(name) ?? []) {
      if (holder === "deleted") this.delete(name, number);
    }
  }

  forget(name: string): void {
    this.#accounts.delete(name);
  }

  /** Everything that is out. */
  list(): (readonly [name: string, number: number, holder: Holder])[] {
    return Array.from(this.#accounts).flatMap(([name, numbers]) =>
      Array.from(numbers, ([number, holder]) => [name, number, holder] as const),
    );
  }

  /** What was elsewhere is nobody's any more; returns whose messages that were. */
  bringBack(): ReadonlySet<string> {
    const names = new Set<string>();
    for (const [name, number, holder] of this.list()) {
      if (holder !== "elsewhere") continue;
      this.delete(name, number);
      names.add(name);
    }
    return names;
  }
}
