// How values become text: JSON, which people can read in a dump and which has no limits of its own. A value whose key was
// shortened carries the key in front. Shared by the stores, so that what comes back is the same with each.

import { MorendoError } from "../util/errors.ts";
import { decodeKey, type EncodedKey } from "./keys.ts";
import type { Key, Value } from "./store.ts";

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
  return encoded.shortened ? WITH_KEY + text : text;
}

/** Returns the value in a record. */
export function decodeValue(text: string): Value {
  return text.startsWith(WITH_KEY) ? decodeWithKey(text)[1] : (parse(text) as Value);
}

/** Returns key and value of a record found at `bytes`. */
export function decodeEntry(bytes: Buffer, text: string): readonly [Key, Value] {
  return text.startsWith(WITH_KEY) ? decodeWithKey(text) : [decodeKey(bytes), parse(text) as Value];
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

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new MorendoError("MORENDO_STORE_CORRUPT", "The store holds a value that is not JSON.", { cause: thrown });
  }
}
