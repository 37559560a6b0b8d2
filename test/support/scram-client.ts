// The client's half of SCRAM, step by step and with every field open to tampering, to test how a server takes what an
// honest client never sends. Honest logins of whole tests: src/testing/sasl-client.ts.

import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

export interface ScramClientOptions {
  readonly hash: "SHA-1" | "SHA-256";
  readonly name: string;
  readonly password: string;
  readonly nonce?: string;
  /** Such as `n,,` (the default), `y,,` or `p=tls-exporter,,`. */
  readonly gs2Header?: string;
  /** What the client binds to. */
  readonly binding?: Buffer;
}

/** Replaces fields of the last message. */
export interface Tampering {
  readonly channelBinding?: string;
  readonly nonce?: string;
  readonly proof?: string;
  readonly extension?: string;
}

/** One exchange; the messages are those of RFC 5802 §7, without base64 around them. */
export class ScramClient {
  readonly first: string;
  #options: ScramClientOptions;
  #bare: string;
  #serverSignature = "";

  constructor(options: ScramClientOptions) {
    this.#options = options;
    const name = options.name.replaceAll("=", "=3D").replaceAll(",", "=2C");
    this.#bare = `n=${name},r=${options.nonce ?? "fyko+d2lbbFgONRv9qkxdawL"}`;
    this.first = (options.gs2Header ?? "n,,") + this.#bare;
  }

  /** Returns the last message, the answer to the server's first. */
  final(serverFirst: string, tampering: Tampering = {}): string {
    const { hash, password, gs2Header = "n,,", binding = Buffer.alloc(0) } = this.#options;
    const digest = hash === "SHA-1" ? "sha1" : "sha256";
    const hmac = (key: Buffer, text: string): Buffer => createHmac(digest, key).update(text).digest();
    const [, nonce = "", salt = "", iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst) ?? [];
    const length = hash === "SHA-1" ? 20 : 32;
    const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), Number(iterations), length, digest);
    const bound = Buffer.concat([Buffer.from(gs2Header), binding]).toString("base64");
    const withoutProof = `c=${tampering.channelBinding ?? bound},r=${tampering.nonce ?? nonce}${tampering.extension ?? ""}`;
    const authMessage = `${this.#bare},${serverFirst},${withoutProof}`;
    const clientKey = hmac(salted, "Client Key");
    const signature = hmac(createHash(digest).update(clientKey).digest(), authMessage);
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0))).toString("base64");
    this.#serverSignature = hmac(hmac(salted, "Server Key"), authMessage).toString("base64");
    return `${withoutProof},p=${tampering.proof ?? proof}`;
  }

  /** Tells whether the server's last message proves that it knows the keys. */
  accepts(serverFinal: string): boolean {
    return serverFinal === `v=${this.#serverSignature}`;
  }
}
