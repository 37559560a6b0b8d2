// The server's side of PLAIN (RFC 4616): the password comes as it is, so this is for encrypted streams only. It is checked
// against the SCRAM keys that are stored.

import { createHmac } from "node:crypto";
import { BoundedCache } from "../util/bounded-cache.ts";
import type { Random } from "../util/random.ts";
import {
  type CredentialSource,
  failure,
  isOwnIdentity,
  readMessage,
  type SaslServer,
  type SaslStep,
  type ScramKeys,
} from "./sasl-server.ts";
import { deriveKeys, preparePassword, sameBytes } from "./scram-keys.ts";

const EMPTY = Buffer.alloc(0);
const HASH = "SHA-256";
const REMEMBERED = 10_000;

/**
 * Remembers which passwords were right, so that a client that logs in again does not cost a key derivation each time.
 * What is kept is an HMAC under a key that lives as long as the process. The price: whoever can read this process's
 * memory can try passwords against it faster than against the stored keys; such a reader sees the passwords of PLAIN
 * logins go by anyway. The stored key is part of what is hashed, so a changed password is not remembered.
 */
export class PlainVerifier {
  #secret: Buffer;
  #right: BoundedCache<string, true> | undefined;

  /** With `remembered` 0 every login is computed anew. */
  constructor(random: Pick<Random, "bytes">, remembered = REMEMBERED) {
    this.#secret = random.bytes(32);
    this.#right = remembered > 0 ? new BoundedCache(remembered) : undefined;
  }

  /** Tells whether a password fits the keys; takes a key derivation, off the main thread, unless it is remembered. */
  async fits(password: string, keys: ScramKeys): Promise<boolean> {
    const prepared = preparePassword(password);
    // A password that is not allowed is no reason to answer sooner.
    const tried = prepared ?? "";
    const digest = createHmac("sha256", this.#secret)
      .update(keys.storedKey)
      .update(keys.salt)
      .update(tried)
      .digest("base64");
    if (this.#right?.get(digest) === true) return true;
    const { storedKey } = await deriveKeys(HASH, tried, keys);
    const fits = sameBytes(storedKey, keys.storedKey) && prepared !== undefined;
    if (fits) this.#right?.set(digest, true);
    return fits;
  }
}

/** What an exchange is about. */
export interface PlainOptions {
  /** The domain the account is on. */
  readonly domain: string;
  readonly source: CredentialSource;
}

/** One PLAIN exchange. */
export class PlainServer implements SaslServer {
  #options: PlainOptions;
  #prompted = false;

  constructor(options: PlainOptions) {
    this.#options = options;
  }

  step(data: Buffer | undefined): SaslStep | Promise<SaslStep> {
    if (data === undefined && !this.#prompted) {
      this.#prompted = true;
      return { kind: "challenge", data: EMPTY };
    }
    const fields = data === undefined ? undefined : readMessage(data)?.split("\0");
    const [authzid, name, password] = fields ?? [];
    if (fields?.length !== 3 || authzid === undefined || !name || !password) return failure("malformed-request");
    return this.#check(authzid, name, password);
  }

  async #check(authzid: string, name: string, password: string): Promise<SaslStep> {
    const { domain, source } = this.#options;
    const credentials = await source.credentials(name, domain, HASH);
    if (credentials === undefined) return failure("not-authorized");
    const fits = await source.passwordFits(password, credentials.keys);
    if (!fits || !credentials.known) return failure("not-authorized");
    if (!isOwnIdentity(authzid, name, credentials.user, domain)) return failure("invalid-authzid");
    return { kind: "success", user: credentials.user };
  }
}
