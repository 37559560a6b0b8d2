// The `<item/>` of a roster (RFC 6121 §2.1.2): written for clients, and read from what they send with every check.

import { Jid } from "../../src/jid/jid.ts";
import type { RosterItem } from "../../src/module.ts";
import { StanzaError } from "../../src/stanza/stanza-error.ts";
import { type Element, xml } from "../../src/xml/element.ts";
import { NS } from "../../src/xml/ns.ts";

/** How much a client may put on its roster. */
export interface RosterLimits {
  readonly maxItems: number;
  readonly maxGroups: number;
  readonly maxNameLength: number;
}

/** What a client asks for in a roster set. */
export interface RosterWish {
  readonly contact: Jid;
  readonly isRemoval: boolean;
  readonly name: string | undefined;
  readonly groups: readonly string[];
}

/** Returns the element for clients. */
export function itemElement(item: RosterItem): Element {
  const attrs = {
    jid: item.jid,
    name: item.name,
    subscription: item.subscription,
    ask: item.ask ? "subscribe" : undefined,
    approved: item.approved ? "true" : undefined,
  };
  return xml("item", attrs, ...item.groups.map((group) => xml("group", {}, group)));
}

/** Reads the payload of a roster set (§2.3.3); an error where it breaks a rule. */
export function readWish(query: Element, limits: RosterLimits): RosterWish | StanzaError {
  const children = query.getChildElements();
  const [item] = children;
  if (item === undefined || children.length !== 1 || !item.is("item", NS.roster)) {
    return new StanzaError("bad-request", "a roster set has exactly one item");
  }
  if (item.attrs.jid === undefined) return new StanzaError("bad-request", "the item has no jid");
  const contact = Jid.parse(item.attrs.jid);
  if (contact === undefined) return new StanzaError("jid-malformed");
  if (contact.isFull) return new StanzaError("bad-request", "a contact is a bare JID");
  const isRemoval = item.attrs.subscription === "remove";
  // §2.5: what else a removal says does not matter.
  if (isRemoval) return { contact, isRemoval, name: undefined, groups: [] };
  const groups = item.getChildren("group", NS.roster).map((group) => group.getText());
  const fault = faultIn(item.attrs.name, groups, limits);
  // An empty name is none (§2.1.2.5).
  return fault ?? { contact, isRemoval, name: item.attrs.name || undefined, groups };
}

function faultIn(name: string | undefined, groups: readonly string[], limits: RosterLimits): StanzaError | undefined {
  if (new Set(groups).size !== groups.length) return new StanzaError("bad-request", "a group is named twice");
  if (groups.includes("")) return new StanzaError("not-acceptable", "a group has no name");
  if (groups.length > limits.maxGroups) return new StanzaError("not-acceptable", "too many groups");
  if ([name ?? "", ...groups].some((text) => text.length > limits.maxNameLength)) {
    return new StanzaError("not-acceptable", "a name is too long");
  }
  return undefined;
}
