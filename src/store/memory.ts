// A store in memory with the behaviour of the one on disk, for tests: it can be made to fail, to wait, and to lose what
// was not flushed, as a crash would. Not for production: nothing outlives the process.

import { MorendoError } from "../util/errors.ts";
import { encodeKey, endOf } from "./keys.ts";
import { decodeEntry, decodeValue, encodeRecord } from "./records.ts";
import type { Key, Store, Value, Write } from "./store.ts";

/** Called before the store acts: may wait, or throw to make the operation fail without effect. */
export interface MemoryHooks {
  beforeWrite?: ((writes: readonly Write[]) => void | Promise<void>) | undefined;
  beforeFlush?: (() => void | Promise<void>) | undefined;
}

/** The encoded keys are texts of one character per byte, so that they compare like the bytes. */
type Operation = readonly [key: string, text: string | undefined];

/** A Store in memory. Writes happen one after the other, in the order of the calls. */
export class MemoryStore implements Store {
  /** Set by tests, at any time. */
  readonly hooks: MemoryHooks;
  #records = new Map<string, string>();
  /** The keys in order. */
  #keys: string[] = [];
  #unflushed: Operation[] = [];
  #onDisk = new Map<string, string>();
  #tail: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #sequence = 0;

  constructor(hooks: MemoryHooks = {}) {
    this.hooks = hooks;
  }

  async get(collection: string, key: Key): Promise<Value | undefined> {
    this.#checkOpen();
    const { bytes } = encodeKey(collection, key);
    const text = this.#records.get(toText(bytes));
    return text === undefined ? undefined : decodeValue(bytes, text);
  }

  async put(collection: string, key: Key, value: Value): Promise<void> {
    await this.batch([{ op: "put", collection, key, value }]);
  }

  async delete(collection: string, key: Key): Promise<void> {
    await this.batch([{ op: "delete", collection, key }]);
  }

  async batch(writes: readonly Write[]): Promise<void> {
    this.#checkOpen();
    const operations = writes.map(operation);
    await this.#inOrder(async () => {
      await this.hooks.beforeWrite?.(writes);
      for (const [key, text] of operations) this.#apply(key, text);
      this.#unflushed.push(...operations);
    });
  }

  async range(
    collection: string,
    prefix: Key,
    limit = Number.POSITIVE_INFINITY,
    after?: Key,
  ): Promise<readonly (readonly [Key, Value])[]> {
    this.#checkOpen();
    const from = encodeKey(collection, prefix).bytes;
    const first = toText(from);
    const end = toText(endOf(from));
    const last = after === undefined ? undefined : toText(encodeKey(collection, after).bytes);
    let index = this.#position(last !== undefined && last > first ? last : first);
    if (last !== undefined && this.#keys[index] === last) index++;
    const entries: (readonly [Key, Value])[] = [];
    for (; index < this.#keys.length && entries.length < limit; index++) {
      const key = this.#keys[index] ?? end;
      if (key >= end) break;
      entries.push(decodeEntry(Buffer.from(key, "latin1"), this.#records.get(key) ?? ""));
    }
    return entries;
  }

  async append(collection: string, key: Key, value: Value): Promise<Key> {
    const own = [...key, this.#sequence++];
    await this.put(collection, own, value);
    return own;
  }

  async flushed(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    await this.#inOrder(() => this.#flush());
  }

  close(): Promise<void> {
    this.#closing ??= this.#inOrder(() => this.#flush());
    return this.#closing;
  }

  /** Returns what a process would find that starts after this one was killed now: what was flushed, and nothing else. */
  afterCrash(): MemoryStore {
    const store = new MemoryStore();
    for (const [key, text] of this.#onDisk) {
      store.#apply(key, text);
      store.#onDisk.set(key, text);
    }
    store.#sequence = this.#sequence;
    return store;
  }

  async #flush(): Promise<void> {
    await this.hooks.beforeFlush?.();
    for (const [key, text] of this.#unflushed) {
      if (text === undefined) this.#onDisk.delete(key);
      else this.#onDisk.set(key, text);
    }
    this.#unflushed = [];
  }

  #inOrder(work: () => Promise<void>): Promise<void> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => undefined);
    return done;
  }

  #apply(key: string, text: string | undefined): void {
    const known = this.#records.has(key);
    if (text === undefined) {
      this.#records.delete(key);
      if (known) this.#keys.splice(this.#position(key), 1);
      return;
    }
    this.#records.set(key, text);
    if (!known) this.#keys.splice(this.#position(key), 0, key);
  }

  /** Returns the index of the first key that is not less than `key`. */
  #position(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? "") < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new MorendoError("MORENDO_STORE_CLOSED", "The store is closed.");
  }
}

function operation(write: Write): Operation {
  const encoded = encodeKey(write.collection, write.key);
  return [toText(encoded.bytes), write.op === "put" ? encodeRecord(write.key, encoded, write.value) : undefined];
}

function toText(bytes: Buffer): string {
  return bytes.toString("latin1");
}
