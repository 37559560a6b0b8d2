// How much is in the journal, for whom and of whom; what more has room; and what became of what was in it. Everything is
// counted as it comes and goes, so that no stanza costs more for what waits already. Not for: the entries themselves.

import type { Config } from "../../config/schema.ts";
import type { Fate } from "../../shutdown/types.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { stateKey } from "./journal-treatment.ts";

/** What one sender has in the journal. */
export interface SenderShare {
  readonly name: string;
  count: number;
  size: number;
}

/** Something of which so much is in the journal. */
export interface Amount {
  readonly length: number;
  readonly size: number;
}

/** Which bound leaves no room: of the journal, for a domain, for a sender, for the number of domains. */
export type JournalBound = "all" | "domain" | "sender" | "domains";

/** How an entry leaves: by its fate, for a newer presence, because it cannot be read, or because it could not be written. */
export type JournalOutcome = Exclude<Fate, "stored"> | "replaced" | "damaged" | "unwritten";

/** What the books say. */
export interface JournalCounts {
  /** How many entries there have been in this life of the server: those that wait and all that left. */
  readonly taken: number;
  readonly left: Readonly<Record<JournalOutcome, number>>;
  /** How many stanzas came back because there was no room. */
  readonly refused: Readonly<Record<JournalBound, number>>;
}

/**
 * How many times a sender's bounds his presence may use, which is counted apart: whoever is not told that somebody is gone
 * sees a ghost, and there is one entry at most for each resource and contact.
 */
const PRESENCE_ROOM = 10;

const NOTHING = { count: 0, size: 0 };

/** The books of the journal. */
export class JournalBooks {
  #config: Config["s2s"];
  #count = 0;
  #size = 0;
  #taken = 0;
  #left: Record<JournalOutcome, number> = {
    proved: 0,
    returned: 0,
    dropped: 0,
    lost: 0,
    replaced: 0,
    damaged: 0,
    unwritten: 0,
  };
  #refused: Record<JournalBound, number> = { all: 0, domain: 0, sender: 0, domains: 0 };
  #shares = new Map<string, SenderShare>();

  constructor(config: Config["s2s"]) {
    this.#config = config;
  }

  /** How many entries there are. */
  get count(): number {
    return this.#count;
  }

  /** Their size in characters. */
  get size(): number {
    return this.#size;
  }

  /** Tells which bound one more of `size` for `domain` would exceed; undefined when there is room. */
  fullFor(domain: Amount, stanza: Stanza, size: number): JournalBound | undefined {
    const config = this.#config;
    if (this.#count >= config.journal_max || this.#size + size > config.journal_max_size) return "all";
    const isState = stateKey(stanza) !== undefined;
    const isFull =
      domain.length >= config.journal_max_per_domain || domain.size + size > config.journal_max_size_per_domain;
    if (isFull && !isState) return "domain";
    const name = shareName(senderOf(stanza), isState);
    if (name === undefined) return undefined;
    const { count, size: used } = this.#shares.get(name) ?? NOTHING;
    const factor = isState ? PRESENCE_ROOM : 1;
    const isOver =
      count >= config.journal_max_per_sender * factor || used + size > config.journal_max_size_per_sender * factor;
    return isOver ? "sender" : undefined;
  }

  /** Counts a stanza for which there was no room. */
  refuse(bound: JournalBound): void {
    this.#refused[bound]++;
  }

  /**
   * Counts an entry of a sender, without a resource, or of the host itself, which has no bound of its own. Returns the share
   * to be given to `leave`.
   */
  enter(sender: string | undefined, isState: boolean, size: number): SenderShare | undefined {
    this.#count++;
    this.#size += size;
    this.#taken++;
    const name = shareName(sender, isState);
    if (name === undefined) return undefined;
    let share = this.#shares.get(name);
    if (share === undefined) {
      share = { name, count: 0, size: 0 };
      this.#shares.set(name, share);
    }
    share.count++;
    share.size += size;
    return share;
  }

  /** Counts that an entry has left. */
  leave(share: SenderShare | undefined, size: number, outcome: JournalOutcome): void {
    this.#count--;
    this.#size -= size;
    this.#left[outcome]++;
    if (share === undefined) return;
    share.count--;
    share.size -= size;
    if (share.count === 0) this.#shares.delete(share.name);
  }

  counts(): JournalCounts {
    return { taken: this.#taken, left: { ...this.#left }, refused: { ...this.#refused } };
  }
}

/** Names the sender of a stanza without his resource: an account, a room; undefined for the host itself. */
export function senderOf({ from }: Stanza): string | undefined {
  return from.local === "" ? undefined : from.bare.toString();
}

function shareName(sender: string | undefined, isState: boolean): string | undefined {
  return sender !== undefined && isState ? `presence ${sender}` : sender;
}
