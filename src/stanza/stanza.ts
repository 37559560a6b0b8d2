// A stanza on its way through the server: its element with the addresses and the type read once, and its text written
// once however many sessions it goes to. Treated as immutable: to change one, make another.

import type { Jid } from "../jid/jid.ts";
import { type Element, textOf, withAttrs } from "../xml/element.ts";

export type StanzaKind = "message" | "presence" | "iq";

/** A message, presence or IQ whose addresses are known. Its element carries them as attributes, and no `xmlns` of its own. */
export class Stanza {
  readonly element: Element;
  readonly kind: StanzaKind;
  /** The `type` attribute; `normal` for a message without one, `available` for a presence without one. */
  readonly type: string;
  readonly from: Jid;
  /** The addressee; undefined when a client left it to the server (RFC 6120 §10.3). */
  readonly to: Jid | undefined;
  #text: string | undefined;

  /** Wraps `element`, whose `from` and `to` attributes the caller has set to the texts of `from` and `to`. */
  constructor(element: Element, from: Jid, to: Jid | undefined) {
    this.element = element;
    this.kind = element.name as StanzaKind;
    this.type = element.attrs.type ?? (this.kind === "presence" ? "available" : "normal");
    this.from = from;
    this.to = to;
  }

  get id(): string | undefined {
    return this.element.attrs.id;
  }

  /** The stanza as XML text, without a namespace declaration: both jabber:client and jabber:server streams take it. */
  get text(): string {
    this.#text ??= textOf(this.element);
    return this.#text;
  }

  /** The first child element; an IQ request's payload. */
  get payload(): Element | undefined {
    return this.element.children.find((child): child is Element => typeof child !== "string");
  }

  /** Returns the same content from and to others; a `to` of undefined keeps the present one. */
  readdressed(from: Jid, to: Jid | undefined = this.to): Stanza {
    return new Stanza(withAttrs(this.element, { from: from.toString(), to: to?.toString() }), from, to);
  }
}

/** Names a stanza for logs and reports: `message romeo@a.test/x -> juliet@b.test id=7`. */
export function describeStanza(stanza: Stanza): string {
  const id = stanza.id === undefined ? "" : ` id=${stanza.id}`;
  return `${stanza.kind} ${stanza.from.toString()} -> ${stanza.to?.toString() ?? "(nobody)"}${id}`;
}
