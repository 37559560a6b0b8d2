// Dialback keys (XEP-0185): made from a secret of this process, so that nothing need be remembered between giving a key
// out and being asked about it, and one recipe serves every stream.

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { Random } from "../../util/random.ts";

/** Makes and recognises the keys of this process. */
export class DialbackKeys {
  #secret: string;

  constructor(random: Random) {
    this.#secret = createHash("sha256").update(random.bytes(32)).digest("hex");
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
