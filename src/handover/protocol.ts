// What goes over the channel between a predecessor and its successor: one JSON object per line, in both directions, each
// of a known kind and a bounded length. Says what a message looks like; who may send what and when is for predecessor.ts
// and inheritance.ts.

import { MorendoError } from "../util/errors.ts";

/** The version of this protocol. Both ends must speak the same; the versions of the state are agreed on apart. */
export const PROTOCOL_VERSION = 1;

/** The longest line, in bytes. A section of state is a list of items, one per line: only a single item is bounded by it. */
export const MAX_LINE_BYTES = 4 * 1024 * 1024;

/** How much of a text for people is sent and kept. */
const MAX_TEXT = 8 * 1024;
/** More sections than this are refused. */
export const MAX_SECTIONS = 256;

/** Which versions of which section a successor can read; `required`: it will not serve without it. */
export interface AcceptedSection {
  readonly versions: readonly number[];
  readonly required: boolean;
}

/** What a successor says to its predecessor. */
export type FromSuccessor =
  | {
      readonly type: "hello";
      readonly protocol: number;
      readonly pid: number;
      readonly sections: Readonly<Record<string, AcceptedSection>>;
    }
  | { readonly type: "prepared"; readonly items: number }
  | { readonly type: "serving" }
  | { readonly type: "taken"; readonly id: number; readonly why?: string }
  | { readonly type: "failed"; readonly why: string; readonly stderr: string };

/** What a predecessor says to its successor. */
export type FromPredecessor =
  | { readonly type: "state"; readonly sections: number }
  | { readonly type: "section"; readonly name: string; readonly version: number }
  | { readonly type: "item"; readonly value: unknown }
  | { readonly type: "section-end"; readonly count: number; readonly sha256: string }
  | { readonly type: "state-end"; readonly items: number }
  | { readonly type: "commit" }
  | { readonly type: "yours" }
  | { readonly type: "relay"; readonly id: number; readonly value: unknown }
  | { readonly type: "abort"; readonly why: string };

/** Reads one kind of message out of a parsed line; undefined when it is not one of that kind as it should be. */
export type MessageReader<Message> = (line: Readonly<Record<string, unknown>>) => Message | undefined;

/** Reads a message of a successor. */
export const readFromSuccessor: MessageReader<FromSuccessor> = (line) => {
  const { type, id, pid, protocol, items, why, stderr } = line;
  switch (type) {
    case "hello": {
      const sections = readSections(line.sections);
      if (!isCount(protocol) || !isCount(pid) || sections === undefined) return undefined;
      return { type, protocol, pid, sections };
    }
    case "prepared":
      return isCount(items) ? { type, items } : undefined;
    case "serving":
      return { type };
    case "taken":
      if (!isCount(id)) return undefined;
      return typeof why === "string" ? { type, id, why: clip(why) } : { type, id };
    case "failed":
      return typeof why === "string" ? { type, why: clip(why), stderr: clip(stderr) } : undefined;
    default:
      return undefined;
  }
};

/** Reads a message of a predecessor. */
export const readFromPredecessor: MessageReader<FromPredecessor> = (line) => {
  const { type, id, sections, name, version, count, sha256, items, why } = line;
  switch (type) {
    case "item":
      return "value" in line ? { type, value: line.value } : undefined;
    case "relay":
      return isCount(id) && "value" in line ? { type, id, value: line.value } : undefined;
    case "state":
      return isCount(sections) && sections <= MAX_SECTIONS ? { type, sections } : undefined;
    case "section":
      return typeof name === "string" && isCount(version) ? { type, name, version } : undefined;
    case "section-end":
      return isCount(count) && typeof sha256 === "string" ? { type, count, sha256 } : undefined;
    case "state-end":
      return isCount(items) ? { type, items } : undefined;
    case "commit":
    case "yours":
      return { type };
    case "abort":
      return typeof why === "string" ? { type, why: clip(why) } : undefined;
    default:
      return undefined;
  }
};

/** Returns `text` cut to what may be sent of a text for people: its end, where stacks and logs say the most. */
export function clip(text: unknown): string {
  const whole = typeof text === "string" ? text : "";
  return whole.length <= MAX_TEXT ? whole : `…${whole.slice(1 - MAX_TEXT)}`;
}

/** An error of this room: `MORENDO_HANDOVER_…` with a message for people. */
export function handoverError(kind: HandoverErrorKind, message: string, cause?: unknown): MorendoError {
  return new MorendoError(`MORENDO_HANDOVER_${kind}`, message, cause === undefined ? {} : { cause });
}

/**
 * What can be wrong: `ENVIRONMENT` (what was passed cannot be used), `PROTOCOL` (the other end breaks the rules),
 * `STATE` (the state does not fit or is not whole), `ABORTED` (the predecessor has called it off), `TIMEOUT`, `GONE`,
 * `REFUSED` (the successor could not take over what was passed on to it).
 */
export type HandoverErrorKind = "ENVIRONMENT" | "PROTOCOL" | "STATE" | "ABORTED" | "TIMEOUT" | "GONE" | "REFUSED";

function readSections(value: unknown): Readonly<Record<string, AcceptedSection>> | undefined {
  if (!isObject(value)) return undefined;
  const sections: Record<string, AcceptedSection> = Object.create(null);
  const entries = Object.entries(value);
  if (entries.length > MAX_SECTIONS) return undefined;
  for (const [name, section] of entries) {
    if (!isObject(section) || typeof section.required !== "boolean") return undefined;
    const { versions, required } = section;
    if (!Array.isArray(versions) || versions.length > 100 || !versions.every(isCount)) return undefined;
    sections[name] = { versions, required };
  }
  return sections;
}

/** Tells whether `value` is an object as `{…}` makes it in JSON. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
