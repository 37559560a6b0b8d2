// An inbound subscription request that waits on a roster item until the user answers it (RFC 6121 §3.1.3): kept with
// what the contact wrote in it as long as that is short.

import type { Jid } from "../../src/jid/jid.ts";
import type { RosterItem } from "../../src/module.ts";
import { elementOf, treeOf } from "../../src/stanza/element-tree.ts";
import { Stanza } from "../../src/stanza/stanza.ts";
import { type Element, withAttrs, xml } from "../../src/xml/element.ts";

/** Characters kept of a request; of a longer one only the fact is kept. */
const MAX_LENGTH = 4_096;

/** Returns the text that `RosterItem.pendingIn` keeps of a request. */
export function keptRequest(request: Stanza): string {
  const kept = JSON.stringify(treeOf(request.element));
  return kept.length > MAX_LENGTH ? "" : kept;
}

/** Returns the request that waits on `item`, addressed from the contact to the account. */
export function pendingRequest({ pendingIn = "" }: RosterItem, contact: Jid, account: Jid): Stanza {
  const attrs = { type: "subscribe", from: contact.toString(), to: account.toString() };
  return new Stanza(withAttrs(readKept(pendingIn) ?? xml("presence"), attrs), contact, account);
}

function readKept(text: string): Element | undefined {
  if (text === "") return undefined;
  try {
    const element = elementOf(JSON.parse(text));
    return element?.name === "presence" ? element : undefined;
  } catch {
    // Not what this module wrote: then only the fact that there is a request is known.
    return undefined;
  }
}
