// The members of ltx that Morendo uses; ltx ships no types. `parse` and `stringify` are left out on purpose: the first
// accepts malformed input, the second does not escape.
declare module "ltx" {
  export class Element {
    constructor(name: string, attrs?: Record<string, string | number | boolean | undefined | null>);
    name: string;
    parent: Element | null;
    children: (Element | string)[];
    attrs: Record<string, string>;
    is(name: string, xmlns?: string): boolean;
    getName(): string;
    getNS(): string | undefined;
    getChild(name: string, xmlns?: string): Element | undefined;
    getChildren(name: string, xmlns?: string): Element[];
    getChildText(name: string, xmlns?: string): string | null;
    getChildElements(): Element[];
    getText(): string;
    c(name: string, attrs?: Record<string, string | undefined>): Element;
    cnode(child: Element): Element;
    t(text: string): Element;
    up(): Element;
    remove(child: Element): void;
    append(...nodes: (Element | string)[]): void;
    toString(): string;
  }
  export function escapeXML(text: string): string;
  export function escapeXMLText(text: string): string;
}
