// The Store port: a small ordered key-value store in named collections. lmdb.ts is the embedded default, memory.ts
// serves tests, a networked one may come; so everything but the writes' bookkeeping is asynchronous. Not for: queries,
// schemas, caching.

/** A key: parts compare one by one, as texts or numbers, so that a range can be given by its first parts. */
export type Key = readonly (string | number)[];

/** What a value may be: anything JSON can say. */
export type Value =
  | null
  | boolean
  | number
  | string
  | readonly Value[]
  | { readonly [name: string]: Value | undefined };

/** One write of a batch. */
export type Write =
  | { readonly op: "put"; readonly collection: string; readonly key: Key; readonly value: Value }
  | { readonly op: "delete"; readonly collection: string; readonly key: Key };

/** An ordered key-value store in named collections. */
export interface Store {
  /** Returns the value at `key`, or undefined. It sees writes whose promise has resolved. */
  get(collection: string, key: Key): Promise<Value | undefined>;
  /** Writes; resolves when later reads see it. It is NOT on disk before `flushed` resolves. */
  put(collection: string, key: Key, value: Value): Promise<void>;
  /** Removes what is at `key`, if anything. As durable as `put`. */
  delete(collection: string, key: Key): Promise<void>;
  /** Does all the writes or none of them. */
  batch(writes: readonly Write[]): Promise<void>;
  /**
   * Returns the entries whose key begins with `prefix`, in key order, at most `limit`; with `after` only those that come
   * after this key, which is how a long range is read page by page.
   */
  range(collection: string, prefix: Key, limit?: number, after?: Key): Promise<readonly (readonly [Key, Value])[]>;
  /** Adds `value` at the end of the list at `key`; `range(collection, key)` returns the list in order. Resolves with the entry's own key. */
  append(collection: string, key: Key, value: Value): Promise<Key>;
  /** Resolves when every write begun before this call is on disk: only then may anything be promised. */
  flushed(): Promise<void>;
  /**
   * Flushes and closes; later calls reject with `MORENDO_STORE_CLOSED`, but `flushed` then tells how the closing went.
   * Late callers get the same promise.
   */
  close(): Promise<void>;
}
