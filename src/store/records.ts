// How values become text: JSON, which people can read in a dump and which has no limits of its own, and a checksum over key
// and text, because a disk may give back something else than it was given. A value whose key was shortened carries the key
// in front. Shared by the stores, so that what comes back is the same with each.

import { crc32 } from "node:zlib";
import { MorendoError } from "../util/errors.ts";
import { decodeKey, type EncodedKey } from "./keys.ts";
import type { Key, Value } from "./store.ts";

/** Stands before the checksum; JSON as it is written here has none. */
const SEAL = "\n";
/** What is stored at a key cannot be read; what comes after it can. */
export class CorruptRecordError extends MorendoError {
  /** Undefined when not even that can be read. */
  readonly key: Key | undefined;

  constructor(key: Key | undefined, options: ErrorOptions) {
    super("MORENDO_STORE_CORRUPT", "The store holds a value that is not JSON.", options);
    this.key = key;
  }
}

/** Begins a record with its key; no JSON text begins so. */
const WITH_KEY = "K";

/** Returns the text to store; throws `MORENDO_STORE_VALUE` for what JSON cannot say. */
export function encodeRecord(key: Key, encoded: EncodedKey, value: Value): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(encoded.shortened ? [key, value] : value);
  } catch (thrown) {
    throw new MorendoError("MORENDO_STORE_VALUE", "The value cannot be stored: it is not JSON.", { cause: thrown });
  }
  if (text === undefined) throw new MorendoError("MORENDO_STORE_VALUE", "The value cannot be stored: it is undefined.");
  return seal(encoded.bytes, encoded.shortened ? WITH_KEY + text : text);
}

/** Returns the text of a record of `encodeRecord` for another key, which is not a shortened one. */
export function withOtherKey(bytes: Buffer, record: string): string {
  return seal(bytes, record.slice(0, record.lastIndexOf(SEAL)));
}

/** Returns the value in a record found at `bytes`; throws `MORENDO_STORE_CORRUPT` for a damaged one. */
export function decodeValue(bytes: Buffer, record: string): Value {
  const text = unseal(bytes, record);
  return text.startsWith(WITH_KEY) ? decodeWithKey(text)[1] : (parse(text) as Value);
}

/** Returns key and value of a record found at `bytes`; throws `MORENDO_STORE_CORRUPT` for a damaged one. */
export function decodeEntry(bytes: Buffer, record: string): readonly [Key, Value] {
  const text = unseal(bytes, record);
  if (text.startsWith(WITH_KEY)) return decodeWithKey(text);
  const key = decodeKey(bytes);
  return [key, parse(text, key) as Value];
}

function seal(bytes: Buffer, text: string): string {
  return `${text}${SEAL}${checksum(bytes, text)}`;
}

/** Records of the first versions have no checksum. */
function unseal(bytes: Buffer, record: string): string {
  const at = record.lastIndexOf(SEAL);
  if (at < 0) return record;
  const text = record.slice(0, at);
  if (record.slice(at + SEAL.length) === checksum(bytes, text)) return text;
  throw new MorendoError("MORENDO_STORE_CORRUPT", "The store holds a record that does not match its checksum.");
}

function checksum(bytes: Buffer, text: string): string {
  return crc32(text, crc32(bytes)).toString(36);
}

function decodeWithKey(text: string): readonly [Key, Value] {
  const pair = parse(text.slice(WITH_KEY.length));
  if (!isPair(pair)) throw new MorendoError("MORENDO_STORE_CORRUPT", "The store holds a value whose key is damaged.");
  return pair;
}

function isPair(pair: unknown): pair is readonly [Key, Value] {
  if (!Array.isArray(pair) || pair.length !== 2) return false;
  const [key] = pair as readonly unknown[];
  return Array.isArray(key) && key.every((part) => typeof part === "string" || typeof part === "number");
}

function parse(text: string, key?: Key): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new CorruptRecordError(key, { cause: thrown });
  }
}
