// What a SASL mechanism looks like to the stream that speaks it: messages in, steps out. Mechanisms know nothing of XML,
// sockets or the store; base64 and the elements around it belong to the stream.

/** The conditions of RFC 6120 §6.5 that a server sends. */
export type SaslCondition =
  | "aborted"
  | "account-disabled"
  | "credentials-expired"
  | "encryption-required"
  | "incorrect-encoding"
  | "invalid-authzid"
  | "invalid-mechanism"
  | "malformed-request"
  | "mechanism-too-weak"
  | "not-authorized"
  | "temporary-auth-failure";

/** What the server does next. After a success or failure the exchange is over. */
export type SaslStep =
  | { readonly kind: "challenge"; readonly data: Buffer }
  /** `user` is the prepared localpart (EXTERNAL: the domain) that may now speak. */
  | { readonly kind: "success"; readonly data?: Buffer; readonly user: string }
  | { readonly kind: "failure"; readonly condition: SaslCondition };

/** One exchange, from the server's side. */
export interface SaslServer {
  /**
   * Takes the client's next message; undefined when it began without one. Call it again only when the promise of the
   * step before has resolved. A promise that rejects means that credentials could not be read: `temporary-auth-failure`.
   */
  step(data: Buffer | undefined): SaslStep | Promise<SaslStep>;
}

/** The hash functions of SCRAM. */
export type ScramHash = "SHA-1" | "SHA-256";

/** What the server keeps instead of a password (RFC 5802 §3). It proves a password and cannot be turned back into one. */
export interface ScramKeys {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** What is known about a login name. */
export interface Credentials {
  /** The name in its prepared form, whether or not there is such an account. */
  readonly user: string;
  /** The keys; for an account that does not exist keys that no password fits, the same each time it is asked for. */
  readonly keys: ScramKeys;
  /** False when the keys are such a decoy. */
  readonly known: boolean;
}

/** Where mechanisms find the keys of accounts. */
export interface CredentialSource {
  /** Looks up a login name as the client sent it. Undefined when it cannot be the name of an account. */
  credentials(name: string, domain: string, hash: ScramHash): Promise<Credentials | undefined>;
  /** Tells whether a password fits the keys, which are those of SHA-256. */
  passwordFits(password: string, keys: ScramKeys): Promise<boolean>;
}

/** The longest message a mechanism looks at, in bytes: room for a name of 1023 bytes with every character escaped, twice. */
export const MAX_SASL_MESSAGE = 10_000;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Returns a message as text; undefined when it is too long or not UTF-8. */
export function readMessage(data: Buffer): string | undefined {
  if (data.length > MAX_SASL_MESSAGE) return undefined;
  try {
    return utf8.decode(data);
  } catch {
    // The decoder has no other way to say that the bytes are not UTF-8.
    return undefined;
  }
}

/** Returns the step that ends an exchange without success. */
export function failure(condition: SaslCondition): SaslStep {
  return { kind: "failure", condition };
}

/** Tells whether the identity a client wants to act as (RFC 6120 §6.3.8) is none but its own. */
export function isOwnIdentity(authzid: string, name: string, user: string, domain: string): boolean {
  if (authzid === "" || authzid === name || authzid === user) return true;
  const at = authzid.lastIndexOf("@");
  const local = authzid.slice(0, Math.max(0, at));
  return (local === name || local === user) && authzid.slice(at + 1).toLowerCase() === domain;
}
