// The character rules of XML 1.0 and of namespaces in XML: legal characters, names, references, line ends.

/** A name with its prefix looked at. */
export interface QName {
  /** As written. */
  readonly name: string;
  /** Empty when there is none. */
  readonly prefix: string;
  readonly local: string;
}

const START =
  "A-Z_a-z\\xC0-\\xD6\\xD8-\\xF6\\xF8-\\u02FF\\u0370-\\u037D\\u037F-\\u1FFF\\u200C\\u200D\\u2070-\\u218F" +
  "\\u2C00-\\u2FEF\\u3001-\\uD7FF\\uF900-\\uFDCF\\uFDF0-\\uFFFD\\u{10000}-\\u{EFFFF}";
const NCNAME = `[${START}][${START}\\-.0-9\\xB7\\u0300-\\u036F\\u203F\\u2040]*`;
const QNAME = new RegExp(`^(?:(${NCNAME}):)?(${NCNAME})$`, "u");

/** Characters XML 1.0 forbids; halves of surrogate pairs cannot come out of UTF-8. */
const ILLEGAL = /[^\t\n\r\x20-\ufffd]/;
/** The same for text of our own, where a half of a surrogate pair is possible. */
const UNWRITABLE = /[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

/** Names met in most stanzas, looked at in advance; the parser then also shares their strings. */
const KNOWN: ReadonlyMap<string, QName> = new Map(
  (
    "message presence iq body subject thread show status priority query item x c r a error text html delay active " +
    "composing paused inactive gone request received markable displayed origin-id stanza-id store no-store ping bind " +
    "resource feature identity group vCard result verify features auth response challenge success proceed starttls " +
    "enable enabled stream:stream stream:features stream:error db:result db:verify to from id type xml:lang xmlns " +
    "xmlns:stream xmlns:db version jid name subscription ask node ver hash stamp code by h mechanism category var " +
    "affiliation role"
  )
    .split(" ")
    .map((name) => [name, split(name) as QName]),
);

/** Returns `name` taken apart, or undefined when it is not a name. */
export function qname(name: string): QName | undefined {
  return KNOWN.get(name) ?? split(name);
}

function split(name: string): QName | undefined {
  const match = QNAME.exec(name);
  return match === null ? undefined : { name, prefix: match[1] ?? "", local: match[2] as string };
}

/** Tells whether the character may be part of a name as far as ASCII goes; others are looked at by `qname`. */
export function isNameUnit(code: number): boolean {
  return code >= 128 || NAME_UNIT[code] === 1;
}

const NAME_UNIT = new Uint8Array(128);
for (const char of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:")
  NAME_UNIT[char.charCodeAt(0)] = 1;

/** Tells whether the character is white space between tags and attributes. */
export function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

/** Returns `text` without the characters that XML cannot carry. */
export function onlyLegal(text: string): string {
  return text.search(UNWRITABLE) < 0 ? text : text.replace(UNWRITABLE, "");
}

/** All but the characters that stand for themselves: not `&` and `]`, nor, in values, `&`, `<` and line ends. */
const TEXT_SPECIAL = /[^\t\n\x20-\x25\x27-\x5c\x5e-\ufffd]/;
const VALUE_SPECIAL = /[^\x20-\x25\x27-\x3b\x3d-\ufffd]/;

/** Tells whether `text` is anything but characters that stand for themselves. */
export function isSpecialText(text: string): boolean {
  return TEXT_SPECIAL.test(text);
}

/** Returns what the character data `raw` stands for, or undefined when it is malformed. */
export function readText(raw: string): string | undefined {
  if (!TEXT_SPECIAL.test(raw)) return raw;
  if (ILLEGAL.test(raw) || raw.includes("]]>")) return undefined;
  return resolve(lines(raw));
}

/** Returns what the contents of a CDATA section stand for, or undefined when it has a forbidden character. */
export function readCdata(raw: string): string | undefined {
  return ILLEGAL.test(raw) ? undefined : lines(raw);
}

/**
 * Returns what an attribute's value stands for, or undefined when it is malformed. Line ends and tabs are spaces, also
 * where they were written as references: written out again they would be read as spaces anyhow.
 */
export function readValue(raw: string): string | undefined {
  if (!VALUE_SPECIAL.test(raw)) return raw;
  if (ILLEGAL.test(raw) || raw.includes("<")) return undefined;
  return resolve(raw.replaceAll("\r\n", " "))?.replace(/[\t\n\r]/g, " ");
}

function lines(text: string): string {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

/** Puts in what references stand for; undefined when one is not one of the five names or a legal character's number. */
function resolve(text: string): string | undefined {
  let at = text.indexOf("&");
  if (at < 0) return text;
  let result = "";
  let done = 0;
  while (at >= 0) {
    const end = text.indexOf(";", at);
    const meant = end < 0 || end - at > 12 ? undefined : reference(text.slice(at + 1, end));
    if (meant === undefined) return undefined;
    result += text.slice(done, at) + meant;
    done = end + 1;
    at = text.indexOf("&", done);
  }
  return result + text.slice(done);
}

function reference(name: string): string | undefined {
  switch (name) {
    case "amp":
      return "&";
    case "lt":
      return "<";
    case "gt":
      return ">";
    case "quot":
      return '"';
    case "apos":
      return "'";
  }
  const match = /^#(?:x([0-9a-fA-F]+)|([0-9]+))$/.exec(name);
  if (match === null) return undefined;
  const code = match[1] === undefined ? Number.parseInt(match[2] as string, 10) : Number.parseInt(match[1], 16);
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return undefined;
  const char = String.fromCodePoint(code);
  return ILLEGAL.test(char) ? undefined : char;
}
