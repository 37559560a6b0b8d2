// The server's side of SCRAM-SHA-1 and SCRAM-SHA-256, with and without channel binding (RFC 5802, RFC 7677; tls-exporter,
// RFC 9266). A name without an account goes through the same steps with decoy keys and fails where a wrong password does.

import type { Random } from "../util/random.ts";
import {
  type CredentialSource,
  type Credentials,
  failure,
  isOwnIdentity,
  readMessage,
  type SaslServer,
  type SaslStep,
  type ScramHash,
} from "./sasl-server.ts";
import { proofFits, sameBytes, serverSignature } from "./scram-keys.ts";
import { parseClientFinal, parseClientFirst } from "./scram-messages.ts";

/** The one kind of channel binding there is here. */
export const CHANNEL_BINDING_TYPE = "tls-exporter";

/** What an exchange is about. */
export interface ScramOptions {
  readonly hash: ScramHash;
  /** True for the -PLUS mechanism: the client must bind to the channel. */
  readonly plus: boolean;
  /** Whether a -PLUS mechanism was offered: a client that says it was not has been lied to on the way. */
  readonly plusOffered: boolean;
  /** The tls-exporter value of this connection; needed when `plus` is set. */
  readonly binding: Buffer | undefined;
  /** The domain the account is on. */
  readonly domain: string;
  readonly source: CredentialSource;
  readonly random: Pick<Random, "bytes">;
}

const NONCE_BYTES = 18;
const EMPTY = Buffer.alloc(0);

interface Begun {
  readonly gs2Header: string;
  readonly clientFirstBare: string;
  readonly serverFirst: string;
  readonly nonce: string;
  readonly credentials: Credentials;
}

/** One SCRAM exchange. */
export class ScramServer implements SaslServer {
  #options: ScramOptions;
  #begun: Begun | undefined;
  #prompted = false;
  #over = false;

  constructor(options: ScramOptions) {
    this.#options = options;
  }

  step(data: Buffer | undefined): SaslStep | Promise<SaslStep> {
    if (this.#over) return failure("malformed-request");
    if (data === undefined && this.#begun === undefined && !this.#prompted) {
      // RFC 6120 §6.4.2: the client must speak first, and is asked to with an empty challenge when it did not.
      this.#prompted = true;
      return { kind: "challenge", data: EMPTY };
    }
    const message = data === undefined ? undefined : readMessage(data);
    if (message === undefined) return this.#end(failure("malformed-request"));
    return this.#begun === undefined ? this.#first(message) : this.#end(this.#final(message, this.#begun));
  }

  async #first(message: string): Promise<SaslStep> {
    const { plus, plusOffered, binding, domain, hash, source, random } = this.#options;
    const first = parseClientFirst(message);
    if (first === undefined) return this.#end(failure("malformed-request"));
    if (plus ? binding === undefined || first.bindingType !== CHANNEL_BINDING_TYPE : first.bindingType !== undefined) {
      return this.#end(failure(plus ? "not-authorized" : "malformed-request"));
    }
    // RFC 5802 §6: the client would have bound, had it seen the offer; somebody took the offer out.
    if (first.flag === "y" && plusOffered) return this.#end(failure("not-authorized"));
    const credentials = await source.credentials(first.name, domain, hash);
    if (credentials === undefined) return this.#end(failure("not-authorized"));
    if (!isOwnIdentity(first.authzid, first.name, credentials.user, domain)) {
      return this.#end(failure("invalid-authzid"));
    }
    const nonce = first.nonce + random.bytes(NONCE_BYTES).toString("base64");
    const { salt, iterations } = credentials.keys;
    const serverFirst = `r=${nonce},s=${salt.toString("base64")},i=${iterations}`;
    this.#begun = { gs2Header: first.gs2Header, clientFirstBare: first.bare, serverFirst, nonce, credentials };
    return { kind: "challenge", data: Buffer.from(serverFirst) };
  }

  #final(message: string, begun: Begun): SaslStep {
    const { hash, plus, binding } = this.#options;
    const { keys, known, user } = begun.credentials;
    const final = parseClientFinal(message);
    if (final === undefined) return failure("malformed-request");
    const expected = Buffer.concat([Buffer.from(begun.gs2Header), plus ? (binding ?? EMPTY) : EMPTY]);
    const authMessage = `${begun.clientFirstBare},${begun.serverFirst},${final.withoutProof}`;
    // All is computed before anything is said, so that an attacker cannot tell by the clock which check failed.
    const proved = proofFits(hash, keys, authMessage, final.proof);
    const sameChannel = sameBytes(final.channelBinding, expected);
    const sameNonce = sameBytes(Buffer.from(final.nonce), Buffer.from(begun.nonce));
    if (!proved || !known || !sameChannel || !sameNonce) return failure("not-authorized");
    const data = Buffer.from(`v=${serverSignature(hash, keys, authMessage).toString("base64")}`);
    return { kind: "success", data, user };
  }

  #end(step: SaslStep): SaslStep {
    this.#over = true;
    return step;
  }
}
