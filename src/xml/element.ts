/// <reference path="./ltx.d.ts" preserve="true" />
// The only import of ltx: its Element is how XML is held and written. Nothing here parses; see stream-parser.ts.

import { Element, escapeXML, escapeXMLText } from "ltx";
import { onlyLegal } from "./chars.ts";

export { Element, escapeXML, escapeXMLText };

/** What an element may hold when it is built with `xml`. */
export type Child = Element | string | undefined;

/**
 * Builds an element; attributes and children that are undefined are left out, and so are characters that XML cannot carry
 * (a peer ends the stream on one). Names are written as they are: they must be constants.
 */
export function xml(name: string, attrs: Record<string, string | undefined> = {}, ...children: Child[]): Element {
  const element = new Element(name);
  for (const key in attrs) {
    const value = attrs[key];
    if (value !== undefined) element.attrs[key] = onlyLegal(value);
  }
  for (const child of children) {
    if (child === undefined) continue;
    if (typeof child === "string") element.t(onlyLegal(child));
    else element.cnode(child);
  }
  return element;
}

const ESCAPED_IN_VALUE = /["&'<>]/;
const ESCAPED_IN_TEXT = /[&<>]/;

/** Returns the element as XML text: what its `toString` returns, in about half the time. */
export function textOf(element: Element): string {
  let text = `<${element.name}`;
  const { attrs, children } = element;
  for (const key in attrs) {
    const value = attrs[key];
    if (value === undefined || value === null) continue;
    text += ` ${key}="${ESCAPED_IN_VALUE.test(value) ? escapeXML(value) : value}"`;
  }
  if (children.length === 0) return `${text}/>`;
  text += ">";
  for (const child of children) {
    if (typeof child !== "string") text += textOf(child);
    else text += ESCAPED_IN_TEXT.test(child) ? escapeXMLText(child) : child;
  }
  return `${text}</${element.name}>`;
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
