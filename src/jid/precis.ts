// PRECIS preparation of internationalised texts (RFC 8264) with the two profiles an address needs (RFC 8265):
// UsernameCaseMapped and OpaqueString. Undefined means that the text is not allowed; nothing here throws.
// Contextual characters that need joining-type tables (ZERO WIDTH NON-JOINER between letters) are allowed after a virama only.

import { satisfiesBidiRule } from "./bidi.ts";

const LETTER_DIGIT = /[\p{Ll}\p{Lu}\p{Lo}\p{Nd}\p{Lm}\p{Mn}\p{Mc}]/u;
/** What the FreeformClass adds: other letters and digits, spaces, symbols, punctuation. */
const FREEFORM = /[\p{Lt}\p{Nl}\p{No}\p{Me}\p{Zs}\p{S}\p{P}]/u;
const IGNORABLE = /[\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]/u;
const OLD_HANGUL = /[\u1100-\u11FF\uA960-\uA97F\uD7B0-\uD7FF]/u;
/** RFC 5892 §2.6, as RFC 8264 §9.6 takes it over. */
const ALLOWED_EXCEPTIONS = /[\u00DF\u03C2\u06FD\u06FE\u0F0B\u3007]/u;
const BANNED_EXCEPTIONS = /\u0640|\u07FA|\u302E|\u302F|[\u3031-\u3035]|\u303B/u;
const CONTEXTUAL = /[\u00B7\u0375\u05F3\u05F4\u30FB\u0660-\u0669\u06F0-\u06F9\u200C\u200D]/u;
/** Canonical_Combining_Class=Virama (9): after one of these a joiner is allowed (RFC 5892 A.1, A.2). */
const VIRAMA =
  /[\u094D\u09CD\u0A4D\u0ACD\u0B4D\u0BCD\u0C4D\u0CCD\u0D3B\u0D3C\u0D4D\u0DCA\u0E3A\u0EBA\u0F84\u1039\u103A\u1714\u1715\u1734\u17D2\u1A60\u1B44\u1BAA\u1BAB\u1BF2\u1BF3\u2D7F\uA806\uA82C\uA8C4\uA953\uA9C0\uAAF6\uABED]/u;
const FULL_OR_HALF_WIDTH = /[\uFF01-\uFFEE]/gu;
const OTHER_SPACE = /[\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]/gu;
/** Applying a profile again must change nothing; RFC 8264 §7 allows a few rounds to get there. */
const MAX_ROUNDS = 4;

/** Prepares and enforces the UsernameCaseMapped profile (RFC 8265 §3.3). */
export function usernameCaseMapped(text: string): string | undefined {
  return untilStable(text, (current) => {
    const narrow = current.replace(FULL_OR_HALF_WIDTH, (wide) => wide.normalize("NFKC"));
    if (!isIdentifier(narrow)) return undefined;
    const prepared = narrow.toLowerCase().normalize("NFC");
    return satisfiesBidiRule(prepared) ? prepared : undefined;
  });
}

/** Prepares and enforces the OpaqueString profile (RFC 8265 §4.2). */
export function opaqueString(text: string): string | undefined {
  return untilStable(text, (current) =>
    isFreeform(current) ? current.replace(OTHER_SPACE, " ").normalize("NFC") : undefined,
  );
}

/** Tells whether every character belongs to the IdentifierClass (RFC 8264 §4.2); false for the empty text. */
export function isIdentifier(text: string): boolean {
  return conforms(text, false);
}

/** Tells whether every character belongs to the FreeformClass (RFC 8264 §4.3); false for the empty text. */
export function isFreeform(text: string): boolean {
  return conforms(text, true);
}

function untilStable(text: string, round: (text: string) => string | undefined): string | undefined {
  let current: string | undefined = text;
  for (let count = 0; count < MAX_ROUNDS; count++) {
    const next = round(current);
    if (next === undefined || next === current) return next;
    current = next;
  }
  return undefined;
}

function conforms(text: string, freeform: boolean): boolean {
  if (text === "") return false;
  const characters = Array.from(text);
  const company = new Company(text);
  return characters.every((character, index) => {
    if (character >= "!" && character <= "~") return true;
    if (ALLOWED_EXCEPTIONS.test(character)) return true;
    if (BANNED_EXCEPTIONS.test(character)) return false;
    if (CONTEXTUAL.test(character)) return fitsContext(character, characters, index, company);
    if (OLD_HANGUL.test(character) || IGNORABLE.test(character)) return false;
    // HasCompat comes before the categories: a ligature is a letter, but no identifier.
    if (character.normalize("NFKC") !== character)
      return freeform && (FREEFORM.test(character) || LETTER_DIGIT.test(character));
    return LETTER_DIGIT.test(character) || (freeform && FREEFORM.test(character));
  });
}

/** What else is in a text, looked for once however often it is asked: a peer may write thousands of such characters. */
class Company {
  #text: string;
  #found = new Map<RegExp, boolean>();

  constructor(text: string) {
    this.#text = text;
  }

  has(pattern: RegExp): boolean {
    const known = this.#found.get(pattern);
    if (known !== undefined) return known;
    const found = pattern.test(this.#text);
    this.#found.set(pattern, found);
    return found;
  }
}

const CJK = /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/u;
const ARABIC_INDIC = /[\u0660-\u0669]/u;
const EXTENDED_ARABIC_INDIC = /[\u06F0-\u06F9]/u;

/** The rules for characters that are allowed only in some company (RFC 5892 appendix A). */
function fitsContext(character: string, text: readonly string[], index: number, company: Company): boolean {
  const before = text[index - 1] ?? "";
  const after = text[index + 1] ?? "";
  switch (character) {
    case "\u00B7":
      return before.toLowerCase() === "l" && after.toLowerCase() === "l";
    case "\u0375":
      return /^\p{Script=Greek}/u.test(after);
    case "\u05F3":
    case "\u05F4":
      return /^\p{Script=Hebrew}/u.test(before);
    case "\u30FB":
      return company.has(CJK);
    case "\u200C":
    case "\u200D":
      return VIRAMA.test(before);
    default:
      // Arabic-Indic digits must not be mixed with the extended ones.
      return !company.has(character <= "\u0669" ? EXTENDED_ARABIC_INDIC : ARABIC_INDIC);
  }
}
