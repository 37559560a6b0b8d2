// The opening tag of a stream as we write it (RFC 6120 §4.7, §4.8).

import { escapeXML } from "../xml/element.ts";
import { NS } from "../xml/ns.ts";
import type { HeaderOptions } from "./contract.ts";

/** What a stream carries: stanzas of clients or of servers. */
export type ContentNamespace = typeof NS.client | typeof NS.server;

/** Returns the XML declaration and the opening tag; one between servers declares dialback too (XEP-0220 §2.1.1). */
export function openingTag(content: ContentNamespace, options: HeaderOptions): string {
  let tag = `<?xml version='1.0'?><stream:stream xmlns='${content}' xmlns:stream='${NS.streams}'`;
  if (content === NS.server) tag += ` xmlns:db='${NS.dialback}'`;
  const { from, to, id, lang } = options;
  for (const [name, value] of Object.entries({ from, to, id, "xml:lang": lang })) {
    if (value !== undefined) tag += ` ${name}='${escapeXML(value)}'`;
  }
  return `${tag} version='1.0'>`;
}

export const CLOSING_TAG = "</stream:stream>";
