// Turns a peer's bytes into text across reads: a character cut in two waits for its rest, and what is not UTF-8 is
// noticed instead of being replaced (RFC 6120 §11.6 allows nothing else).

import { isAscii, isUtf8 } from "node:buffer";

const NOTHING = Buffer.alloc(0);

/** A strict, incremental UTF-8 decoder. */
export class Utf8Decoder {
  #rest: Buffer = NOTHING;
  /** True when the last text returned was plain ASCII: its length is its number of bytes. */
  ascii = true;
  /** True once bytes came that are not UTF-8; what was returned ends before them. */
  invalid = false;

  /** Returns the characters that are complete by now. The chunk is not kept. */
  write(chunk: Buffer): string {
    if (this.#rest.length === 0 && isAscii(chunk)) {
      this.ascii = true;
      return chunk.toString("latin1");
    }
    this.ascii = false;
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const end = bytes.length - unfinished(bytes);
    this.#rest = end === bytes.length ? NOTHING : Buffer.from(bytes.subarray(end));
    const whole = bytes.subarray(0, end);
    if (isUtf8(whole)) return whole.toString("utf8");
    this.invalid = true;
    return whole.toString("utf8", 0, validLength(whole));
  }

  /** Forgets a character that was cut in two. */
  clear(): void {
    this.#rest = NOTHING;
  }
}

/** The bytes a character takes, by its first byte; 0 for a byte that cannot be first. */
function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/** How many bytes at the end begin a character without finishing it. */
function unfinished(bytes: Buffer): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return sequenceLength(byte) > back ? back : 0;
  }
  return 0;
}

/** The length of the longest beginning that is UTF-8; used once, on a stream that is about to end. */
function validLength(bytes: Buffer): number {
  let at = 0;
  while (at < bytes.length) {
    const length = sequenceLength(bytes[at] as number);
    if (length === 0 || !isUtf8(bytes.subarray(at, at + length))) break;
    at += length;
  }
  return at;
}
