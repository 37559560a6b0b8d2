// Dialback keys (XEP-0185): made from a secret, so that nothing need be remembered between giving a key out and being
// asked about it, and one recipe serves every stream. The secret is kept in the store: a key that one process gave out
// just before a restart is recognised by the next.

import { createHmac, timingSafeEqual } from "node:crypto";
import type { Store } from "../../store/store.ts";
import type { Random } from "../../util/random.ts";

const COLLECTION = "s2s";
const KEY = ["dialback-secret"];

/** Returns the secret of this store, made when there is none yet; resolves when it is on disk. */
export async function dialbackSecret(store: Store, random: Random): Promise<string> {
  const known = await store.get(COLLECTION, KEY);
  if (typeof known === "string" && known.length >= 32) return known;
  const secret = random.bytes(32).toString("hex");
  await store.put(COLLECTION, KEY, secret);
  await store.flushed();
  return secret;
}

/** Makes and recognises the keys of one secret. */
export class DialbackKeys {
  #secret: string;

  constructor(secret: string) {
    this.#secret = secret;
  }

  /** Returns the key by which `originating` shows `receiving` that it opened the stream `streamId` (XEP-0185 §3). */
  make(receiving: string, originating: string, streamId: string): string {
    return createHmac("sha256", this.#secret).update(`${receiving} ${originating} ${streamId}`).digest("hex");
  }

  /** Tells whether `key` is the one `make` returns, in a time that does not depend on `key`. */
  verify(key: string, receiving: string, originating: string, streamId: string): boolean {
    const expected = Buffer.from(this.make(receiving, originating, streamId));
    const given = Buffer.from(key.trim());
    return given.length === expected.length && timingSafeEqual(given, expected);
  }
}
