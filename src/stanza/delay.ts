// Delayed delivery (XEP-0203): a stanza that waited somewhere says since when. Pure.

import { withAttrs, xml } from "../xml/element.ts";
import { NS } from "../xml/ns.ts";
import { Stanza } from "./stanza.ts";

/** Returns the stanza with the time at which `domain` had it first (milliseconds since 1970), unless it says so already. */
export function delayed(stanza: Stanza, domain: string, at: number): Stanza {
  const { element, from, to } = stanza;
  if (element.getChildren("delay", NS.delay).some(({ attrs }) => attrs.from === domain)) return stanza;
  const copy = withAttrs(element, {});
  const stamp = new Date(at).toISOString();
  // The children are shared with the stanza, their list must not be.
  copy.children = [...element.children, xml("delay", { xmlns: NS.delay, from: domain, stamp })];
  return new Stanza(copy, from, to);
}
