// The embedded default store: LMDB, one environment in one folder, one database with the collection as the first part of
// the key (so collections cost nothing, need no limit, and a batch across them is one transaction by nature).
//
// Group commit is done here, not by lmdb-js: what is written while a transaction is on its way to the disk waits and
// becomes the next transaction. So there is one transaction and one thread at work at a time, however many callers write
// (lmdb-js would block a thread of Node's pool for every turn of the event loop that wrote), a write that resolved is on
// disk already (the environment is opened without overlappingSync), and a failed commit is told to each of its writers,
// where lmdb-js's own `flushed` would wait for ever.
//
// Several processes may open the same folder: LMDB serialises their transactions, and `append` takes its numbers in
// blocks, so that no two processes use the same. An entry appended by one process may then sort before an older one of another.

import { open, type RootDatabase } from "lmdb";
import type { Clock } from "../util/clock.ts";
import { asError, MorendoError } from "../util/errors.ts";
import { type Logger, silentLog } from "../util/log.ts";
import { encodeKey, endOf } from "./keys.ts";
import { commitCause, prepareFolder, storeError } from "./lmdb-errors.ts";
import { decodeEntry, decodeValue, encodeRecord, withOtherKey } from "./records.ts";
import type { Key, Store, Value, Write } from "./store.ts";

/** Where the next block of numbers for `append` is written; no collection has this name. */
const SEQUENCE_KEY = Buffer.of(0x01);
const SEQUENCE_BLOCK = 65_536;
/** Entries of a range that are read before the event loop gets a turn. */
const RANGE_SLICE = 1_000;
/** Writes that go into one transaction at most: a bound on how long the event loop is busy handing them over. */
const MAX_TRANSACTION = 5_000;

/** The collection of what was put aside, with its collection and its key in hexadecimal. */
const DAMAGED = "damaged";

type Operation = readonly [key: Buffer, text: string | undefined];

/** Writes of one caller; without operations a marker that waits for what came before it. */
interface Pending {
  readonly operations: readonly Operation[];
  /** Makes one more operation of a number that is given only now, so that the numbers follow the order of the calls. */
  readonly numbered?: (number: number) => Operation;
  readonly resolve: () => void;
  readonly reject: (error: MorendoError) => void;
}

/** What an LMDB store needs. */
export interface LmdbOptions {
  /** The folder; made when it is missing. */
  readonly path: string;
  readonly clock: Clock;
  /** Told of damaged records; nobody is unless given. */
  readonly log?: Logger;
}

/** A Store on LMDB. Its errors have codes that begin with `MORENDO_STORE_`. */
export class LmdbStore implements Store {
  #path: string;
  #clock: Clock;
  #log: Logger;
  #db: RootDatabase<string, Buffer>;
  #queue: Pending[] = [];
  #running: Promise<void> | undefined;
  /** The keys of damaged records that are being put aside. */
  #aside = new Set<string>();
  #failures = 0;
  #lastFailure: MorendoError | undefined;
  #closing: Promise<void> | undefined;
  #nextNumber = 0;
  #endOfBlock = 0;

  private constructor({ path, clock, log = silentLog }: LmdbOptions, db: RootDatabase<string, Buffer>) {
    this.#path = path;
    this.#clock = clock;
    this.#log = log;
    this.#db = db;
  }

  /** Opens the store in a folder. Rejects with a code that says what is wrong with it. Blocks for a write to the disk. */
  static async open(options: LmdbOptions): Promise<LmdbStore> {
    prepareFolder(options.path);
    try {
      const db = open<string, Buffer>({
        path: options.path,
        noSubdir: false,
        keyEncoding: "binary",
        encoding: "string",
        overlappingSync: false,
        // With batching by turns lmdb-js makes a promise of its own for each, which nobody could catch when it rejects.
        eventTurnBatching: false,
      });
      return new LmdbStore(options, db);
    } catch (thrown) {
      throw storeError(options.path, thrown);
    }
  }

  async get(collection: string, key: Key): Promise<Value | undefined> {
    this.#checkOpen();
    const { bytes } = encodeKey(collection, key);
    const text = this.#db.get(bytes);
    if (text === undefined) return undefined;
    try {
      return decodeValue(bytes, text);
    } catch (thrown) {
      throw damagedAt(collection, key, thrown);
    }
  }

  async put(collection: string, key: Key, value: Value): Promise<void> {
    await this.#write([operation({ op: "put", collection, key, value })]);
  }

  async delete(collection: string, key: Key): Promise<void> {
    await this.#write([operation({ op: "delete", collection, key })]);
  }

  async batch(writes: readonly Write[]): Promise<void> {
    if (writes.length > 0) await this.#write(writes.map(operation));
    else this.#checkOpen();
  }

  /** Reads long ranges in pieces, between which other work has its turn: what is written meanwhile may be seen or not. */
  async range(
    collection: string,
    prefix: Key,
    limit = Number.POSITIVE_INFINITY,
    after?: Key,
  ): Promise<readonly (readonly [Key, Value])[]> {
    const from = encodeKey(collection, prefix).bytes;
    const end = endOf(from);
    let last = after === undefined ? undefined : encodeKey(collection, after).bytes;
    if (last !== undefined && last.compare(from) < 0) last = undefined;
    const entries: (readonly [Key, Value])[] = [];
    for (;;) {
      this.#checkOpen();
      const wanted = Math.min(limit - entries.length, RANGE_SLICE);
      if (wanted <= 0) return entries;
      const start = last === undefined ? { start: from } : { start: last, exclusiveStart: true };
      let found = 0;
      for (const { key, value } of this.#db.getRange({ ...start, end, limit: wanted })) {
        const entry = this.#readEntry(collection, key, value);
        if (entry !== undefined) entries.push(entry);
        last = key;
        found++;
      }
      if (found < wanted) return entries;
      if (entries.length < limit) await this.#clock.turn();
    }
  }

