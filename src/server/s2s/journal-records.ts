// How the journal's entries stand in the store: one record each, under the domain, the local host, and a number that grows
// over restarts. A record carries its version and a checksum, because what is read here is written to other servers: what
// does not check is never sent. Not for: who waits where and when it goes out (journal.ts).

import { crc32 } from "node:zlib";
import { parseStanza } from "../../stanza/parse-stanza.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { CorruptRecordError } from "../../store/records.ts";
import type { Key, Store, Value } from "../../store/store.ts";

/** Where the entries are. */
export const JOURNAL = "s2s-journal";
/** Where what cannot be read is set aside, under the same key. */
export const DAMAGED = "s2s-journal-damaged";
/** Where the number of the last epoch is. */
export const JOURNAL_HEAD = "s2s-journal-head";

const VERSION = 1;

/** Which entry: the epoch is the life of the server in which it was written, the number grows within it. */
export interface RecordPlace {
  readonly remote: string;
  readonly local: string;
  readonly epoch: number;
  readonly seq: number;
}

/** What a record says beside the stanza. */
export interface RecordMarks {
  /** When the server took the stanza, in milliseconds since 1970. */
  readonly at: number;
  /** When its time is over. */
  readonly until: number;
}

/** A record that checks. */
export interface JournalRecord extends RecordPlace, RecordMarks {
  readonly xml: string;
}

/** A record that does not. */
export interface DamagedRecord {
  readonly key: Key;
  readonly why: string;
}

/** Names an entry for operators: `7-42`. */
export function recordId({ epoch, seq }: Pick<RecordPlace, "epoch" | "seq">): string {
  return `${epoch}-${seq}`;
}

/** The record's key. */
export function recordKey({ remote, local, epoch, seq }: RecordPlace): Key {
  return [remote, local, epoch, seq];
}

/** The record's value. */
export function recordValue(place: RecordPlace, { at, until }: RecordMarks, xml: string): Value {
  return { v: VERSION, at, until, xml, sum: checksum(place, { at, until }, xml) };
}

/** Reads a record; what does not check is told by why. */
export function readRecord(key: Key, value: Value): JournalRecord | DamagedRecord {
  const [remote, local, epoch, seq] = key;
  if (typeof remote !== "string" || typeof local !== "string" || key.length !== 4) return { key, why: "a strange key" };
  if (!isCount(epoch) || !isCount(seq)) return { key, why: "a strange key" };
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { key, why: "not a record" };
  const { v, at, until, xml, sum } = value as { readonly [name: string]: Value | undefined };
  if (v !== VERSION) return { key, why: `version ${JSON.stringify(v)}` };
  if (!isCount(at) || !isCount(until) || typeof xml !== "string") return { key, why: "a field is missing" };
  const place = { remote, local, epoch, seq };
  if (sum !== checksum(place, { at, until }, xml)) return { key, why: "the checksum does not match" };
  return { ...place, at, until, xml };
}

/** Whether a record could not be read. */
export function isDamaged(record: JournalRecord | DamagedRecord): record is DamagedRecord {
  return "why" in record;
}

/** Reads the stanza of a record; undefined when it is not one for the record's domains, which no record of ours is. */
export function stanzaOf({ remote, local, xml }: JournalRecord): Stanza | undefined {
  const stanza = parseStanza(xml)?.stanza;
  return stanza?.from.domain === local && stanza.to?.domain === remote ? stanza : undefined;
}

/**
 * Reads from a record's opening tag who sent the stanza, without his resource; undefined for the host itself. At a start there
 * can be very many records, and this costs a hundredth of `stanzaOf`.
 */
export function recordSender({ xml }: JournalRecord): string | undefined {
  return FROM.exec(xml)?.[1];
}

/** Reads all records of a domain, or of all, in order and page by page. */
export async function* readRecords(
  store: Store,
  domain?: string,
): AsyncGenerator<{ readonly key: Key; readonly value: Value; readonly record: JournalRecord | DamagedRecord }> {
  const prefix = domain === undefined ? [] : [domain];
  let after: Key | undefined;
  let count = PAGE;
  for (;;) {
    const page = await readPage(store, prefix, count, after);
    if (page instanceof CorruptRecordError) {
      // One by one up to the one that cannot be read, and on behind it.
      if (count > 1) count = 1;
      else if (page.key !== undefined) {
        after = page.key;
        count = PAGE;
        yield { key: page.key, value: null, record: { key: page.key, why: page.message } };
      }
      continue;
    }
    for (const [key, value] of page) yield { key, value, record: readRecord(key, value) };
    if (page.length < count) return;
    after = page.at(-1)?.[0];
  }
}

async function readPage(
  store: Store,
  prefix: Key,
  count: number,
  after: Key | undefined,
): Promise<readonly (readonly [Key, Value])[] | CorruptRecordError> {
  try {
    return await store.range(JOURNAL, prefix, count, after);
  } catch (thrown) {
    if (thrown instanceof CorruptRecordError && thrown.key !== undefined) return thrown;
    throw thrown;
  }
}

const PAGE = 500;

/** What we write has each value in double quotes, in which no other one stands (RFC 7622 §3.3: nor in a localpart). */
const FROM = /^<\w+(?: [^\s="]+="[^"]*")*? from="([^"@/]+@[^"/]+)/;

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function checksum(place: RecordPlace, { at, until }: RecordMarks, xml: string): number {
  return crc32(`${place.remote}\n${place.local}\n${place.epoch}\n${place.seq}\n${at}\n${until}\n${xml}`);
}
