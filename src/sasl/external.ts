// Identity by TLS certificate between servers: which domains a certificate is for (RFC 6125, RFC 6120 §13.7, XEP-0178),
// and the server's side of the EXTERNAL mechanism that rests on it (RFC 4422 appendix A).

import { domainToASCII } from "node:url";
import { failure, readMessage, type SaslServer, type SaslStep } from "./sasl-server.ts";

/** The part of a TLS session that says who the peer is. */
export interface PeerCertificate {
  /** The chain leads to a trusted root. */
  readonly chainTrusted: boolean;
  /** DNS names (wildcards as they stand), SRV-IDs (`_xmpp-server.` and a domain) and XmppAddrs. */
  readonly peerNames: readonly string[];
}

const SERVICE = "_xmpp-server.";
const EMPTY = Buffer.alloc(0);

/** Tells whether the peer showed a trusted certificate that is for `domain` as an XMPP server. */
export function certificateNames(certificate: PeerCertificate | undefined, domain: string): boolean {
  if (certificate?.chainTrusted !== true) return false;
  const wanted = normalise(domain);
  return wanted !== undefined && certificate.peerNames.some((name) => nameCovers(name, wanted));
}

function nameCovers(name: string, wanted: string): boolean {
  const text = name.toLowerCase();
  if (text.startsWith(SERVICE)) return normalise(text.slice(SERVICE.length)) === wanted;
  // RFC 6125 §6.4.3: a wildcard is the whole of the leftmost label, and stands for exactly one label.
  if (!text.startsWith("*.")) return normalise(text) === wanted;
  const dot = wanted.indexOf(".");
  return dot > 0 && normalise(text.slice(2)) === wanted.slice(dot + 1);
}

/** Certificates have A-labels, addresses have U-labels: both become A-labels. */
function normalise(name: string): string | undefined {
  const plain = name.endsWith(".") ? name.slice(0, -1) : name;
  if (/^[a-z0-9_.-]+$/i.test(plain)) return plain.toLowerCase();
  // The system's function drops or cuts at some of these characters; no domain has them.
  if (/[\0-,/:-@[-^`{-\x7F]/.test(plain)) return plain.startsWith("[") ? plain : undefined;
  return domainToASCII(plain) || undefined;
}

/** What an exchange is about. */
export interface ExternalOptions {
  readonly certificate: PeerCertificate | undefined;
  /** The `from` of the peer's stream header, prepared; undefined when it had none. */
  readonly from: string | undefined;
  /** Returns the prepared form of a domain, undefined when it is none. */
  readonly prepareDomain: (text: string) => string | undefined;
}

/** One EXTERNAL exchange. The peer may name its domain again; it must be the one its stream is from (XEP-0178 §3). */
export class ExternalServer implements SaslServer {
  #options: ExternalOptions;
  #prompted = false;

  constructor(options: ExternalOptions) {
    this.#options = options;
  }

  step(data: Buffer | undefined): SaslStep {
    if (data === undefined && !this.#prompted) {
      this.#prompted = true;
      return { kind: "challenge", data: EMPTY };
    }
    const { certificate, from, prepareDomain } = this.#options;
    const authzid = data === undefined ? undefined : readMessage(data);
    if (authzid === undefined || authzid.includes("\0")) return failure("malformed-request");
    const domain = authzid === "" ? from : prepareDomain(authzid);
    if (domain === undefined || (from !== undefined && domain !== from)) return failure("invalid-authzid");
    if (!certificateNames(certificate, domain)) return failure("not-authorized");
    return { kind: "success", user: domain };
  }
}
