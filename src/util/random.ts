// Randomness as a value that is passed around, so that a simulation can replay it. Keys, salts and nonces that must
// withstand an attacker come from here too: the system's source is the cryptographic one.

import { randomBytes, randomInt } from "node:crypto";

/** A source of random values. */
export interface Random {
  /** Returns a whole number from 0 up to, not including, `limit`. */
  below(limit: number): number;
  /** Returns `count` random bytes. */
  bytes(count: number): Buffer;
  /** Returns an unguessable text for stream, stanza and session identifiers: URL-safe, 24 characters. */
  id(): string;
}

/** The system's cryptographic randomness. */
export const systemRandom: Random = {
  below: (limit) => (limit <= 1 ? 0 : randomInt(limit)),
  bytes: (count) => randomBytes(count),
  id: () => randomBytes(18).toString("base64url"),
};

/** Puts `items` into a random order, in place, and returns them (Fisher and Yates). */
export function shuffle<T>(items: T[], random: Random): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    const moved = items[last] as T;
    items[last] = items[other] as T;
    items[other] = moved;
  }
  return items;
}
