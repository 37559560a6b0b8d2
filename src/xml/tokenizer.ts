// The grammar of an XML stream (XML 1.0 without what RFC 6120 §11 forbids): from pieces of text to tags and character
// data. It can stop after any tag and go on later, and its work is linear in the input however finely that is cut.
// Namespaces, and what the tags mean, are the business of stream-parser.ts.

import { isNameUnit, isSpace, isSpecialText, type QName, qname, readCdata, readText, readValue } from "./chars.ts";
import { Element } from "./element.ts";
import { Utf8Decoder } from "./utf8.ts";

/** The stream error conditions (RFC 6120 §4.9.3) that input can bring about by its form. */
export type XmlFaultCondition =
  | "bad-format"
  | "bad-namespace-prefix"
  | "invalid-namespace"
  | "not-well-formed"
  | "policy-violation"
  | "restricted-xml"
  | "unsupported-encoding"
  | "unsupported-stanza-type"
  | "unsupported-version";

/** What is wrong with the input. */
export interface XmlFault {
  readonly condition: XmlFaultCondition;
  readonly text: string;
}

/** Bounds on one child of the stream, and on what comes before the first. */
export interface XmlLimits {
  readonly maxStanzaBytes: number;
  /** How deep elements may nest; a child of the stream is at depth 1. */
  readonly maxDepth: number;
  readonly maxAttributes: number;
}

/** Who is told of tags. Each may pause or reset the tokenizer. */
export interface TokenSink {
  /** A start tag: the element with its attributes, unchecked as to namespaces; `qualified` are those that concern them. */
  onOpen(element: Element, name: QName, qualified: readonly QName[]): void;
  /** An end tag, matching the innermost element that is open. */
  onClose(): void;
  /** A piece of character data inside a child of the stream. */
  onText(text: string): void;
  /** The input is at fault; nothing follows. */
  onFault(fault: XmlFault): void;
}

/** Elements in one child of the stream; bytes bound them too, but an element costs more memory than its four bytes. */
const MAX_ELEMENTS = 20_000;
const MAX_DECLARATION = 256;

