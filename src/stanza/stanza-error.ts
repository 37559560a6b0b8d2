// Stanza errors (RFC 6120 §8.3.3): one value per condition with its usual type, and the reply that carries it.

import { type Element, xml } from "../xml/element.ts";
import { NS } from "../xml/ns.ts";
import { Stanza } from "./stanza.ts";

/** What the sender may do about an error (RFC 6120 §8.3.2). */
export type ErrorType = "auth" | "cancel" | "continue" | "modify" | "wait";

const TYPES: ReadonlySet<string> = new Set<ErrorType>(["auth", "cancel", "continue", "modify", "wait"]);

/** The conditions of RFC 6120 §8.3.3 with the type the section recommends. */
const CONDITIONS = {
  "bad-request": "modify",
  conflict: "cancel",
  "feature-not-implemented": "cancel",
  forbidden: "auth",
  gone: "cancel",
  "internal-server-error": "cancel",
  "item-not-found": "cancel",
  "jid-malformed": "modify",
  "not-acceptable": "modify",
  "not-allowed": "cancel",
  "not-authorized": "auth",
  "policy-violation": "modify",
  "recipient-unavailable": "wait",
  redirect: "modify",
  "registration-required": "auth",
  "remote-server-not-found": "cancel",
  "remote-server-timeout": "wait",
  "resource-constraint": "wait",
  "service-unavailable": "cancel",
  "subscription-required": "auth",
  "undefined-condition": "cancel",
  "unexpected-request": "wait",
} as const satisfies Record<string, ErrorType>;

export type ErrorCondition = keyof typeof CONDITIONS;

/** What a protocol adds to an error: an empty element of its own namespace (RFC 6120 §8.3.4). */
export interface ErrorDetail {
  readonly name: string;
  readonly namespace: string;
}

/** By this all copies of the package know each other's errors: a test that is compiled as it is loaded can have two. */
const MARK = Symbol.for("morendo.StanzaError");

/** An error to be told to the sender of a stanza. */
export class StanzaError {
  readonly condition: ErrorCondition;
  readonly type: ErrorType;
  readonly text: string | undefined;
  readonly detail: ErrorDetail | undefined;

  constructor(condition: ErrorCondition, text?: string, type: ErrorType = CONDITIONS[condition], detail?: ErrorDetail) {
    this.condition = condition;
    this.type = type;
    this.text = text;
    this.detail = detail;
  }

  get [MARK](): true {
    return true;
  }

  static [Symbol.hasInstance](value: unknown): value is StanzaError {
    return typeof value === "object" && value !== null && MARK in value;
  }

  /**
   * Reads the `<error/>` of a stanza of type `error`; undefined when it has none. A condition that is not known, or
   * missing, is read as `undefined-condition` (RFC 6120 §8.3.3.21).
   */
  static read(stanza: Element): StanzaError | undefined {
    const element = stanza.getChild("error");
    if (element === undefined) return undefined;
    let condition: ErrorCondition = "undefined-condition";
    let text: string | undefined;
    for (const child of element.children) {
      if (typeof child === "string" || child.getNS() !== NS.stanzaErrors) continue;
      const name = child.getName();
      if (name === "text") text = child.getText();
      else if (Object.hasOwn(CONDITIONS, name)) condition = name as ErrorCondition;
    }
    const { type } = element.attrs;
    if (type === undefined || !TYPES.has(type)) return new StanzaError(condition, text);
    return new StanzaError(condition, text, type as ErrorType);
  }

  /** The `<error/>` element. */
  toElement(): Element {
    return xml(
      "error",
      { type: this.type },
      xml(this.condition, { xmlns: NS.stanzaErrors }),
      this.text === undefined ? undefined : xml("text", { xmlns: NS.stanzaErrors }, this.text),
      this.detail === undefined ? undefined : xml(this.detail.name, { xmlns: this.detail.namespace }),
    );
  }
}

/**
 * Returns the reply that tells the sender of `stanza` of `error`, or undefined where none may be sent: an error is never
 * answered, nor is an IQ result (RFC 6120 §8.3.1, §8.2.3). The reply comes from the stanza's addressee; `content` stands
 * before the error, such as what the sender had sent (§8.3.1).
 */
export function errorReply(
  stanza: Stanza,
  error: StanzaError,
  content: readonly (Element | string)[] = [],
): Stanza | undefined {
  if (stanza.type === "error" || (stanza.kind === "iq" && stanza.type === "result")) return undefined;
  const from = stanza.to ?? stanza.from.bare;
  const attrs = { type: "error", id: stanza.id, from: from.toString(), to: stanza.from.toString() };
  return new Stanza(xml(stanza.kind, attrs, ...content, error.toElement()), from, stanza.from);
}

/** Returns the result of the IQ request `stanza`, with `payload` if there is one. */
export function resultOf(stanza: Stanza, payload?: Element): Stanza {
  const from = stanza.to ?? stanza.from.bare;
  const attrs = { type: "result", id: stanza.id, from: from.toString(), to: stanza.from.toString() };
  return new Stanza(xml("iq", attrs, payload), from, stanza.from);
}
