/// <reference path="./ltx.d.ts" preserve="true" />
// The only import of ltx: its Element is how XML is held and written. Nothing here parses; see stream-parser.ts.

import { Element, escapeXML, escapeXMLText } from "ltx";

export { Element, escapeXML, escapeXMLText };

/** What an element may hold when it is built with `xml`. */
export type Child = Element | string | undefined;

/** Builds an element; attributes and children that are undefined are left out. */
export function xml(name: string, attrs: Record<string, string | undefined> = {}, ...children: Child[]): Element {
  const element = new Element(name, attrs);
  for (const child of children) {
    if (child === undefined) continue;
    if (typeof child === "string") element.t(child);
    else element.cnode(child);
  }
  return element;
}

/** Returns a deep copy without a parent, so that one stanza can go to several places. */
export function copyOf(element: Element): Element {
  const copy = new Element(element.name);
  Object.assign(copy.attrs, element.attrs);
  for (const child of element.children) {
    if (typeof child === "string") copy.children.push(child);
    else copy.cnode(copyOf(child));
  }
  return copy;
}

/** Returns a copy of the element alone that shares its children: for another `to` or `from` on the same content. */
export function withAttrs(element: Element, attrs: Record<string, string | undefined>): Element {
  const copy = new Element(element.name);
  Object.assign(copy.attrs, element.attrs);
  for (const [name, value] of Object.entries(attrs)) {
    if (value === undefined) delete copy.attrs[name];
    else copy.attrs[name] = value;
  }
  copy.children = element.children;
  return copy;
}