const LT = 0x3c;
const GT = 0x3e;
const SLASH = 0x2f;
const EQUALS = 0x3d;
const DOUBLE_QUOTE = 0x22;
const SINGLE_QUOTE = 0x27;
const CDATA = "<![CDATA[";
/** The end of a piece of text whose meaning depends on what follows. */
const UNDECIDED = /(?:&[#0-9A-Za-z]{0,11}|\]\]?|\r)$/;
const NONE: readonly QName[] = [];

/** Reads one stream after another from the same bytes. */
export class Tokenizer {
  #sink: TokenSink;
  #limits: XmlLimits;
  #decoder = new Utf8Decoder();
  #buf = "";
  #pos = 0;
  /** False while every character of the buffer is one byte. */
  #wide = false;
  /** Bytes since the last complete child that have left the buffer, and where in the buffer its successor begins. */
  #before = 0;
  #mark = 0;
  /** A tag is cut: its end is looked for in new text alone. Then the quote it is inside of, and the bytes that wait. */
  #inTag = false;
  #quote = 0;
  #waiting = 0;
  #inCdata = false;
  #atStart = true;
  /** The stream's tag was closed, or is to be reported closed (`<stream:stream/>`). */
  #ended = false;
  #endDue = false;
  #paused = false;
  #over = false;
  #running = false;
  #names: string[] = [];
  #elements = 0;

  constructor(sink: TokenSink, limits: XmlLimits) {
    this.#sink = sink;
    this.#limits = limits;
  }

  /** How many elements are open, the stream included. */
  get depth(): number {
    return this.#names.length;
  }

  setLimits(limits: XmlLimits): void {
    this.#limits = limits;
  }

  /** Reads on. While paused the bytes are kept. */
  write(chunk: Buffer): void {
    if (this.#over || this.#decoder.invalid) return;
    const text = this.#decoder.write(chunk);
    if (this.#inTag && !this.#tagEnds(text, chunk.length)) {
      if (this.#decoder.invalid) this.fail("not-well-formed", "Not UTF-8");
      return;
    }
    this.#wide = !this.#decoder.ascii || (this.#wide && this.#pos < this.#buf.length);
    if (this.#buf.length === 0) this.#buf = text;
    else this.#buf += text;
    this.#run();
  }

  /** Says nothing more until `resume`. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#run();
  }

  /** Begins a new stream with what has not been read yet, or, with `drop`, with what comes. */
  reset(drop: boolean): void {
    this.#names.length = 0;
    this.#inCdata = false;
    this.#inTag = false;
    this.#atStart = true;
    this.#ended = false;
    this.#endDue = false;
    this.#before = 0;
    this.#elements = 0;
    if (drop) {
      this.#buf = "";
      this.#pos = 0;
      this.#decoder.clear();
    } else {
      // White space sent after the last element of the old stream belongs to it.
      this.#pos = this.#skipSpace(this.#pos);
    }
    this.#mark = this.#pos;
  }

  /** Ends reading: nothing is reported any more. */
  stop(): void {
    this.#over = true;
    this.#buf = "";
    this.#pos = 0;
  }

  /** Ends reading with a fault, found by the tokenizer or by its sink. */
  fail(condition: XmlFaultCondition, text: string): void {
    if (this.#over) return;
    const tooBig = this.#bytesTo(this.#pos) > this.#limits.maxStanzaBytes;
    this.stop();
    this.#sink.onFault(tooBig ? { condition: "policy-violation", text: "Too big" } : { condition, text });
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    while (!this.#paused && !this.#over && (this.#endDue || this.#pos < this.#buf.length)) {
      if (!this.#step()) break;
    }
    this.#running = false;
    if (this.#over || this.#paused) return;
    if (this.#decoder.invalid) this.fail("not-well-formed", "Not UTF-8");
    else this.#keepRest();
  }

  /** Reads one piece; false when it is not all there yet. */
  #step(): boolean {
    if (this.#inCdata) return this.#cdata();
    if (this.#endDue) {
      this.#endDue = false;
      this.#closed();
      return true;
    }
    if (this.#buf.charCodeAt(this.#pos) !== LT) return this.#names.length < 2 ? this.#textOutside() : this.#text();
    if (this.#ended) this.fail("not-well-formed", "Markup after the end of the stream");
    if (this.#pos + 1 >= this.#buf.length) return false;
    switch (this.#buf.charCodeAt(this.#pos + 1)) {
      case SLASH:
        return this.#endTag();
      case 0x21:
        return this.#bang();
      case 0x3f:
        return this.#question();
      default:
        return this.#startTag();
    }
  }

  /** Lets go of what was read, and checks how much is held. */
  #keepRest(): void {
    this.#before += this.#bytes(this.#mark, this.#pos);
    this.#mark = 0;
    this.#buf = this.#pos === this.#buf.length ? "" : this.#buf.slice(this.#pos);
    this.#pos = 0;
    this.#waiting = this.#bytes(0, this.#buf.length);
    if (this.#before + this.#waiting > this.#limits.maxStanzaBytes) this.#tooBig();
  }

  /** Adds to a cut tag; true when it ends in `text`, which is then still to be added. */
  #tagEnds(text: string, bytes: number): boolean {
    if (this.#scan(text, 0) >= 0) {
      this.#inTag = false;
      return true;
    }
    this.#buf += text;
    this.#wide ||= !this.#decoder.ascii;
    this.#waiting += bytes;
    if (this.#before + this.#waiting > this.#limits.maxStanzaBytes) this.#tooBig();
    return false;
  }

  /** Returns the place of the end of a tag, or of what cannot be in one; -1 when neither is there yet. */
  #scan(text: string, from: number): number {
    let quote = this.#quote;
    for (let at = from; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === LT || (code === GT && quote === 0)) return at;
      if (quote === 0) {
        if (code === DOUBLE_QUOTE || code === SINGLE_QUOTE) quote = code;
      } else if (code === quote) quote = 0;
    }
    this.#quote = quote;
    return -1;
  }

  /** The tag at the present place is malformed, or cut: which of the two is the same however the input is cut. */
  #badTag(condition: XmlFaultCondition = "not-well-formed", text = "Malformed tag"): boolean {
    this.#quote = 0;
    const end = this.#scan(this.#buf, this.#pos + 1);
    if (end >= 0) {
      this.#pos = end + 1;
      this.fail(condition, text);
      return true;
    }
    this.#inTag = true;
    return false;
  }

  #startTag(): boolean {
    const buf = this.#buf;
    const end = buf.length;
    let at = this.#pos + 1;
    while (at < end && isNameUnit(buf.charCodeAt(at))) at++;
    if (at === end) return this.#badTag();
    const name = qname(buf.slice(this.#pos + 1, at));
    if (name === undefined) return this.#badTag();
    const element = new Element(name.name);
    const attrs = element.attrs;
    let qualified: QName[] | undefined;
    let count = 0;
    for (;;) {
      const spaceFrom = at;
      while (at < end && isSpace(buf.charCodeAt(at))) at++;
      if (at === end) return this.#badTag();
      const code = buf.charCodeAt(at);
      if (code === GT) return this.#opened(element, name, qualified, at + 1, false);
      if (code === SLASH) {
        if (buf.charCodeAt(at + 1) !== GT) return this.#badTag();
        return this.#opened(element, name, qualified, at + 2, true);
      }
      const nameFrom = at;
      while (at < end && isNameUnit(buf.charCodeAt(at))) at++;
      if (at === end || nameFrom === spaceFrom) return this.#badTag();
      const key = qname(buf.slice(nameFrom, at));
      if (key === undefined) return this.#badTag();
      while (at < end && isSpace(buf.charCodeAt(at))) at++;
      if (buf.charCodeAt(at) !== EQUALS) return this.#badTag();
      at++;
      while (at < end && isSpace(buf.charCodeAt(at))) at++;
      const quote = buf.charCodeAt(at);
      if (quote !== DOUBLE_QUOTE && quote !== SINGLE_QUOTE) return this.#badTag();
      const close = buf.indexOf(quote === DOUBLE_QUOTE ? '"' : "'", at + 1);
      if (close < 0) return this.#badTag();
      const value = readValue(buf.slice(at + 1, close));
      if (value === undefined) return this.#badTag();
      at = close + 1;
      if (++count > this.#limits.maxAttributes) return this.#badTag("policy-violation", "Too many attributes");
      if (attrs[key.name] !== undefined) {
        // Either the name was there before, or it is one that every object inherits, such as `constructor`.
        if (Object.hasOwn(attrs, key.name)) return this.#badTag("not-well-formed", "Duplicate attribute");
        Object.defineProperty(attrs, key.name, { value, writable: true, enumerable: true, configurable: true });
      } else attrs[key.name] = value;
      if (key.prefix !== "" || key.name === "xmlns") {
        if (qualified === undefined) qualified = [key];
        else qualified.push(key);
      }
    }
  }

  #opened(element: Element, name: QName, qualified: readonly QName[] = NONE, end: number, empty: boolean): boolean {
    this.#pos = end;
    this.#atStart = false;
    const names = this.#names;
    if (names.length > this.#limits.maxDepth) {
      this.fail("policy-violation", "Nested too deeply");
      return true;
    }
    if (++this.#elements > MAX_ELEMENTS) {
      this.fail("policy-violation", "Too many elements");
      return true;
    }
    names.push(name.name);
    if (names.length === 1 && !this.#complete()) return true;
    this.#sink.onOpen(element, name, qualified);
    if (!empty || this.#over) return true;
    // Whoever was told of the stream's tag may have paused; no other start tag is reported alone.
    if (names.length === 1) this.#endDue = true;
    else this.#closed();
    return true;
  }

  #closed(): void {
    this.#names.pop();
    if (this.#names.length === 0) this.#ended = true;
    if (this.#names.length === 1 && !this.#complete()) return;
    this.#sink.onClose();
  }

  /** Something of the stream is complete: its bytes are counted, and those of the next begin here. */
  #complete(): boolean {
    if (this.#bytesTo(this.#pos) > this.#limits.maxStanzaBytes) {
      this.#tooBig();
      return false;
    }
    this.#before = 0;
    this.#mark = this.#pos;
    this.#elements = 0;
    return true;
  }

  #endTag(): boolean {
    const buf = this.#buf;
    const name = this.#names.at(-1);
    if (name === undefined) return this.#badTag();
    let at = this.#pos + 2;
    if (!buf.startsWith(name, at)) return this.#badTag("not-well-formed", "Mismatched end tag");
    at += name.length;
    while (isSpace(buf.charCodeAt(at))) at++;
    if (buf.charCodeAt(at) !== GT) return this.#badTag();
    this.#pos = at + 1;
    this.#closed();
    return true;
  }

  #bang(): boolean {
    const third = this.#buf.charCodeAt(this.#pos + 2);
    if (Number.isNaN(third)) return false;
    const head = this.#buf.slice(this.#pos, this.#pos + CDATA.length);
    if (!CDATA.startsWith(head)) {
      const restricted = third === 0x2d || third === 0x44;
      this.fail(restricted ? "restricted-xml" : "not-well-formed", restricted ? "Comment or DTD" : "Malformed markup");
    } else if (head.length < CDATA.length) return false;
    else if (this.#names.length < 2) this.#fault(this.#names.length === 0);
    else {
      this.#pos += CDATA.length;
      this.#inCdata = true;
    }
    return true;
  }

  #cdata(): boolean {
    const end = this.#buf.indexOf("]]>", this.#pos);
    let raw = end < 0 ? this.#buf.slice(this.#pos) : this.#buf.slice(this.#pos, end);
    const held = end < 0 ? (/(?:\]\]?|\r)$/.exec(raw)?.[0].length ?? 0) : 0;
    if (held > 0) raw = raw.slice(0, -held);
    const text = readCdata(raw);
    if (text === undefined) {
      this.fail("not-well-formed", "Forbidden character");
      return true;
    }
    this.#pos += raw.length + (end < 0 ? 0 : 3);
    this.#inCdata = end < 0;
    if (text !== "") this.#sink.onText(text);
    return end >= 0;
  }

  /** A processing instruction, forbidden, or the XML declaration. */
  #question(): boolean {
    const rest = this.#buf.slice(this.#pos, this.#pos + MAX_DECLARATION);
    const isDeclaration = this.#atStart && /^<\?(?:x(?:m(?:l(?:[ \t\r\n]|$)|$)|$)|$)/.test(rest);
    if (!isDeclaration) {
      this.fail("restricted-xml", "Processing instruction");
      return true;
    }
    const end = rest.indexOf("?>");
    if (end < 0) {
      if (rest.length < MAX_DECLARATION) return false;
      this.fail("not-well-formed", "Malformed XML declaration");
      return true;
    }
    this.#pos += end + 2;
    this.#atStart = false;
    this.#declaration(rest.slice(5, end));
    return true;
  }

  #declaration(text: string): void {
    const match =
      /^\s+version\s*=\s*(["'])(.*?)\1(?:\s+encoding\s*=\s*(["'])(.*?)\3)?(?:\s+standalone\s*=\s*(["'])(?:yes|no)\5)?\s*$/.exec(
        text,
      );
    if (match === null) this.fail("not-well-formed", "Malformed XML declaration");
    else if (match[2] !== "1.0") this.fail("unsupported-version", "XML is to be version 1.0");
    else if (match[4] !== undefined && match[4].toUpperCase() !== "UTF-8") {
      this.fail("unsupported-encoding", "The encoding is to be UTF-8");
    }
  }

  /** White space around the children of the stream, as sent to keep a connection alive. */
  #textOutside(): boolean {
    this.#atStart = false;
    this.#pos = this.#skipSpace(this.#pos);
    if (this.#names.length === 1) {
      this.#before = 0;
      this.#mark = this.#pos;
    }
    if (this.#pos < this.#buf.length && this.#buf.charCodeAt(this.#pos) !== LT) this.#fault(this.#names.length === 0);
    return true;
  }

  #fault(outside: boolean): void {
    this.fail(outside ? "not-well-formed" : "bad-format", "Text outside of an element");
  }

  #text(): boolean {
    const buf = this.#buf;
    const end = buf.indexOf("<", this.#pos);
    let raw = end < 0 ? buf.slice(this.#pos) : buf.slice(this.#pos, end);
    const held = end < 0 && isSpecialText(raw) ? (UNDECIDED.exec(raw)?.[0].length ?? 0) : 0;
    if (held > 0) raw = raw.slice(0, -held);
    const text = readText(raw);
    if (text === undefined) {
      this.fail("not-well-formed", "Malformed text");
      return true;
    }
    this.#pos += raw.length;
    if (text !== "") this.#sink.onText(text);
    return held === 0;
  }

  #skipSpace(from: number): number {
    let at = from;
    while (isSpace(this.#buf.charCodeAt(at))) at++;
    return at;
  }

  #tooBig(): void {
    this.stop();
    this.#sink.onFault({ condition: "policy-violation", text: "Too big" });
  }

  #bytesTo(end: number): number {
    return this.#before + this.#bytes(this.#mark, end);
  }

  #bytes(from: number, to: number): number {
    return this.#wide && to > from ? Buffer.byteLength(this.#buf.slice(from, to)) : to - from;
  }
}
