// Identity by TLS certificate between servers, on which EXTERNAL rests: which domains a certificate is for (RFC 6125,
// RFC 6120 §13.7, XEP-0178). Not for: the exchange itself, which is one message and belongs to the stream.

import { domainToASCII } from "node:url";

/** The part of a TLS session that says who the peer is. */
export interface PeerCertificate {
  /** The chain leads to a trusted root. */
  readonly chainTrusted: boolean;
  /** DNS names (wildcards as they stand), SRV-IDs (`_xmpp-server.` and a domain) and XmppAddrs. */
  readonly peerNames: readonly string[];
}

/** No domain is longer; what the system does to longer ones takes quadratic time. */
const MAX_NAME = 1023;
const SERVICE = "_xmpp-server.";

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
  if (plain.length > MAX_NAME) return undefined;
  if (/^[a-z0-9_.-]+$/i.test(plain)) return plain.toLowerCase();
  // The system's function drops or cuts at some of these characters; no domain has them.
  if (/[\0-,/:-@[-^`{-\x7F]/.test(plain)) return plain.startsWith("[") ? plain : undefined;
  return domainToASCII(plain) || undefined;
}
