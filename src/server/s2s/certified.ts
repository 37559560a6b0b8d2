// Whether what TLS found out about a peer proves that it speaks for a domain (RFC 6120 §13.7.1, RFC 6125): the chain
// leads to a root we trust, and one of the certificate's names is the domain's.

import type { TlsInfo } from "../../net/transport.ts";

const SRV_PREFIX = "_xmpp-server.";

/** Tells whether the peer's certificate is valid for `domain`, which is prepared. False without TLS. */
export function isCertifiedFor(tls: TlsInfo | undefined, domain: string): boolean {
  return tls?.chainTrusted === true && tls.peerNames.some((name) => covers(name.toLowerCase(), domain));
}

function covers(name: string, domain: string): boolean {
  if (name === domain || name === SRV_PREFIX + domain) return true;
  // RFC 6125 §6.4.3: a wildcard stands for the whole leftmost label and for nothing else.
  if (!name.startsWith("*.")) return false;
  const dot = domain.indexOf(".");
  return dot > 0 && domain.slice(dot) === name.slice(1);
}
