// From an element that came on a stream to a stanza the server can route: its kind and type are checked, and its
// addresses prepared (RFC 6120 §8). What is wrong comes back as a value that says what to do about it.

import { Jid } from "../jid/jid.ts";
import { type Element, withAttrs, xml } from "../xml/element.ts";
import { Stanza, type StanzaKind } from "./stanza.ts";
import { errorReply, StanzaError } from "./stanza-error.ts";

/** What became of a child of a client's stream. */
export type ReadFromClient =
  | { readonly kind: "stanza"; readonly stanza: Stanza }
  /** Not a message, presence or IQ of the content namespace. */
  | { readonly kind: "not-a-stanza" }
  /** Its `from` is not the client's: the stream ends with `invalid-from` (RFC 6120 §8.1.2.1). */
  | { readonly kind: "wrong-sender" }
  /** A stanza nobody can use, and the error that says so; no reply where none may be sent (RFC 6120 §8.3.1). */
  | { readonly kind: "bad"; readonly error: StanzaError; readonly reply: Stanza | undefined };

/** What became of a child of another server's stream. */
export type ReadFromServer =
  | { readonly kind: "stanza"; readonly stanza: Stanza }
  | { readonly kind: "not-a-stanza" }
  /** `to` or `from` is missing or no address: the stream ends with `improper-addressing` (RFC 6120 §8.1.1.2, §8.1.2.2). */
  | { readonly kind: "improper-addressing" }
  | { readonly kind: "bad"; readonly error: StanzaError; readonly reply: Stanza | undefined };

const IQ_TYPES = new Set(["get", "set", "result", "error"]);
const PRESENCE_TYPES = new Set([
  "available",
  "error",
  "probe",
  "subscribe",
  "subscribed",
  "unavailable",
  "unsubscribe",
  "unsubscribed",
]);

/** Returns the kind of stanza that `element` is; undefined when it is something else. */
export function stanzaKind(element: Element): StanzaKind | undefined {
  const { name } = element;
  if (name !== "message" && name !== "presence" && name !== "iq") return undefined;
  return element.attrs.xmlns === undefined ? name : undefined;
}

/**
 * Reads what the client bound as `client` sent. The stanza comes from its full JID, whether it said so, said its bare
 * JID, or said nothing (RFC 6120 §8.1.2.1).
 */
export function readStanza(element: Element, client: Jid): ReadFromClient {
  const kind = stanzaKind(element);
  if (kind === undefined) return { kind: "not-a-stanza" };
  const { from, to } = element.attrs;
  const sender = client.toString();
  if (from !== undefined && from !== sender) {
    const claimed = Jid.parse(from);
    if (claimed === undefined || !(claimed.equals(client) || claimed.equals(client.bare)))
      return { kind: "wrong-sender" };
  }
  const addressee = to === undefined ? undefined : Jid.parse(to);
  if (to !== undefined && addressee === undefined) {
    return bad(element, kind, client, undefined, new StanzaError("jid-malformed"));
  }
  return checked(addressed(element, sender, addressee?.toString()), kind, client, addressee);
}

/** Reads what another server sent; whether it may speak for the sender's domain is the caller's to check. */
export function readRemoteStanza(element: Element): ReadFromServer {
  const kind = stanzaKind(element);
  if (kind === undefined) return { kind: "not-a-stanza" };
  const from = element.attrs.from === undefined ? undefined : Jid.parse(element.attrs.from);
  const to = element.attrs.to === undefined ? undefined : Jid.parse(element.attrs.to);
  if (from === undefined || to === undefined) return { kind: "improper-addressing" };
  return checked(addressed(element, from.toString(), to.toString()), kind, from, to);
}

/** The element with its addresses as prepared; itself when they are that already. */
function addressed(element: Element, from: string, to: string | undefined): Element {
  if (element.attrs.from === from && element.attrs.to === to) return element;
  if (element.attrs.from !== undefined) return withAttrs(element, { from, to });
  // A client's stanza seldom says `from`; the element is ours alone, so it need not be copied for that.
  element.attrs.from = from;
  return element.attrs.to === to ? element : withAttrs(element, { to });
}

function checked(element: Element, kind: StanzaKind, from: Jid, to: Jid | undefined): ReadFromClient & ReadFromServer {
  const stanza = new Stanza(element, from, to);
  const fault = kind === "iq" ? iqFault(element) : typeFault(kind, stanza.type);
  return fault === undefined ? { kind: "stanza", stanza } : bad(element, kind, from, to, fault);
}

/** RFC 6121 §4.7.1 knows no other presence; a message of a type that is not known is a normal one (§5.2.2). */
function typeFault(kind: StanzaKind, type: string): StanzaError | undefined {
  if (kind === "message" || (PRESENCE_TYPES.has(type) && kind === "presence")) return undefined;
  return new StanzaError("bad-request", `no such type of ${kind}`);
}

/** RFC 6120 §8.2.3: `id` and `type` are there, a request has one child, a result at most one. */
function iqFault(element: Element): StanzaError | undefined {
  const { id, type } = element.attrs;
  if (id === undefined || id === "") return new StanzaError("bad-request", "an iq has an id");
  if (type === undefined || !IQ_TYPES.has(type)) {
    return new StanzaError("bad-request", "the type of an iq is get, set, result or error");
  }
  let children = 0;
  for (const child of element.children) if (typeof child !== "string") children++;
  if ((type === "get" || type === "set") && children !== 1) {
    return new StanzaError("bad-request", "an iq of this type has one child");
  }
  return type === "result" && children > 1
    ? new StanzaError("bad-request", "an iq result has at most one child")
    : undefined;
}

function bad(
  element: Element,
  kind: StanzaKind,
  from: Jid,
  to: Jid | undefined,
  error: StanzaError,
): { readonly kind: "bad"; readonly error: StanzaError; readonly reply: Stanza | undefined } {
  const { id, type } = element.attrs;
  // The children do not matter to the reply, and the type may be the very thing that is wrong.
  const said = new Stanza(xml(kind, { id, type }), from, to);
  return { kind: "bad", error, reply: errorReply(said, error) };
}
