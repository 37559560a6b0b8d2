// The rules of offline messages: which messages are worth keeping (XEP-0160 §3, XEP-0334) and which presence makes a
// session take them. Pure.

import type { Session } from "../../src/module.ts";
import type { Stanza } from "../../src/stanza/stanza.ts";
import { NS } from "../../src/xml/ns.ts";

const HINTS = "urn:xmpp:hints";
/** What is no content of its own: chat states (XEP-0085), hints, marks of servers and clients on the way. */
const ACCOMPANYING: ReadonlySet<string | undefined> = new Set([
  HINTS,
  NS.delay,
  "http://jabber.org/protocol/chatstates",
  "urn:xmpp:sid:0",
  "urn:xmpp:carbons:2",
]);

/**
 * What becomes of a message for an account with nobody there. `kept`: it has content, of which a body is one kind and a
 * receipt (XEP-0184) or an invitation another. `dropped`: it says only what is true at this moment, such as that
 * somebody is typing, and an error in answer would be one more nuisance. `refused`: its sender wants it kept nowhere, and
 * learns that it did not arrive.
 */
export function treatmentOf({ kind, type, element }: Stanza): "kept" | "dropped" | "refused" {
  if (kind !== "message" || (type !== "normal" && type !== "chat")) return "refused";
  const hasContent = element.getChildElements().some((child) => isContent(child.name, child.getNS()));
  if (element.getChild("no-store", HINTS) !== undefined) return hasContent ? "refused" : "dropped";
  return hasContent || element.getChild("store", HINTS) !== undefined ? "kept" : "dropped";
}

function isContent(name: string, namespace: string | undefined): boolean {
  return name !== "thread" && !ACCOMPANYING.has(namespace);
}

/** Tells whether `presence` makes a session take messages that did not before: available with a priority of 0 or more. */
export function becomesReachable(session: Session, presence: Stanza): boolean {
  if (presence.type !== "available" || presence.to !== undefined || !session.open) return false;
  if (session.presence !== undefined && session.priority >= 0) return false;
  const priority = presence.element.getChildText("priority") ?? "0";
  return /^\s*\+?\d{1,3}\s*$/.test(priority) && Number(priority) <= 127;
}
