// The grammar of the client's SCRAM messages (RFC 5802 §7). Undefined means that a message is not what the grammar says.

import { decodeBase64 } from "./payload.ts";

/** The client's first message. */
export interface ClientFirst {
  /** Channel binding: `n` not supported, `y` supported but not seen offered, `p` used. */
  readonly flag: "n" | "y" | "p";
  /** The kind of channel binding that is used. */
  readonly bindingType: string | undefined;
  readonly authzid: string;
  /** Everything before `bare`, as it was sent. */
  readonly gs2Header: string;
  readonly bare: string;
  readonly name: string;
  readonly nonce: string;
}

/** The client's last message. */
export interface ClientFinal {
  /** The GS2 header and what the client bound to, as bytes. */
  readonly channelBinding: Buffer;
  readonly nonce: string;
  readonly proof: Buffer;
  readonly withoutProof: string;
}

const GS2 = /^(?:([ny])|p=([A-Za-z0-9.-]+)),(?:a=([^,\0]+))?,/;
// A mandatory extension (`m=`) may only stand at the beginning, where this does not allow it: none is supported.
const FIRST_BARE = /^n=([^,\0]+),r=([\x21-\x2B\x2D-\x7E]+)((?:,[A-Za-z]=[^,\0]+)*)$/;
const FINAL = /^(c=([A-Za-z0-9+/=]+),r=([\x21-\x2B\x2D-\x7E]+)(?:,[A-Za-z]=[^,\0]+)*),p=([A-Za-z0-9+/=]+)$/;

/** Reads the client's first message. */
export function parseClientFirst(message: string): ClientFirst | undefined {
  const header = GS2.exec(message);
  if (header === null) return undefined;
  const [gs2Header, flag, bindingType, saslAuthzid = ""] = header;
  const bare = message.slice(gs2Header.length);
  const [, saslName, nonce] = FIRST_BARE.exec(bare) ?? [];
  const name = decodeName(saslName ?? "");
  const authzid = decodeName(saslAuthzid);
  if (name === undefined || name === "" || nonce === undefined || authzid === undefined) return undefined;
  return { flag: flag === "n" || flag === "y" ? flag : "p", bindingType, authzid, gs2Header, bare, name, nonce };
}

/** Reads the client's last message. */
export function parseClientFinal(message: string): ClientFinal | undefined {
  const [, withoutProof, binding, nonce, proofText] = FINAL.exec(message) ?? [];
  const channelBinding = decodeBase64(binding ?? "");
  const proof = decodeBase64(proofText ?? "");
  if (withoutProof === undefined || nonce === undefined || channelBinding === undefined || proof === undefined) {
    return undefined;
  }
  return { channelBinding, nonce, proof, withoutProof };
}

/** Undoes the escapes of a name: `=2C` is a comma, `=3D` an equals sign, and nothing else begins with one. */
function decodeName(text: string): string | undefined {
  if (/=(?!2C|3D)/.test(text)) return undefined;
  return text.replaceAll("=2C", ",").replaceAll("=3D", "=");
}
