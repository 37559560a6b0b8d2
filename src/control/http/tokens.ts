// Who may ask by HTTP: the token with all rights, made in the data folder at the first start, and those of the
// configuration with rights of their own. Keeps no token, only its hash.

import { createHash, timingSafeEqual } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../../config/schema.ts";
import { asError, codeOf, MorendoError } from "../../util/errors.ts";
import type { Random } from "../../util/random.ts";

/** The file in the data folder that has the token with all rights. */
const OWN_FILE = "http-token";
const OWN_NAME = "operator";

const TOKEN_BYTES = 32;
const SHAPE = /^[\w.~+/=-]{24,512}$/;

/** Whoever presented a token. */
export interface TokenHolder {
  /** The name of the token. */
  readonly name: string;
  /** Tells whether the token has the right to an operation, or to the metrics. */
  may(right: string): boolean;
}

interface Known extends TokenHolder {
  readonly hash: Buffer;
}

/** What tokens are made of. */
export interface TokensOptions {
  readonly data: string;
  readonly tokens: Config["http"]["tokens"];
  readonly random: Random;
}

/** The tokens that are good. */
export class Tokens {
  #known: readonly Known[];

  /** Use `Tokens.load`. */
  private constructor(known: readonly Known[]) {
    this.#known = known;
  }

  /**
   * Reads the tokens, and makes the one with all rights when it is not there. Rejects with `MORENDO_HTTP_TOKEN` when one
   * cannot be read, is too short, or stands in a file that others can read.
   */
  static async load({ data, tokens, random }: TokensOptions): Promise<Tokens> {
    const own = ownTokenFile(data);
    await makeOwn(own, random);
    const known: Known[] = [{ name: OWN_NAME, hash: hashOf(await readToken(own, 0o077)), may: () => true }];
    for (const { name, token, token_file: file = "", allow } of tokens) {
      const rights = new Set<string>(allow);
      // A group may read it: that is how service managers and orchestrators hand out secrets.
      const text = token ?? (await readToken(file, 0o007));
      known.push({ name, hash: hashOf(text), may: (right) => rights.has(right) });
    }
    return new Tokens(known);
  }

  /** Those of `other` are good from now on, and no others. */
  replaceBy(other: Tokens): void {
    this.#known = other.#known;
  }

  /** Returns whose token this is. Takes the same time for a token that is nearly right and one that is not. */
  find(presented: string): TokenHolder | undefined {
    const hash = hashOf(presented);
    let found: TokenHolder | undefined;
    for (const one of this.#known) if (timingSafeEqual(one.hash, hash)) found ??= one;
    return found;
  }
}

/** Returns where the token with all rights is kept. */
export function ownTokenFile(data: string): string {
  return join(data, OWN_FILE);
}

/** Returns the token in `file`. Rejects with `MORENDO_HTTP_TOKEN` when one of the bits of `forbidden` is in the file's mode. */
export async function readToken(file: string, forbidden = 0o077): Promise<string> {
  let handle: FileHandle;
  try {
    handle = await open(file, "r");
  } catch (thrown) {
    const why = codeOf(thrown) === "ENOENT" ? "there is no such file" : asError(thrown).message;
    throw tokenError(file, `cannot be read: ${why}`);
  }
  try {
    const { mode } = await handle.stat();
    if ((mode & forbidden) !== 0) {
      throw tokenError(file, `can be read by others (mode ${(mode & 0o777).toString(8)}): make a new one, mode 600`);
    }
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(1024), length: 1024 });
    const token = buffer.toString("utf8", 0, bytesRead).trim();
    if (!SHAPE.test(token)) throw tokenError(file, "does not hold a token: 24 to 512 letters and digits are expected");
    return token;
  } finally {
    await handle.close();
  }
}

async function makeOwn(file: string, random: Random): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(file, "wx", 0o600);
  } catch (thrown) {
    if (codeOf(thrown) === "EEXIST") return;
    throw tokenError(file, `cannot be made: ${asError(thrown).message}`);
  }
  try {
    await handle.writeFile(`${random.bytes(TOKEN_BYTES).toString("base64url")}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function tokenError(file: string, why: string): MorendoError {
  return new MorendoError("MORENDO_HTTP_TOKEN", `HTTP token: ${file} ${why}`);
}
