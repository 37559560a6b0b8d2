// The rules of offline messages: which messages are worth keeping (XEP-0160 §3, XEP-0334) and which presence makes a
// session take them. Pure.

import type { Session } from "../../src/module.ts";
import { worthOf } from "../../src/stanza/message-worth.ts";
import type { Stanza } from "../../src/stanza/stanza.ts";

/**
 * What becomes of a message for an account with nobody there. `kept`: it has content, of which a body is one kind and a
 * receipt (XEP-0184) or an invitation another. `dropped`: it says only what is true at this moment, such as that
 * somebody is typing, and an error in answer would be one more nuisance. `refused`: its sender wants it kept nowhere, and
 * learns that it did not arrive. Errors come here only where somebody is to learn of a message that waited long for
 * another server: the router drops all others.
 */
export function treatmentOf(stanza: Stanza): "kept" | "dropped" | "refused" {
  if (stanza.kind !== "message") return "refused";
  if (stanza.type === "error") return "kept";
  if (stanza.type !== "normal" && stanza.type !== "chat") return "refused";
  return TREATMENTS[worthOf(stanza)];
}

const TREATMENTS = { keep: "kept", drop: "dropped", refuse: "refused" } as const;

/** Tells whether `presence` makes a session take messages that did not before: available with a priority of 0 or more. */
export function becomesReachable(session: Session, presence: Stanza): boolean {
  if (presence.type !== "available" || presence.to !== undefined || !session.open) return false;
  if (session.presence !== undefined && session.priority >= 0) return false;
  const priority = presence.element.getChildText("priority") ?? "0";
  return /^\s*\+?\d{1,3}\s*$/.test(priority) && Number(priority) <= 127;
}
