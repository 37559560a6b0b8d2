// The accounts of all hosts: what they are proved with, and whether they exist. Not for: rosters or other data of an
// account, whose owners are told when it is removed.
//
// In the store: collection "accounts", key [domain, localpart], value AccountRecord below; collection "server", key
// ["decoy secret"], value: 32 bytes in base64. Passwords are never stored, only SCRAM keys (RFC 5802 §3).

import { Jid, prepareLocalpart } from "../jid/jid.ts";
import { PlainVerifier } from "../sasl/plain.ts";
import type { CredentialSource, Credentials, ScramHash, ScramKeys } from "../sasl/sasl-server.ts";
import { decoyKeys, deriveKeys, preparePassword, SALT_BYTES } from "../sasl/scram-keys.ts";
import type { Store, Value, Write } from "../store/store.ts";
import { BoundedCache } from "../util/bounded-cache.ts";
import { MorendoError } from "../util/errors.ts";
import type { Random } from "../util/random.ts";

const ACCOUNTS = "accounts";
const SERVER = "server";
const DECOY_SECRET = ["decoy secret"];
const SECRET_BYTES = 32;
const KNOWN = 20_000;
const PAGE = 1_000;
/** Accounts of a long import that are written and flushed together. */
const IMPORT_BATCH = 500;
/** Key derivations of an import at a time: fewer than Node's pool has threads, so that logins go on meanwhile. */
const IMPORT_AT_ONCE = 3;

/** The keys as they are stored, bytes in base64. */
interface KeysRecord {
  readonly salt: string;
  readonly iterations: number;
  readonly storedKey: string;
  readonly serverKey: string;
  readonly [name: string]: Value;
}

interface AccountRecord {
  readonly scram: { readonly [hash in ScramHash]: KeysRecord };
  /** The account is being removed: it does not exist any more, but data of it may. */
  readonly removing?: boolean;
}

/** What `Accounts` needs. */
export interface AccountsOptions {
  readonly store: Store;
  readonly random: Random;
  /** The cost of new SCRAM keys (RFC 5802 §5.1). */
  readonly iterations: number;
  /** Told when an account has ceased to exist, to remove what else is stored for it; awaited, and repeated after a crash. */
  readonly removed?: (account: Jid) => void | Promise<void>;
}

/** An account to be made by `createMany`. */
export interface NewAccount {
  /** The bare JID. */
  readonly account: Jid;
  readonly password: string;
  /** Other data that is to be written together with the account. */
  readonly writes?: readonly Write[];
}

/** The accounts of all hosts. Whatever changes them is on disk when its promise resolves. */
export class Accounts implements CredentialSource {
  #store: Store;
  #random: Random;
  #iterations: number;
  #removed: (account: Jid) => void | Promise<void>;
  #plain: PlainVerifier;
  /** Accounts that are known to exist, by domain. Others are looked up each time, so that inventing names fills nothing. */
  #known = new Map<string, BoundedCache<string, true>>();
  /** Counts removals: a lookup that began before one must not be remembered after it. */
  #removals = 0;
  #locks = new Map<string, Promise<void>>();
  #decoySecret: Promise<Buffer> | undefined;

  constructor({ store, random, iterations, removed = () => undefined }: AccountsOptions) {
    this.#store = store;
    this.#random = random;
    this.#iterations = iterations;
    this.#removed = removed;
    this.#plain = new PlainVerifier(random);
  }

  /** Passwords that are set from now on cost this many iterations. */
  set iterations(iterations: number) {
    this.#iterations = iterations;
  }

  /** Tells whether an account exists (both parts prepared); at once when it is known, otherwise by a promise. */
  exists(local: string, domain: string): boolean | Promise<boolean> {
    return this.#known.get(domain)?.get(local) === true || this.#lookUp(local, domain);
  }

  /**
   * Makes an account. Rejects with `MORENDO_ACCOUNT_NAME` when `account` is no bare JID with a localpart, with
   * `MORENDO_ACCOUNT_EXISTS` or with `MORENDO_PASSWORD_INVALID`.
   */
  async create(account: Jid, password: string): Promise<void> {
    await this.createMany([{ account, password }]);
  }

