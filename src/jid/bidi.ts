// The bidi rule (RFC 5893 §2) for texts with right-to-left characters, as PRECIS wants it for localparts and IDNA for
// domain labels. JavaScript does not know the Bidi_Class property, so the classes are told from ranges and categories.

/** Right-to-left scripts (R and AL, with the marks and digits among them). */
const RTL_BLOCK = /[\u0590-\u08FF\u200F\uFB1D-\uFDFF\uFE70-\uFEFF\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]/u;
/** Numbers written in an Arabic way (AN). */
const ARABIC_NUMBER =
  /[\u0600-\u0605\u0660-\u0669\u066B\u066C\u06DD\u0890\u0891\u08E2\u{10D30}-\u{10D39}\u{10E60}-\u{10E7E}]/u;
/** Other digits (EN) that can occur in a prepared text. */
const EUROPEAN_NUMBER = /[0-9\u06F0-\u06F9]/u;
const NONSPACING = /[\p{Mn}\p{Me}]/u;
/** Letters, digits and marks that run from left to right when they stand outside the blocks above. */
const LEFT_TO_RIGHT = /[\p{L}\p{Nd}\p{Nl}\p{Mc}]/u;
/** Symbols inside the blocks that have no direction of their own. */
const NEUTRAL = /[\p{P}\p{S}]/u;
const AL_PUNCTUATION =
  /[\u0608\u060B\u060D\u061B-\u061F\u066D\u06D4\u05BE\u05C0\u05C3\u05C6\u05F3\u05F4\u0700-\u070D]/u;

type BidiClass = "R" | "AN" | "EN" | "NSM" | "L" | "other";

function classOf(character: string): BidiClass {
  if (NONSPACING.test(character)) return "NSM";
  if (EUROPEAN_NUMBER.test(character)) return "EN";
  if (ARABIC_NUMBER.test(character)) return "AN";
  if (RTL_BLOCK.test(character)) return NEUTRAL.test(character) && !AL_PUNCTUATION.test(character) ? "other" : "R";
  return LEFT_TO_RIGHT.test(character) ? "L" : "other";
}

/** Tells whether `text` may be written so: true for all texts without right-to-left characters or Arabic numbers. */
export function satisfiesBidiRule(text: string): boolean {
  if (!RTL_BLOCK.test(text) && !ARABIC_NUMBER.test(text)) return true;
  const classes = Array.from(text, classOf);
  if (!classes.includes("R") && !classes.includes("AN")) return true;
  // A text that has a right-to-left character must begin with one (conditions 1 and 5) and keep to conditions 2 to 4.
  if (classes[0] !== "R" || classes.includes("L")) return false;
  if (classes.includes("EN") && classes.includes("AN")) return false;
  const last = classes.findLast((one) => one !== "NSM");
  return last === "R" || last === "EN" || last === "AN";
}
