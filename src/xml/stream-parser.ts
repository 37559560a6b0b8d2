// From a peer's bytes to the opening tag and the children of its XML stream (RFC 6120 §4, §11), with namespaces
// resolved. What comes out stands on its own: no child depends on a declaration of the opening tag, and those of the
// content namespace (message, presence, iq) carry no `xmlns`, so that they fit into any stream as they are.

import type { QName } from "./chars.ts";
import type { Element } from "./element.ts";
import { NS } from "./ns.ts";
import { Tokenizer, type TokenSink, type XmlFault, type XmlLimits } from "./tokenizer.ts";

export type { XmlFault, XmlLimits } from "./tokenizer.ts";

/** The opening tag as it came. */
export interface StreamHeader {
  readonly to: string | undefined;
  readonly from: string | undefined;
  readonly id: string | undefined;
  /** As written, such as `1.0`; undefined before XMPP 1.0. */
  readonly version: string | undefined;
  readonly lang: string | undefined;
  /** The default namespace: jabber:client or jabber:server. */
  readonly xmlns: string | undefined;
  /** True when the header declares the dialback namespace (XEP-0220). */
  readonly dialback: boolean;
}

/** Who is told what comes, in order. Each call may pause, reset or stop the parser. */
export interface StreamSink {
  onHeader(header: StreamHeader): void;
  /** A complete child of the stream; it has no parent. */
  onElement(element: Element): void;
  /** `</stream:stream>` came. */
  onEndTag(): void;
  /** The input is at fault; nothing follows. */
  onFault(fault: XmlFault): void;
}

const XMLNS_URI = "http://www.w3.org/2000/xmlns/";
/** A namespace declared by the opening tag is repeated in the children that use it; a long one would multiply. */
const MAX_HEADER_URI = 256;

/** The namespaces that are declared where an element is open. */
interface Scope {
  /** The default namespace; empty when there is none. */
  readonly plain: string;
  /** Prefixes declared on this element alone. */
  readonly prefixes: Map<string, string> | undefined;
}

const OUTSIDE: Scope = { plain: "", prefixes: undefined };

/** Reads XML streams. Whitespace between the children of a stream is dropped in silence. */
export class StreamParser implements TokenSink {
  #sink: StreamSink;
  #tokenizer: Tokenizer;
  #scopes: Scope[] = [];
  /** The default namespace of the stream. */
  #content = "";
  /** The child being built, and the innermost open element in it. */
  #root: Element | undefined;
  #current: Element | undefined;
  #text = "";

  constructor(sink: StreamSink, limits: XmlLimits) {
    this.#sink = sink;
    this.#tokenizer = new Tokenizer(this, limits);
  }

  /** Reads on, reporting what is complete. The chunk is not kept. */
  write(chunk: Buffer): void {
    this.#tokenizer.write(chunk);
  }

  /** Reports nothing more until `resume`; what is written meanwhile is kept. */
  pause(): void {
    this.#tokenizer.pause();
  }

  resume(): void {
    this.#tokenizer.resume();
  }

  setLimits(limits: XmlLimits): void {
    this.#tokenizer.setLimits(limits);
  }

  /** Expects a new opening tag next (RFC 6120 §4.3.3). With `drop`, what came already is forgotten, not read (§5.4.3.3). */
  reset(drop: boolean): void {
    this.#scopes.length = 0;
    this.#root = undefined;
    this.#current = undefined;
    this.#text = "";
    this.#tokenizer.reset(drop);
  }

  /** Ends reading: nothing is reported any more. */
  stop(): void {
    this.#tokenizer.stop();
  }

