// The client's half of PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677, RFC 9266), written apart from the server's so that
// one cannot hide the other's mistakes. For tests: it computes synchronously and does not prepare passwords.

import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from "node:crypto";
import { type Random, systemRandom } from "../util/random.ts";

/** The mechanisms a test client can use. */
export type ClientMechanism = "PLAIN" | "SCRAM-SHA-1" | "SCRAM-SHA-256" | "SCRAM-SHA-1-PLUS" | "SCRAM-SHA-256-PLUS";

/** One login attempt of a client. */
export interface SaslExchange {
  /** The first message, in base64. */
  readonly initial: string;
  /** Returns the answer to a challenge, both in base64. Throws when the challenge is not what the RFC says. */
  respond(challenge: string): string;
  /** Checks what came with `<success/>`, in base64; throws when the server did not prove that it knows the password. */
  verify(success: string): void;
}

/** What a login needs; `binding` is the tls-exporter value and only used by the -PLUS mechanisms. */
export interface SaslCredentials {
  readonly username: string;
  readonly password: string;
  readonly binding?: Buffer | undefined;
}

/** Starts a login. It blocks for the key derivation when a SCRAM challenge is answered. */
export function saslExchange(
  mechanism: ClientMechanism,
  credentials: SaslCredentials,
  random: Random = systemRandom,
): SaslExchange {
  if (mechanism === "PLAIN") return plain(credentials);
  const digest = mechanism.includes("256") ? "sha256" : "sha1";
  return scram(digest, mechanism.endsWith("-PLUS"), credentials, random.bytes(18).toString("base64"));
}

function plain({ username, password }: SaslCredentials): SaslExchange {
  return {
    initial: encode(`\0${username}\0${password}`),
    respond: () => {
      throw new Error("PLAIN has no challenge");
    },
    verify: () => undefined,
  };
}

function scram(digest: "sha1" | "sha256", plus: boolean, credentials: SaslCredentials, nonce: string): SaslExchange {
  const header = plus ? "p=tls-exporter,," : "n,,";
  const binding = plus ? Buffer.concat([Buffer.from(header), credentials.binding ?? Buffer.alloc(0)]) : header;
  const name = credentials.username.replaceAll("=", "=3D").replaceAll(",", "=2C");
  const bare = `n=${name},r=${nonce}`;
  let expected: Buffer | undefined;
  return {
    initial: encode(header + bare),
    respond(challenge) {
      const first = Buffer.from(challenge, "base64").toString();
      const fields = new Map(first.split(",").map((field) => [field.slice(0, 1), field.slice(2)]));
      const combined = fields.get("r") ?? "";
      if (!combined.startsWith(nonce)) throw new Error("the server's nonce does not extend ours");
      const salt = Buffer.from(fields.get("s") ?? "", "base64");
      const length = digest === "sha1" ? 20 : 32;
      const salted = pbkdf2Sync(credentials.password, salt, Number(fields.get("i")), length, digest);
      const clientKey = hmac(digest, salted, "Client Key");
      const final = `c=${Buffer.from(binding).toString("base64")},r=${combined}`;
      const message = `${bare},${first},${final}`;
      const signature = hmac(digest, createHash(digest).update(clientKey).digest(), message);
      const proof = clientKey.map((byte, index) => byte ^ (signature[index] ?? 0));
      expected = hmac(digest, hmac(digest, salted, "Server Key"), message);
      return encode(`${final},p=${Buffer.from(proof).toString("base64")}`);
    },
    verify(success) {
      const signature = Buffer.from(Buffer.from(success, "base64").toString().replace(/^v=/, ""), "base64");
      if (expected === undefined || signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
        throw new Error("the server's signature is wrong");
      }
    },
  };
}

function hmac(digest: string, key: Buffer, data: string): Buffer {
  return createHmac(digest, key).update(data).digest();
}

function encode(text: string): string {
  return Buffer.from(text).toString("base64");
}
