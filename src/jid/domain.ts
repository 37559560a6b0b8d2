// Preparation of a domainpart (RFC 7622 §3.2): an internationalised name in its one canonical form, which is lower-case
// U-labels, or an IP address. A-labels (`xn--…`) are accepted and turned into what they stand for.

import { isIPv6 } from "node:net";
import { domainToASCII, domainToUnicode } from "node:url";
import { satisfiesBidiRule } from "./bidi.ts";
import { isIdentifier } from "./precis.ts";

/** One label; underscores are no LDH, but people do have such host names. */
const ASCII_LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;
const PLAIN_DOMAIN = /^[A-Za-z0-9_.-]+$/;
/** ASCII that no domain has. Checked before the system's functions see it: they drop or cut at some of these. */
const FORBIDDEN_ASCII = /[\0-,/:-@[-^`{-\x7F]/;

/** Returns the canonical form of a domain name or IP literal, or undefined when it is neither. */
export function prepareDomain(text: string): string | undefined {
  if (text.startsWith("[")) return prepareIpv6(text);
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  if (PLAIN_DOMAIN.test(name) && !/xn--/i.test(name)) {
    const lower = name.toLowerCase();
    return lower.split(".").every((label) => ASCII_LABEL.test(label)) ? lower : undefined;
  }
  return FORBIDDEN_ASCII.test(name) ? undefined : prepareInternational(name);
}

function prepareIpv6(text: string): string | undefined {
  const inner = text.slice(1, -1);
  if (!text.endsWith("]") || inner.includes("%") || !isIPv6(inner)) return undefined;
  return domainToASCII(text) || undefined;
}

function prepareInternational(name: string): string | undefined {
  const ascii = domainToASCII(name);
  // A full stop of another script at the end leaves an empty label, which the check below refuses.
  if (ascii === "" || !ascii.split(".").every((label) => ASCII_LABEL.test(label))) return undefined;
  const unicode = domainToUnicode(ascii);
  if (unicode === "" || domainToASCII(unicode) !== ascii) return undefined;
  // An A-label that stands for nothing: newer lines of Node leave it as it is.
  if (/(?:^|\.)xn--/.test(unicode)) return undefined;
  // UTS 46 lets more through than IDNA2008 does (symbols, for one), and is silent on direction.
  const fits = unicode
    .split(".")
    .every((label) => isIdentifier(label) && label.toLowerCase() === label && satisfiesBidiRule(label));
  return fits ? unicode : undefined;
}
