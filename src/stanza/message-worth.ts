// Whether a message is worth keeping for somebody who is not there now (XEP-0160 §3, XEP-0334). Pure; who keeps what, and
// for how long, is decided elsewhere.

import { NS } from "../xml/ns.ts";
import type { Stanza } from "./stanza.ts";

const HINTS = "urn:xmpp:hints";
/** What is no content of its own: chat states (XEP-0085), hints, marks of servers and clients on the way. */
const ACCOMPANYING: ReadonlySet<string | undefined> = new Set([
  HINTS,
  NS.delay,
  "http://jabber.org/protocol/chatstates",
  "urn:xmpp:sid:0",
  "urn:xmpp:carbons:2",
]);

/** What is to become of a message that cannot be delivered now. */
export type MessageWorth =
  /** It has content, of which a body is one kind and a receipt (XEP-0184) or an invitation another. */
  | "keep"
  /** It says only what is true at this moment, such as that somebody is typing; an error in answer would be a nuisance. */
  | "drop"
  /** Its sender wants it kept nowhere, and learns that it did not arrive. */
  | "refuse";

/** Tells what a message is worth by its content; its type is the caller's business. */
export function worthOf({ element }: Stanza): MessageWorth {
  const hasContent = element.getChildElements().some((child) => isContent(child.name, child.getNS()));
  if (element.getChild("no-store", HINTS) !== undefined) return hasContent ? "refuse" : "drop";
  return hasContent || element.getChild("store", HINTS) !== undefined ? "keep" : "drop";
}

function isContent(name: string, namespace: string | undefined): boolean {
  return name !== "thread" && !ACCOMPANYING.has(namespace);
}
