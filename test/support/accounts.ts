// The accounts and rosters a server under test starts with, and their passwords the way Prosody and ejabberd store them.

import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

/** The password of every test account. */
export const PASSWORD = "an old pond, a frog";

/** One contact of an account. */
export interface Contact {
  readonly jid: string;
  readonly subscription: "both" | "to" | "from" | "none";
}

/** One account; its password is `PASSWORD`. */
export interface Account {
  readonly username: string;
  readonly roster?: readonly Contact[];
}

/** The stored form of `PASSWORD` for SCRAM-SHA-1 (RFC 5802 §3). */
export interface StoredPassword {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** Computes the stored form of `PASSWORD`; all accounts of a server share it, which a test network can afford. */
export function storedPassword(iterations: number): StoredPassword {
  const salt = Buffer.from("c2FsdCBvZiB0ZXN0cw");
  const salted = pbkdf2Sync(PASSWORD, salt, iterations, 20, "sha1");
  const clientKey = createHmac("sha1", salted).update("Client Key").digest();
  return {
    salt,
    iterations,
    storedKey: createHash("sha1").update(clientKey).digest(),
    serverKey: createHmac("sha1", salted).update("Server Key").digest(),
  };
}
