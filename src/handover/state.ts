// The state that a predecessor hands over: named sections, each a list of items in one version of its format, written as
// lines with their count and checksum. Knows nothing of what is in an item.

import { createHash } from "node:crypto";
import type { Clock } from "../util/clock.ts";
import { encode } from "./channel.ts";
import { type AcceptedSection, handoverError, MAX_LINE_BYTES } from "./protocol.ts";

/** A section that a predecessor can write. */
export interface OfferedSection {
  readonly name: string;
  /** The versions of the format it can write. The highest that the successor reads is taken. */
  readonly versions: readonly number[];
  /** A restart fails when the successor cannot read it. One that is not required is then left out. */
  readonly required: boolean;
}

/** A section of a snapshot. */
export interface StateSection {
  readonly name: string;
  /** Values that JSON can carry, each of at most 4 MiB as text. They may be made one by one as they are asked for. */
  readonly items: Iterable<unknown> | AsyncIterable<unknown>;
}

/** The versions agreed on by section, or why there is no agreement. */
export type Agreement =
  | { readonly ok: true; readonly versions: ReadonlyMap<string, number> }
  | { readonly ok: false; readonly why: string };

/** Agrees on a version for each section that both ends know. */
export function agree(
  offered: readonly OfferedSection[],
  accepted: Readonly<Record<string, AcceptedSection>>,
): Agreement {
  const versions = new Map<string, number>();
  for (const { name, versions: mine, required } of offered) {
    const theirs = Object.hasOwn(accepted, name) ? accepted[name] : undefined;
    const common = mine.filter((version) => theirs?.versions.includes(version) === true);
    if (common.length > 0) versions.set(name, Math.max(...common));
    else if (required || theirs?.required === true) {
      const reads = theirs === undefined ? "does not know it" : `reads version ${theirs.versions.join(", ") || "none"}`;
      return { ok: false, why: `state ${name} is written in version ${mine.join(", ")}, the successor ${reads}` };
    }
  }
  for (const [name, { required }] of Object.entries(accepted)) {
    if (required && !versions.has(name))
      return { ok: false, why: `the successor requires state ${name}, which is not offered` };
  }
  return { ok: true, versions };
}

/** Where lines go; a promise asks to wait. */
export type SendLine = (line: string | Buffer) => Promise<void> | undefined;

/** What is left of an item that is undefined or a function. */
const NO_VALUE = encode({ type: "item" });
/** Items are sent together until they make this much: one write for many small ones. */
const BATCH_BYTES = 64 * 1024;

/**
 * Writes `sections` and returns how many items they have. Gives up the event loop now and then; ends early, with what
 * `signal` says, when it aborts. Throws `MORENDO_HANDOVER_STATE` for a section that was not agreed on, comes twice or is
 * missing, and for an item that is too large or that JSON cannot carry.
 */
export async function writeState(
  sections: readonly StateSection[],
  versions: ReadonlyMap<string, number>,
  send: SendLine,
  clock: Clock,
  signal: AbortSignal,
): Promise<number> {
  const missing = new Set(versions.keys());
  let total = 0;
  await send(encode({ type: "state", sections: sections.length }));
  for (const { name, items } of sections) {
    const version = versions.get(name);
    if (version === undefined || !missing.delete(name)) {
      throw handoverError("STATE", `state ${name} was not agreed on or comes twice`);
    }
    await send(encode({ type: "section", name, version }));
    const checksum = createHash("sha256");
    let count = 0;
    let batch: string[] = [];
    let batchBytes = 0;
    const flush = async (): Promise<void> => {
      const bytes = Buffer.from(batch.join(""));
      batch = [];
      batchBytes = 0;
      checksum.update(bytes);
      await send(bytes);
      await clock.turn();
      signal.throwIfAborted();
    };
    for await (const value of items) {
      const line = encodeItem(name, count, value);
      batch.push(line);
      batchBytes += line.length;
      count++;
      if (batchBytes >= BATCH_BYTES) await flush();
    }
    if (batch.length > 0) await flush();
    await send(encode({ type: "section-end", count, sha256: checksum.digest("hex") }));
    total += count;
  }
  if (missing.size > 0) throw handoverError("STATE", `the snapshot lacks ${[...missing].join(", ")}`);
  await send(encode({ type: "state-end", items: total }));
  return total;
}

function encodeItem(name: string, index: number, value: unknown): string {
  const line = encode({ type: "item", value });
  if (line === NO_VALUE) throw handoverError("STATE", `item ${index} of state ${name} is nothing that JSON can carry`);
  // Bytes are counted only where the number of characters leaves a doubt.
  if (line.length > MAX_LINE_BYTES / 3 && Buffer.byteLength(line) > MAX_LINE_BYTES) {
    throw handoverError("STATE", `item ${index} of state ${name} is larger than ${MAX_LINE_BYTES} bytes`);
  }
  return line;
}