  async append(collection: string, key: Key, value: Value): Promise<Key> {
    this.#checkOpen();
    let own: Key = [...key, 0];
    // What cannot be stored must be refused now, not when others are in the same transaction; and a copy is taken now.
    const sample = encodeKey(collection, own);
    const text = encodeRecord(own, sample, value);
    await this.#enqueue([], (number) => {
      own = [...key, number];
      if (sample.shortened)
        return operation({ op: "put", collection, key: own, value: decodeValue(sample.bytes, text) });
      const { bytes } = encodeKey(collection, own);
      return [bytes, withOtherKey(bytes, text)];
    });
    return own;
  }

  /** Every write that resolved is on disk already, so only those under way are waited for. Rejects when one of them fails. */
  async flushed(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    if (this.#running === undefined) return;
    const failures = this.#failures;
    await this.#enqueue([]);
    if (this.#failures !== failures && this.#lastFailure !== undefined) throw this.#lastFailure;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#running;
    await this.#db.close();
  }

  /** A record that is damaged is put aside, so that the others of its range can be used. */
  #readEntry(collection: string, bytes: Buffer, text: string): readonly [Key, Value] | undefined {
    try {
      return decodeEntry(bytes, text);
    } catch (thrown) {
      this.#putAside(collection, bytes.toString("hex"), text, thrown);
      return undefined;
    }
  }

  #putAside(collection: string, key: string, text: string, thrown: unknown): void {
    // It may be read again before it is gone.
    if (this.#aside.has(key)) return;
    this.#aside.add(key);
    this.#log.error({ err: asError(thrown), collection, key }, "a damaged record is put aside");
    const writes: Operation[] = [
      operation({ op: "put", collection: DAMAGED, key: [collection, key], value: text }),
      [Buffer.from(key, "hex"), undefined],
    ];
    this.#enqueue(writes).then(
      () => this.#aside.delete(key),
      (err: unknown) => {
        this.#aside.delete(key);
        this.#log.error({ err: asError(err), collection, key }, "a damaged record cannot be put aside");
      },
    );
  }

  async #takeNumber(): Promise<number> {
    if (this.#nextNumber === this.#endOfBlock) {
      // A block that is not used up is lost, which only makes a gap.
      this.#nextNumber = await this.#db.transaction(() => {
        const first = Number(this.#db.get(SEQUENCE_KEY) ?? 0);
        this.#db.putSync(SEQUENCE_KEY, String(first + SEQUENCE_BLOCK));
        return first;
      });
      this.#endOfBlock = this.#nextNumber + SEQUENCE_BLOCK;
    }
    return this.#nextNumber++;
  }

  async #write(operations: readonly Operation[]): Promise<void> {
    this.#checkOpen();
    await this.#enqueue(operations);
  }

  #enqueue(operations: readonly Operation[], numbered?: (number: number) => Operation): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ operations, resolve, reject, ...(numbered && { numbered }) });
      this.#running ??= this.#run();
    });
  }

  /** Writes what waits, one transaction after the other, until nothing does. Never rejects. */
  async #run(): Promise<void> {
    // Callers that write in the same turn get into the first transaction too.
    await this.#clock.turn();
    while (this.#queue.length > 0) {
      const group = this.#nextGroup();
      const error = await this.#commit(group);
      if (error !== undefined) {
        this.#failures++;
        this.#lastFailure = error;
      }
      for (const pending of group) {
        if (error === undefined) pending.resolve();
        else pending.reject(error);
      }
    }
    this.#running = undefined;
  }

  #nextGroup(): readonly Pending[] {
    let writes = 0;
    const end = this.#queue.findIndex((pending, index) => {
      writes += pending.operations.length + (pending.numbered === undefined ? 0 : 1);
      return index > 0 && writes > MAX_TRANSACTION;
    });
    return this.#queue.splice(0, end < 0 ? this.#queue.length : end);
  }

  async #commit(group: readonly Pending[]): Promise<MorendoError | undefined> {
    try {
      const all: Operation[] = [];
      for (const { operations, numbered } of group) {
        for (const one of operations) all.push(one);
        if (numbered !== undefined) all.push(numbered(await this.#takeNumber()));
      }
      if (all.length === 0) return undefined;
      await this.#db.batch(() => {
        for (const [key, text] of all) {
          // The promises of single operations inside a batch say nothing: the batch's own does.
          if (text === undefined) void this.#db.remove(key);
          else void this.#db.put(key, text);
        }
      });
      return undefined;
    } catch (thrown) {
      return storeError(this.#path, await commitCause(thrown));
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new MorendoError("MORENDO_STORE_CLOSED", "The store is closed.");
  }
}

function operation(write: Write): Operation {
  const encoded = encodeKey(write.collection, write.key);
  return [encoded.bytes, write.op === "put" ? encodeRecord(write.key, encoded, write.value) : undefined];
}

function damagedAt(collection: string, key: Key, thrown: unknown): MorendoError {
  const message = `The record ${JSON.stringify(key)} of ${collection} is damaged: ${asError(thrown).message}`;
  return new MorendoError("MORENDO_STORE_CORRUPT", message, { cause: thrown });
}