  /**
   * Makes many accounts, in batches of which each is all or nothing. Rejects before anything is written when a name or
   * password cannot be used or an account exists; the codes are those of `create`.
   */
  async createMany(entries: readonly NewAccount[]): Promise<void> {
    const names = new Set<string>();
    for (const { account, password } of entries) {
      checkName(account);
      checkPassword(account, password);
      if (names.has(account.toString())) throw alreadyExists(account);
      names.add(account.toString());
    }
    await this.#exclusively([...names], async () => {
      await inParallel(entries, IMPORT_AT_ONCE, ({ account }) => this.#makeRoom(account));
      for (let start = 0; start < entries.length; start += IMPORT_BATCH) {
        await this.#createBatch(entries.slice(start, start + IMPORT_BATCH));
      }
    });
  }

  /** Replaces the password. Rejects with `MORENDO_ACCOUNT_UNKNOWN` or `MORENDO_PASSWORD_INVALID`. */
  async setPassword(account: Jid, password: string): Promise<void> {
    checkPassword(account, password);
    await this.#exclusively([account.toString()], async () => {
      if ((await this.#existing(account)) === undefined) throw unknown(account);
      await this.#store.put(ACCOUNTS, keyOf(account), await this.#newRecord(password));
      await this.#store.flushed();
    });
  }

  /** Removes an account and has everything else removed that is stored for it. Rejects with `MORENDO_ACCOUNT_UNKNOWN`. */
  async remove(account: Jid): Promise<void> {
    await this.#exclusively([account.toString()], async () => {
      const record = await this.#existing(account);
      if (record === undefined) throw unknown(account);
      this.#removals++;
      this.#known.get(account.domain)?.delete(account.local);
      // First of all it must not exist for anybody; a crash after this leaves a mark, and the rest is done by whoever
      // makes an account of the same name: it must not inherit anything.
      await this.#store.put(ACCOUNTS, keyOf(account), { ...record, removing: true });
      await this.#store.flushed();
      await this.#finishRemoval(account);
    });
  }

  /** Yields the accounts, of one domain or of all, in order. Reads page by page: what changes meanwhile may be seen or not. */
  async *list(domain?: string): AsyncGenerator<Jid> {
    const prefix = domain === undefined ? [] : [domain];
    let after: readonly (string | number)[] | undefined;
    for (;;) {
      const page = await this.#store.range(ACCOUNTS, prefix, PAGE, after);
      for (const [key, value] of page) {
        const [host, local] = key;
        if (!isRemoving(value)) yield Jid.of(String(local), String(host));
      }
      if (page.length < PAGE) return;
      after = page.at(-1)?.[0];
    }
  }

  /** Returns why a password cannot be used, or undefined. */
  passwordProblem(password: string): string | undefined {
    return passwordProblem(password);
  }

  async credentials(name: string, domain: string, hash: ScramHash): Promise<Credentials | undefined> {
    const user = prepareLocalpart(name);
    if (user === undefined) return undefined;
    // Decoys are made for everybody, so that the time does not tell who is known.
    this.#decoySecret ??= this.#loadDecoySecret().catch((thrown: unknown) => {
      this.#decoySecret = undefined;
      throw thrown;
    });
    const decoy = decoyKeys(hash, await this.#decoySecret, `${user}@${domain}`, this.#iterations);
    const record = asRecord(await this.#store.get(ACCOUNTS, [domain, user]));
    if (record === undefined) return { user, keys: decoy, known: false };
    return { user, keys: readKeys(record.scram[hash]), known: true };
  }

  passwordFits(password: string, keys: ScramKeys): Promise<boolean> {
    return this.#plain.fits(password, keys);
  }

  async #lookUp(local: string, domain: string): Promise<boolean> {
    const removals = this.#removals;
    const exists = asRecord(await this.#store.get(ACCOUNTS, [domain, local])) !== undefined;
    if (exists && removals === this.#removals) this.#remember(local, domain);
    return exists;
  }

  #remember(local: string, domain: string): void {
    let known = this.#known.get(domain);
    if (known === undefined) {
      known = new BoundedCache(KNOWN);
      this.#known.set(domain, known);
    }
    known.set(local, true);
  }

  async #existing(account: Jid): Promise<AccountRecord | undefined> {
    return asRecord(await this.#store.get(ACCOUNTS, keyOf(account)));
  }

  /** Rejects when the account exists; finishes its removal when that was cut short. */
  async #makeRoom(account: Jid): Promise<void> {
    const value = await this.#store.get(ACCOUNTS, keyOf(account));
    if (value === undefined) return;
    if (!isRemoving(value)) throw alreadyExists(account);
    await this.#finishRemoval(account);
  }

  async #finishRemoval(account: Jid): Promise<void> {
    await this.#removed(account);
    await this.#store.delete(ACCOUNTS, keyOf(account));
    await this.#store.flushed();
  }

  async #createBatch(entries: readonly NewAccount[]): Promise<void> {
    const writes: Write[] = [];
    await inParallel(entries, IMPORT_AT_ONCE, async ({ account, password, writes: others = [] }) => {
      const value = await this.#newRecord(password);
      writes.push({ op: "put", collection: ACCOUNTS, key: keyOf(account), value }, ...others);
    });
    await this.#store.batch(writes);
    await this.#store.flushed();
    for (const { account } of entries) this.#remember(account.local, account.domain);
  }

  async #newRecord(password: string): Promise<{ readonly scram: AccountRecord["scram"] }> {
    return {
      scram: { "SHA-1": await this.#newKeys("SHA-1", password), "SHA-256": await this.#newKeys("SHA-256", password) },
    };
  }

  async #newKeys(hash: ScramHash, password: string): Promise<KeysRecord> {
    const cost = { salt: this.#random.bytes(SALT_BYTES), iterations: this.#iterations };
    const { salt, iterations, storedKey, serverKey } = await deriveKeys(hash, preparePassword(password) ?? "", cost);
    const text = (bytes: Buffer): string => bytes.toString("base64");
    return { salt: text(salt), iterations, storedKey: text(storedKey), serverKey: text(serverKey) };
  }

  /** It outlives the process: salts that change at a restart would give the unknown names away. */
  async #loadDecoySecret(): Promise<Buffer> {
    const stored = await this.#store.get(SERVER, DECOY_SECRET);
    if (typeof stored === "string") return Buffer.from(stored, "base64");
    const secret = this.#random.bytes(SECRET_BYTES);
    await this.#store.put(SERVER, DECOY_SECRET, secret.toString("base64"));
    return secret;
  }

  /** Runs `work` when no other change of the named accounts is under way. */
  async #exclusively(names: readonly string[], work: () => Promise<void>): Promise<void> {
    const before = names.flatMap((name) => this.#locks.get(name) ?? []);
    const done = Promise.all(before).then(work);
    const settled = done.catch(() => undefined);
    for (const name of names) this.#locks.set(name, settled);
    try {
      await done;
    } finally {
      for (const name of names) {
        if (this.#locks.get(name) === settled) this.#locks.delete(name);
      }
    }
  }
}

