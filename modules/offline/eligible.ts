// The rules of offline messages: which messages are worth keeping (XEP-0160 §3, XEP-0334) and which presence makes a
// session take them. Pure.

import type { Session } from "../../src/module.ts";
import type { Stanza } from "../../src/stanza/stanza.ts";

const HINTS = "urn:xmpp:hints";
const CHAT_STATES = "http://jabber.org/protocol/chatstates";

/** Tells whether a message is kept for an account with nobody there. */
export function isWorthKeeping({ kind, type, element }: Stanza): boolean {
  if (kind !== "message" || (type !== "normal" && type !== "chat")) return false;
  if (element.getChild("no-store", HINTS) !== undefined) return false;
  if (element.getChild("body") !== undefined || element.getChild("store", HINTS) !== undefined) return true;
  // A normal message is often the carrier of something else, such as an invitation; a chat message is then passing.
  return type === "normal" && element.getChildElements().some((child) => isContent(child.name, child.getNS()));
}

function isContent(name: string, namespace: string | undefined): boolean {
  return name !== "thread" && namespace !== CHAT_STATES && namespace !== HINTS;
}

/** Tells whether `presence` makes a session take messages that did not before: available with a priority of 0 or more. */
export function becomesReachable(session: Session, presence: Stanza): boolean {
  if (presence.type !== "available" || presence.to !== undefined || !session.open) return false;
  if (session.presence !== undefined && session.priority >= 0) return false;
  const priority = presence.element.getChildText("priority") ?? "0";
  return /^\s*\+?\d{1,3}\s*$/.test(priority) && Number(priority) <= 127;
}