  /** For the tokenizer. */
  onOpen(element: Element, name: QName, qualified: readonly QName[]): void {
    const outer = this.#scopes.at(-1) ?? OUTSIDE;
    const scope = qualified.length === 0 ? outer : this.#declare(element, qualified, outer);
    if (scope === undefined) return;
    this.#scopes.push(scope);
    const current = this.#current;
    if (current === undefined) {
      if (this.#scopes.length === 1) {
        if (this.#attributesFit(element, undefined, qualified)) this.#header(element, name, scope);
      } else if (this.#attributesFit(element, element, qualified)) this.#child(element, name, scope);
      return;
    }
    const root = this.#root ?? element;
    if (name.prefix !== "" && this.#namespace(name.prefix, root) === undefined) return this.#unbound(name.prefix);
    if (!this.#attributesFit(element, root, qualified)) return;
    if (this.#text !== "") this.#addText(current);
    current.children.push(element);
    element.parent = current;
    this.#current = element;
  }

  /** For the tokenizer. */
  onClose(): void {
    this.#scopes.pop();
    const element = this.#current;
    if (element === undefined) return this.#sink.onEndTag();
    if (this.#text !== "") this.#addText(element);
    this.#current = element.parent ?? undefined;
    if (element.parent !== null) return;
    this.#root = undefined;
    this.#sink.onElement(element);
  }

  /** For the tokenizer. */
  onText(text: string): void {
    this.#text += text;
  }

  /** For the tokenizer. */
  onFault(fault: XmlFault): void {
    this.#sink.onFault(fault);
  }

  #addText(element: Element): void {
    element.children.push(this.#text);
    this.#text = "";
  }

  #header(element: Element, name: QName, scope: Scope): void {
    const namespace = name.prefix === "" ? scope.plain : this.#namespace(name.prefix, undefined);
    if (namespace === undefined) return this.#unbound(name.prefix);
    if (namespace !== NS.streams) return this.#tokenizer.fail("invalid-namespace", "Not an XMPP stream");
    if (name.local !== "stream") return this.#tokenizer.fail("bad-format", "A stream begins with <stream>");
    let dialback = false;
    for (const uri of scope.prefixes?.values() ?? []) {
      if (uri.length > MAX_HEADER_URI) return this.#tokenizer.fail("policy-violation", "Namespace too long");
      if (uri === NS.dialback) dialback = true;
    }
    this.#content = scope.plain;
    const { to, from, id, version, xmlns } = element.attrs;
    this.#sink.onHeader({ to, from, id, version, lang: element.attrs["xml:lang"], xmlns, dialback });
  }

  #child(element: Element, name: QName, scope: Scope): void {
    const namespace = name.prefix === "" ? scope.plain : this.#namespace(name.prefix, element);
    if (namespace === undefined) return this.#unbound(name.prefix);
    if (namespace === this.#content) {
      // RFC 6120 §4.8.5: elements of the content namespace have no prefix.
      if (name.prefix !== "") return this.#tokenizer.fail("bad-namespace-prefix", "A stanza has no prefix");
    } else if (namespace === "") return this.#tokenizer.fail("unsupported-stanza-type", "Element in no namespace");
    this.#root = element;
    this.#current = element;
  }

  /** Takes in the declarations on `element`; undefined when one is at fault. */
  #declare(element: Element, qualified: readonly QName[], outer: Scope): Scope | undefined {
    let plain = outer.plain;
    let prefixes: Map<string, string> | undefined;
    for (const { name, prefix, local } of qualified) {
      if (prefix !== "" && prefix !== "xmlns") continue;
      const uri = element.attrs[name] as string;
      const reserved = uri === XMLNS_URI || (uri === NS.xml) !== (prefix !== "" && local === "xml");
      if (reserved || (prefix !== "" && (uri === "" || local === "xmlns"))) {
        this.#tokenizer.fail("not-well-formed", "Forbidden namespace declaration");
        return undefined;
      }
      if (prefix === "") {
        plain = uri;
        // A declaration that says again what holds anyway would bind the element to this kind of stream.
        if (uri === this.#content && uri === outer.plain && this.#scopes.length > 0) {
          const { xmlns: _, ...rest } = element.attrs;
          element.attrs = rest;
        }
      } else {
        prefixes ??= new Map();
        prefixes.set(local, uri);
      }
    }
    return { plain, prefixes };
  }

  /**
   * Resolves a prefix. One that was declared by the opening tag is declared again on `root`, the child of the stream in
   * which it is used.
   */
  #namespace(prefix: string, root: Element | undefined): string | undefined {
    if (prefix === "xml") return NS.xml;
    for (let depth = this.#scopes.length - 1; depth >= 0; depth--) {
      const scope = this.#scopes[depth];
      const uri = scope?.prefixes?.get(prefix);
      if (uri === undefined) continue;
      // An element that declares nothing shares its parent's scope, down from that of the opening tag.
      if (root !== undefined && scope === this.#scopes[0]) root.attrs[`xmlns:${prefix}`] = uri;
      return uri;
    }
    return undefined;
  }

  /** Checks the attributes with prefixes: each bound, no two the same. */
  #attributesFit(element: Element, root: Element | undefined, qualified: readonly QName[]): boolean {
    let seen: Set<string> | undefined;
    for (const { prefix, local } of qualified) {
      if (prefix === "" || prefix === "xmlns" || prefix === "xml") continue;
      const uri = this.#namespace(prefix, root);
      if (uri === undefined) {
        this.#unbound(prefix);
        return false;
      }
      seen ??= new Set();
      const full = `${uri} ${local}`;
      if (seen.has(full)) {
        this.#tokenizer.fail("not-well-formed", `Duplicate attribute on ${element.name}`);
        return false;
      }
      seen.add(full);
    }
    return true;
  }

  #unbound(prefix: string): void {
    this.#tokenizer.fail("bad-namespace-prefix", `Prefix ${prefix} is not declared`);
  }
}
