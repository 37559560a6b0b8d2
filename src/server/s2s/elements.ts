// The elements of s2s negotiation as they are written and recognised: STARTTLS, SASL EXTERNAL, dialback (XEP-0220) and
// acknowledgements (XEP-0198). No state.

import { Jid } from "../../jid/jid.ts";
import { type ErrorCondition, StanzaError } from "../../stanza/stanza-error.ts";
import { type Element, xml } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";

export const STARTTLS = `<starttls xmlns='${NS.tls}'/>`;
export const PROCEED = `<proceed xmlns='${NS.tls}'/>`;
export const TLS_FAILURE = `<failure xmlns='${NS.tls}'/>`;
export const SASL_SUCCESS = `<success xmlns='${NS.sasl}'/>`;
export const SASL_REFUSED = `<failure xmlns='${NS.sasl}'><not-authorized/></failure>`;
export const SASL_NOT_NOW = `<failure xmlns='${NS.sasl}'><temporary-auth-failure/></failure>`;
export const SASL_UNKNOWN = `<failure xmlns='${NS.sasl}'><invalid-mechanism/></failure>`;
export const SM_ENABLE = `<enable xmlns='${NS.sm}'/>`;
export const SM_ENABLED = `<enabled xmlns='${NS.sm}'/>`;
export const SM_REQUEST = `<r xmlns='${NS.sm}'/>`;
export const SM_UNEXPECTED = `<failed xmlns='${NS.sm}'><unexpected-request xmlns='${NS.stanzaErrors}'/></failed>`;

/** `<a h=…/>`. */
export function smAnswer(h: number): string {
  return `<a xmlns='${NS.sm}' h='${h}'/>`;
}

/** `<auth/>` for EXTERNAL, naming the local host (XEP-0178 §3). */
export function externalAuth(local: string): string {
  const name = Buffer.from(local).toString("base64");
  return `<auth xmlns='${NS.sasl}' mechanism='EXTERNAL'>${name}</auth>`;
}

/** A XEP-0199 ping from one host to another. */
export function ping(local: string, remote: string, id: string): string {
  return xml("iq", { type: "get", id, from: local, to: remote }, xml("ping", { xmlns: NS.ping })).toString();
}

/** `<db:result/>` or `<db:verify/>`; `type` for an answer. */
export function dialback(
  name: "result" | "verify",
  attrs: { readonly from: string; readonly to: string; readonly id?: string | undefined; readonly type?: string },
  content?: string | StanzaError,
): string {
  const child = content instanceof StanzaError ? content.toElement() : content;
  return xml(`db:${name}`, { ...attrs }, child).toString();
}

/** What an element of a stream is, as far as s2s knows it. */
export type ElementKind =
  | "features"
  | "error"
  | "stanza"
  | "tls"
  | "sasl"
  | "sm"
  | "dialback-result"
  | "dialback-verify"
  | "unknown";

const STANZAS: ReadonlySet<string> = new Set(["message", "presence", "iq"]);

/** Tells what `element` is; its name then tells the rest. */
export function kindOf(element: Element): ElementKind {
  const name = element.getName();
  const prefixed = element.name.length > name.length;
  // The stream's own prefixes are declared on the opening tag, which is not an ancestor here: `db:` and `stream:` are
  // the only ones that XEP-0220 and RFC 6120 §4.8.5 let a peer use.
  const ns = element.getNS() ?? (prefixed ? PREFIXES[element.name.slice(0, -name.length - 1)] : NS.server);
  switch (ns) {
    case NS.server:
      return STANZAS.has(name) ? "stanza" : "unknown";
    case NS.streams:
      return name === "features" || name === "error" ? name : "unknown";
    case NS.tls:
      return "tls";
    case NS.sasl:
      return "sasl";
    case NS.sm:
      return "sm";
    case NS.dialback:
      return name === "result" || name === "verify" ? `dialback-${name}` : "unknown";
    default:
      return "unknown";
  }
}

const PREFIXES: Record<string, string> = { db: NS.dialback, stream: NS.streams };

/** Reads the condition of an `<error/>` inside a dialback answer (XEP-0220 §2.5), for the log. */
export function dialbackError(element: Element): string {
  const error = element.getChild("error");
  return error?.getChildElements()[0]?.getName() ?? "no reason given";
}

/** The error that stands for a failure to reach a domain. */
export function unreachable(failure: "not-found" | "unreachable", reason: string): StanzaError {
  const condition: ErrorCondition = failure === "not-found" ? "remote-server-not-found" : "remote-server-timeout";
  return new StanzaError(condition, reason);
}

/** Prepares a domain that a peer wrote; undefined when it is not a domain alone. */
export function domainOf(text: string): string | undefined {
  const jid = Jid.parse(text.trim());
  return jid === undefined || jid.local !== "" || jid.resource !== "" || jid.domain === "" ? undefined : jid.domain;
}

/** Prepares the domain in an address whose other parts may be malformed. */
export function domainWithin(address: string): string | undefined {
  const slash = address.indexOf("/");
  const bare = slash < 0 ? address : address.slice(0, slash);
  return domainOf(bare.slice(bare.indexOf("@") + 1));
}
