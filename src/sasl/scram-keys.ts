// The arithmetic of SCRAM (RFC 5802 §3, RFC 7677): from a password to the keys that are stored, and the checks made with
// them. Not for: the exchange of messages, see scram.ts.

import { createHash, createHmac, pbkdf2, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { saslprep } from "@mongodb-js/saslprep";
import type { ScramHash, ScramKeys } from "./sasl-server.ts";

const derive = promisify(pbkdf2);
const DIGEST: Record<ScramHash, { readonly name: string; readonly bytes: number }> = {
  "SHA-1": { name: "sha1", bytes: 20 },
  "SHA-256": { name: "sha256", bytes: 32 },
};
const PLAIN_ASCII = /^[ -~]+$/;
/** SASLprep and the key derivation take time that grows with the password. */
const MAX_PASSWORD = 1024;

/** Returns a password as it goes into the keys (SASLprep, RFC 4013); undefined when it is empty, too long or not allowed. */
export function preparePassword(password: string): string | undefined {
  if (password.length > MAX_PASSWORD) return undefined;
  if (PLAIN_ASCII.test(password)) return password;
  try {
    const prepared = saslprep(password);
    return prepared === "" ? undefined : prepared;
  } catch {
    // The library has no other way to say that a character is not allowed.
    return undefined;
  }
}

/** Computes the keys of a prepared password, off the main thread. */
export async function deriveKeys(
  hash: ScramHash,
  prepared: string,
  { salt, iterations }: Pick<ScramKeys, "salt" | "iterations">,
): Promise<ScramKeys> {
  const digest = DIGEST[hash];
  const salted = await derive(prepared, salt, iterations, digest.bytes, digest.name);
  return {
    salt,
    iterations,
    storedKey: digestOf(hash, hmac(hash, salted, "Client Key")),
    serverKey: hmac(hash, salted, "Server Key"),
  };
}

/** Returns keys that no password fits, always the same for a name as long as the secret is, so that nobody can tell them from real ones. */
export function decoyKeys(hash: ScramHash, secret: Buffer, name: string, iterations: number): ScramKeys {
  const piece = (what: string): Buffer => createHmac("sha256", secret).update(`${what}\0${hash}\0${name}`).digest();
  const { bytes } = DIGEST[hash];
  return {
    salt: piece("salt").subarray(0, SALT_BYTES),
    iterations,
    storedKey: piece("stored").subarray(0, bytes),
    serverKey: piece("server").subarray(0, bytes),
  };
}

/** The length of a salt: real ones and decoys must not differ. */
export const SALT_BYTES = 16;

/** Tells whether `proof` belongs to the keys and to what was said; takes the same time whatever the answer. */
export function proofFits(hash: ScramHash, keys: ScramKeys, authMessage: string, proof: Buffer): boolean {
  if (proof.length !== DIGEST[hash].bytes) return false;
  const signature = hmac(hash, keys.storedKey, authMessage);
  const clientKey = Buffer.from(proof.map((byte, index) => byte ^ (signature[index] ?? 0)));
  return sameBytes(digestOf(hash, clientKey), keys.storedKey);
}

/** Returns the server's own proof that it knows the keys. */
export function serverSignature(hash: ScramHash, keys: ScramKeys, authMessage: string): Buffer {
  return hmac(hash, keys.serverKey, authMessage);
}

/** Compares without telling by the time it takes where the difference is; the lengths are no secret. */
export function sameBytes(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

function hmac(hash: ScramHash, key: Buffer, text: string): Buffer {
  return createHmac(DIGEST[hash].name, key).update(text).digest();
}

function digestOf(hash: ScramHash, data: Buffer): Buffer {
  return createHash(DIGEST[hash].name).update(data).digest();
}
