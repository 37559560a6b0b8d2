// SASL EXTERNAL on an inbound stream (XEP-0178): a peer is who its trusted certificate says it is. Not for: reading
// certificates (src/sasl/external.ts).

import type { TlsInfo } from "../../net/transport.ts";
import { certificateNames } from "../../sasl/external.ts";
import type { Element } from "../../xml/element.ts";
import { domainOf, SASL_NOT_NOW, SASL_REFUSED, SASL_SUCCESS, SASL_UNKNOWN } from "./elements.ts";

/** How often a peer may fail before the stream ends. */
const MAX_FAILURES = 3;

/** What the opening tag and the TLS session say of a peer. */
export interface Claim {
  /** The domain the peer says it is, and the host it says it wants. */
  readonly peer: string | undefined;
  readonly host: string | undefined;
  readonly tls: TlsInfo | undefined;
}

/** What came of a message of the peer: `text` is to be sent. */
export type ExternalResult =
  | { readonly kind: "success"; readonly peer: string; readonly host: string; readonly text: string }
  /** `isLast`: the stream is to end, the peer has failed too often. */
  | { readonly kind: "failure"; readonly isLast: boolean; readonly text: string }
  /** Not a message that may come now. */
  | { readonly kind: "out-of-order" };

/** The exchange on one stream. */
export class IncomingExternal {
  #done: Claim | undefined;
  #failures = 0;

  /** Whether a peer has been authenticated so. */
  get done(): boolean {
    return this.#done !== undefined;
  }

  /** Whether it is worth offering: the certificate would do. */
  isOffered({ peer, host, tls }: Claim): boolean {
    return !this.done && peer !== undefined && host !== undefined && certificateNames(tls, peer);
  }

  /** RFC 6120 §13.7.2: what EXTERNAL proved about one pair of domains, a later opening tag must not change. */
  contradicts({ peer, host }: Claim): boolean {
    return this.#done !== undefined && (peer !== this.#done.peer || host !== this.#done.host);
  }

  /** Takes a SASL element of the peer. `isRefused` tells whether nobody new is let in at present. */
  onElement(element: Element, claim: Claim, isRefused: (peer: string, host: string) => boolean): ExternalResult {
    if (this.done || element.getName() !== "auth") return { kind: "out-of-order" };
    if (element.attrs.mechanism !== "EXTERNAL") return this.#fail(SASL_UNKNOWN);
    const { peer, host } = claim;
    if (peer === undefined || host === undefined || !this.isOffered(claim)) return this.#fail(SASL_REFUSED);
    const text = element.getText().trim();
    // XEP-0178 §3: an empty name stands for the one in the header.
    const name = text === "" || text === "=" ? peer : domainOf(Buffer.from(text, "base64").toString());
    if (name !== peer) return this.#fail(SASL_REFUSED);
    // RFC 6120 §6.5.11: it may be tried again later.
    if (isRefused(peer, host)) return this.#fail(SASL_NOT_NOW);
    this.#done = claim;
    return { kind: "success", peer, host, text: SASL_SUCCESS };
  }

  #fail(text: string): ExternalResult {
    return { kind: "failure", isLast: ++this.#failures >= MAX_FAILURES, text };
  }
}
