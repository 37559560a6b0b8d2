// How keys become bytes: order-preserving, so that comparing the bytes compares the parts, and the bytes of a prefix
// begin the bytes of every key under it. Shared by all stores, so that they agree. Not for: values.
//
// A key is its parts one after the other. A number is 01 and eight bytes; a text is 02, its UTF-8 (00 written as 00 FF)
// and 00. Numbers sort before texts, texts by code point. Of a text of more than 255 bytes only the first 128 are kept,
// then 00 FE and the SHA-256 of the whole: such texts still sort by their beginning, and the key is kept with the value.

import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { MorendoError } from "../util/errors.ts";
import type { Key } from "./store.ts";

const NUMBER = 0x01;
const TEXT = 0x02;
/** Greater than any byte that can follow a prefix. */
const PAST = 0x03;
const ESCAPED = 0xff;
const HASHED = 0xfe;
const LONGEST_TEXT = 255;
const KEPT_OF_LONG = 128;
const NUMBER_BYTES = 9;
/** What LMDB takes with pages of 4 KiB. */
const MAX_KEY_BYTES = 1978;
const HALF_PAIR = /\p{Surrogate}/u;

/** A key as bytes. */
export interface EncodedKey {
  readonly bytes: Buffer;
  /** The key cannot be told from the bytes: it must be stored beside them. */
  readonly shortened: boolean;
}

/** Returns the bytes of a key or prefix; throws `MORENDO_STORE_KEY` when it is too long or no key at all. */
export function encodeKey(collection: string, key: Key): EncodedKey {
  let shortened = false;
  const pieces: Buffer[] = [encodeText(collection)];
  for (const part of key) {
    if (typeof part === "number") {
      pieces.push(encodeNumber(part));
      continue;
    }
    const short = Buffer.byteLength(part) <= LONGEST_TEXT;
    shortened ||= !short;
    pieces.push(short ? encodeText(part) : encodeLongText(part));
  }
  const bytes = Buffer.concat(pieces);
  if (bytes.length > MAX_KEY_BYTES) throw badKey(`has ${bytes.length} bytes, at most ${MAX_KEY_BYTES} are possible`);
  return { bytes, shortened };
}

/** Returns the first bytes that come after everything that begins with `prefix`. */
export function endOf(prefix: Buffer): Buffer {
  return Buffer.concat([prefix, Buffer.of(PAST)]);
}

/**
 * Returns the parts of a key that was not shortened, without its collection. Throws `MORENDO_STORE_CORRUPT` for bytes that
 * `encodeKey` does not make: they come from a damaged disk.
 */
export function decodeKey(bytes: Buffer): Key {
  const parts: (string | number)[] = [];
  let at = 0;
  while (at < bytes.length) {
    const kind = bytes[at];
    if (kind === NUMBER && at + NUMBER_BYTES <= bytes.length) {
      const value = decodeNumber(bytes, at + 1);
      if (Number.isNaN(value)) throw damagedKey();
      parts.push(value);
      at += NUMBER_BYTES;
    } else if (kind === TEXT) {
      const end = endOfText(bytes, at + 1);
      if (end < 0) throw damagedKey();
      parts.push(decodeText(bytes.subarray(at + 1, end)));
      at = end + 1;
    } else throw damagedKey();
  }
  return parts.slice(1);
}

function encodeText(text: string): Buffer {
  if (HALF_PAIR.test(text)) throw badKey("has half a surrogate pair");
  if (!text.includes("\0")) return Buffer.from(`\u0002${text}\0`);
  return Buffer.concat([Buffer.of(TEXT), escapeZeros(Buffer.from(text)), Buffer.of(0)]);
}

function encodeLongText(text: string): Buffer {
  if (HALF_PAIR.test(text)) throw badKey("has half a surrogate pair");
  const bytes = Buffer.from(text);
  const hash = createHash("sha256").update(bytes).digest();
  return Buffer.concat([Buffer.of(TEXT), escapeZeros(bytes.subarray(0, KEPT_OF_LONG)), Buffer.of(0, HASHED), hash]);
}

function escapeZeros(bytes: Buffer): Buffer {
  if (!bytes.includes(0)) return bytes;
  return Buffer.from(bytes.toString("latin1").replaceAll("\0", "\0\xFF"), "latin1");
}

/** Returns where the 00 stands that ends the text; -1 when it has no end. */
function endOfText(bytes: Buffer, start: number): number {
  let at = bytes.indexOf(0, start);
  while (at >= 0 && bytes[at + 1] === ESCAPED) at = bytes.indexOf(0, at + 2);
  return at;
}

function decodeText(escaped: Buffer): string {
  const bytes = escaped.includes(0)
    ? Buffer.from(escaped.toString("latin1").replaceAll("\0\xFF", "\0"), "latin1")
    : escaped;
  if (!isUtf8(bytes)) throw damagedKey();
  return bytes.toString();
}

function encodeNumber(value: number): Buffer {
  if (Number.isNaN(value)) throw badKey("has a part that is not a number");
  const bytes = Buffer.allocUnsafe(NUMBER_BYTES);
  bytes[0] = NUMBER;
  bytes.writeDoubleBE(value === 0 ? 0 : value, 1);
  flip(bytes, 1, value < 0);
  return bytes;
}

function decodeNumber(bytes: Buffer, at: number): number {
  const copy = Buffer.from(bytes.subarray(at, at + NUMBER_BYTES - 1));
  flip(copy, 0, ((copy[0] ?? 0) & 0x80) === 0);
  return copy.readDoubleBE(0);
}

/** Makes the bytes of floating point numbers compare like the numbers: negative ones all reversed, others the sign only. */
function flip(bytes: Buffer, from: number, negative: boolean): void {
  for (let at = from; at < bytes.length; at++)
    bytes[at] = (bytes[at] ?? 0) ^ (negative ? 0xff : at === from ? 0x80 : 0);
}

function badKey(what: string): MorendoError {
  return new MorendoError("MORENDO_STORE_KEY", `The key ${what}.`);
}

function damagedKey(): MorendoError {
  return new MorendoError("MORENDO_STORE_CORRUPT", "The store holds a key that is damaged.");
}