function keyOf(account: Jid): readonly [string, string] {
  return [account.domain, account.local];
}

function checkName(account: Jid): void {
  if (account.local !== "" && !account.isFull) return;
  const message = `${account.toString()} cannot be an account: it is not of the form name@domain.`;
  throw new MorendoError("MORENDO_ACCOUNT_NAME", message);
}

function checkPassword(account: Jid, password: string): void {
  const problem = passwordProblem(password);
  if (problem === undefined) return;
  throw new MorendoError("MORENDO_PASSWORD_INVALID", `No password for ${account.toString()}: ${problem}.`);
}

function passwordProblem(password: string): string | undefined {
  if (password === "") return "the password is empty";
  if (preparePassword(password) !== undefined) return undefined;
  return "the password is too long or has characters that are not allowed";
}

function alreadyExists(account: Jid): MorendoError {
  return new MorendoError("MORENDO_ACCOUNT_EXISTS", `The account ${account.toString()} exists already.`);
}

function unknown(account: Jid): MorendoError {
  return new MorendoError("MORENDO_ACCOUNT_UNKNOWN", `There is no account ${account.toString()}.`);
}

function isRemoving(value: Value | undefined): boolean {
  return (value as AccountRecord | undefined)?.removing === true;
}

/** Returns a stored account; undefined when there is none or it is being removed. */
function asRecord(value: Value | undefined): AccountRecord | undefined {
  return value === undefined || isRemoving(value) ? undefined : (value as unknown as AccountRecord);
}

function readKeys(record: KeysRecord): ScramKeys {
  const bytes = (text: string): Buffer => Buffer.from(text, "base64");
  return {
    salt: bytes(record.salt),
    iterations: record.iterations,
    storedKey: bytes(record.storedKey),
    serverKey: bytes(record.serverKey),
  };
}

/** Does `work` for every item, at most `limit` at a time; rejects with the first error, when none is at work any more. */
async function inParallel<Item>(
  items: readonly Item[],
  limit: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failed: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    while (next < items.length && failed === undefined) {
      const item = items[next++] as Item;
      try {
        await work(item);
      } catch (error) {
        failed ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failed !== undefined) throw failed.error;
}
