// A set of named holds: whoever is not done holds a lease. A set and not a counter, because a counter cannot say who is
// late, and goes wrong for good when somebody releases twice.

import { MorendoError } from "../util/errors.ts";
import type { Lease } from "./types.ts";

/** The names that go into the report, which must stay readable and fit on the disk. */
const MAX_NAMED = 1_000;

/** Leases that were taken and not yet released. Two leases may bear the same name; they are still two. */
export class Leases {
  #held = new Set<Lease>();
  #changed: () => void;
  #isClosed = false;

  /** `changed` is called after each release, while the set is open. */
  constructor(changed: () => void = () => undefined) {
    this.#changed = changed;
  }

  /** How many leases are held. */
  get size(): number {
    return this.#held.size;
  }

  /** Takes a lease. Throws `MORENDO_PHASE_OVER` when the set is closed. */
  take(name: string): Lease {
    if (this.#isClosed) throw new MorendoError("MORENDO_PHASE_OVER", `lease "${name}" refused: its phase has ended`);
    const lease: Lease = {
      name,
      release: () => {
        if (this.#held.delete(lease) && !this.#isClosed) this.#changed();
      },
    };
    this.#held.add(lease);
    return lease;
  }

  /** Returns the names of the leases still held, oldest first, at most `limit` of them. */
  holders(limit = Number.POSITIVE_INFINITY): string[] {
    const names: string[] = [];
    for (const lease of this.#held) {
      if (names.length >= limit) break;
      names.push(lease.name);
    }
    return names;
  }

  /** Refuses new leases from now on, and returns the names of those that were still held; of very many, the oldest. */
  close(): string[] {
    this.#isClosed = true;
    const more = this.#held.size - MAX_NAMED;
    return more > 0 ? [...this.holders(MAX_NAMED), `and ${more} more`] : this.holders();
  }
}
