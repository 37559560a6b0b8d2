// The elements of XEP-0198 as clients and server write them to each other. No state.

import type { ErrorCondition } from "../../stanza/stanza-error.ts";
import { parseH } from "../../stream/acks.ts";
import { type Element, xml } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";

export const SM_REQUEST = `<r xmlns='${NS.sm}'/>`;
/** Acknowledgements without resumption. */
export const SM_ENABLED = `<enabled xmlns='${NS.sm}'/>`;

/** What a client asks for with `<enable/>` (XEP-0198 §3). */
export interface EnableRequest {
  readonly resume: boolean;
  /** The longest time it wants to be able to resume after, in milliseconds; undefined when it leaves that to us. */
  readonly maxMs: number | undefined;
}

/** What a client asks for with `<resume/>` (XEP-0198 §5). */
export interface ResumeRequest {
  readonly previd: string;
  readonly h: number;
}

export function readEnable(element: Element): EnableRequest {
  const { resume, max } = element.attrs;
  const seconds = max !== undefined && /^\d{1,9}$/.test(max) ? Number(max) : 0;
  return { resume: resume === "true" || resume === "1", maxMs: seconds === 0 ? undefined : seconds * 1000 };
}

/** Reads `<resume/>`; undefined when it lacks one of its attributes. */
export function readResume(element: Element): ResumeRequest | undefined {
  const h = parseH(element.attrs.h);
  const { previd } = element.attrs;
  return h === undefined || previd === undefined ? undefined : { previd, h };
}

/** `<a h=…/>`. */
export function smAnswer(h: number): string {
  return `<a xmlns='${NS.sm}' h='${h}'/>`;
}

/** `<enabled/>` for a session that may be resumed. */
export function smResumable(id: string, maxMs: number, location: string | undefined): string {
  const max = String(Math.floor(maxMs / 1000));
  return xml("enabled", { xmlns: NS.sm, id, resume: "true", max, location }).toString();
}

/** `<resumed/>`. */
export function smResumed(previd: string, h: number): string {
  return xml("resumed", { xmlns: NS.sm, previd, h: String(h) }).toString();
}

/** `<failed/>`; `h` is what had been handled of a session that is over. */
export function smFailed(condition: ErrorCondition, h?: number): string {
  const attrs = { xmlns: NS.sm, h: h?.toString() };
  return xml("failed", attrs, xml(condition, { xmlns: NS.stanzaErrors })).toString();
}
