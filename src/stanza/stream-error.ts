// Stream errors (RFC 6120 §4.9): one condition each, and the element that carries it. A stream error is unrecoverable:
// whoever sends one closes the stream.

import { type Element, xml } from "../xml/element.ts";
import { NS } from "../xml/ns.ts";

/** The conditions of RFC 6120 §4.9.3, each with what it says to the peer. */
export const STREAM_CONDITIONS = {
  /** §4.9.3.1: the peer sent XML that cannot be processed. */
  "bad-format": "XML that cannot be processed",
  /** §4.9.3.2: a namespace prefix is not supported, not declared, or missing where one is needed. */
  "bad-namespace-prefix": "A namespace prefix that is not known here",
  /** §4.9.3.3: a new stream from the same entity takes this one's place. */
  conflict: "Replaced by another connection",
  /** §4.9.3.4: the peer has been silent, or too slow, for too long. */
  "connection-timeout": "Nothing came for too long",
  /** §4.9.3.5: the host the stream was for is no longer served here. */
  "host-gone": "The host is no longer served here",
  /** §4.9.3.6: the host in `to` is not served here. */
  "host-unknown": "The host is not served here",
  /** §4.9.3.7: a stanza between servers lacks `to` or `from`, or one of them is not an address. */
  "improper-addressing": "A stanza without usable addresses",
  /** §4.9.3.8: something here went wrong that is not the peer's fault. */
  "internal-server-error": "Something went wrong here",
  /** §4.9.3.9: `from` is not an address that this stream was authorised for. */
  "invalid-from": "An address this stream may not speak for",
  /** §4.9.3.10: the namespace of the stream or its content is not supported. */
  "invalid-namespace": "A namespace that is not supported here",
  /** §4.9.3.11: XML that its schema or use does not allow. */
  "invalid-xml": "XML that is not valid here",
  /** §4.9.3.12: data was sent before the stream was authenticated, or without authorisation. */
  "not-authorized": "Not before authentication",
  /** §4.9.3.13: the XML is not well-formed, or its namespaces are not. */
  "not-well-formed": "XML that is not well-formed",
  /** §4.9.3.14: a local rule was broken, such as a limit. */
  "policy-violation": "Against the rules of this server",
  /** §4.9.3.15: the other server that is needed to go on cannot be reached. */
  "remote-connection-failed": "A server that is needed cannot be reached",
  /** §4.9.3.16: the stream is closed so that new features, or other certificates, take effect. */
  reset: "Begin again",
  /** §4.9.3.17: there is not enough of something here to serve the stream. */
  "resource-constraint": "Too little is left to serve this",
  /** §4.9.3.18: comments, processing instructions, DTDs or entities (§11.1). */
  "restricted-xml": "XML that XMPP does not allow",
  /** §4.9.3.19: the host is served elsewhere; the element's text says where. */
  "see-other-host": "Served elsewhere",
  /** §4.9.3.20: the server is being shut down. */
  "system-shutdown": "The server is going down",
  /** §4.9.3.21: none of the other conditions; an application-specific element says more. */
  "undefined-condition": "Something else",
  /** §4.9.3.22: the stream is not encoded in UTF-8. */
  "unsupported-encoding": "Not UTF-8",
  /** §4.9.3.23: a mandatory feature was offered that the other side cannot negotiate. */
  "unsupported-feature": "A feature that is not supported",
  /** §4.9.3.24: a child of the stream that is not understood. */
  "unsupported-stanza-type": "An element that is not understood here",
  /** §4.9.3.25: the version of the stream is not supported. */
  "unsupported-version": "A version that is not supported",
} as const satisfies Record<string, string>;

export type StreamCondition = keyof typeof STREAM_CONDITIONS;

/** Why a stream ends, as told to the peer or by the peer. */
export class StreamError {
  readonly condition: StreamCondition;
  /** Words for people, if any. */
  readonly text: string | undefined;
  /** With `see-other-host`: the host, with its port if that is not the usual one (§4.9.3.19). */
  readonly host: string | undefined;
  /** The application-specific condition, if any (§4.9.4). */
  readonly detail: Element | undefined;

  constructor(condition: StreamCondition, text?: string, host?: string, detail?: Element) {
    this.condition = condition;
    this.text = text;
    this.host = host;
    this.detail = detail;
  }

  /** Tells the peer to go on at `host`: a name or an address, an IPv6 one in brackets, with or without `:port`. */
  static seeOtherHost(host: string, text?: string): StreamError {
    return new StreamError("see-other-host", text, host);
  }

  /**
   * Tells the peer that it acknowledged `h` stanzas when it had been sent fewer (XEP-0198 §4), or had acknowledged more
   * before: with counters that wrap one looks like the other. `sent` is not wrapped.
   */
  static handledCountTooHigh(h: number, sent: number): StreamError {
    const count = sent % 0x1_0000_0000;
    const counts = { xmlns: NS.sm, h: String(h), "send-count": String(count) };
    const text = `You acknowledged ${h} stanzas: more than the ${count} that were sent, or fewer than before`;
    return new StreamError("undefined-condition", text, undefined, xml("handled-count-too-high", counts));
  }

  /** Reads a `<stream:error/>`; a condition that is not known is read as `undefined-condition`. */
  static read(element: Element): StreamError {
    let condition: StreamCondition = "undefined-condition";
    let text: string | undefined;
    let host: string | undefined;
    for (const child of element.children) {
      if (typeof child === "string" || child.getNS() !== NS.streamErrors) continue;
      const name = child.getName();
      if (name === "text") text = child.getText();
      else if (Object.hasOwn(STREAM_CONDITIONS, name)) {
        condition = name as StreamCondition;
        if (condition === "see-other-host") host = child.getText() || undefined;
      }
    }
    return new StreamError(condition, text, host);
  }

  /** The `<stream:error/>` element. */
  toElement(): Element {
    return xml(
      "stream:error",
      {},
      xml(this.condition, { xmlns: NS.streamErrors }, this.host),
      this.text === undefined ? undefined : xml("text", { xmlns: NS.streamErrors, "xml:lang": "en" }, this.text),
      this.detail,
    );
  }
}
