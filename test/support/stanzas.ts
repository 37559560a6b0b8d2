// Short ways to write stanzas and addresses in tests.

import { Jid } from "../../src/jid/jid.ts";
import { Stanza, type StanzaKind } from "../../src/stanza/stanza.ts";
import { type Child, xml } from "../../src/xml/element.ts";

/** Parses an address that the test knows to be good. */
export function jid(text: string): Jid {
  const parsed = Jid.parse(text);
  if (parsed === undefined) throw new Error(`not an address: ${text}`);
  return parsed;
}

/** Builds a stanza. */
export function stanza(
  kind: StanzaKind,
  attrs: { from: string; to?: string; type?: string; id?: string },
  ...children: Child[]
): Stanza {
  return new Stanza(xml(kind, attrs, ...children), jid(attrs.from), attrs.to === undefined ? undefined : jid(attrs.to));
}

/** Builds a chat message with a body. */
export function chat(from: string, to: string, body: string, type = "chat"): Stanza {
  return stanza("message", { from, to, type, id: body }, xml("body", {}, body));
}
