// Elements as plain nested arrays and back, for keeping stanzas in the store without a parser on the way out. Not for
// the wire.

import { Element } from "../xml/element.ts";

/** An element as a store value: its name, its attributes, then its children in order. */
export type ElementTree = readonly [name: string, attrs: { readonly [name: string]: string }, ...children: Branch[]];

type Branch = string | ElementTree;

/** Returns the tree of `element`. */
export function treeOf(element: Element): ElementTree {
  const children = element.children.map((child): Branch => (typeof child === "string" ? child : treeOf(child)));
  return [element.name, { ...element.attrs }, ...children];
}

/** Returns the element that `tree` describes, or undefined when it is not a tree; it may come from disk. */
export function elementOf(tree: unknown): Element | undefined {
  if (!Array.isArray(tree)) return undefined;
  const [name, attrs, ...children] = tree as readonly unknown[];
  if (typeof name !== "string" || typeof attrs !== "object" || attrs === null) return undefined;
  const element = new Element(name);
  for (const [attr, value] of Object.entries(attrs)) {
    if (typeof value === "string") element.attrs[attr] = value;
  }
  for (const child of children) {
    if (typeof child === "string") {
      element.children.push(child);
      continue;
    }
    const grown = elementOf(child);
    if (grown === undefined) return undefined;
    element.cnode(grown);
  }
  return element;
}
