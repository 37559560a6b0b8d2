// Makes a self-signed certificate, so that a new installation has TLS from its first start. Not for: anything that has to
// be trusted by strangers.

import { generateKeyPair } from "node:crypto";
import { domainToASCII } from "node:url";
import { promisify } from "node:util";
import type { Clock } from "../util/clock.ts";
import type { Random } from "../util/random.ts";
import { signCertificate } from "./certificate.ts";

const DAY_MS = 86_400_000;
const TEN_YEARS_MS = 3_652 * DAY_MS;

/** A certificate and its private key as PEM texts. */
export interface PemPair {
  readonly certificate: string;
  readonly key: string;
}

/** Makes a certificate for `names`, the first of which is its common name: ECDSA on P-256, good for ten years. */
export async function makeSelfSigned(
  names: readonly string[],
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<PemPair> {
  const keys = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
  const commonName = names[0] ?? "localhost";
  const now = clock.wallTime();
  const certificate = signCertificate({
    subject: commonName,
    issuer: commonName,
    serialNumber: random.bytes(16),
    // A day early, for peers whose clock is behind.
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + TEN_YEARS_MS),
    publicKey: keys.publicKey,
    issuerPublicKey: keys.publicKey,
    signingKey: keys.privateKey,
    isAuthority: false,
    dnsNames: names.map((name) => domainToASCII(name) || name),
  });
  return { certificate, key: keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}
