// What a stream parser reports for given pieces of input, as text that can be compared.

import { StreamParser, type XmlLimits } from "../../src/xml/stream-parser.ts";

export const WIDE: XmlLimits = { maxStanzaBytes: 262_144, maxDepth: 64, maxAttributes: 64 };

/** Parses `pieces` and returns one line per event; a fault is `fault <condition>`. */
export function eventsOf(pieces: Iterable<Buffer>, limits: XmlLimits = WIDE): string[] {
  const events: string[] = [];
  const parser = new StreamParser(
    {
      onHeader: (header) => events.push(`header ${JSON.stringify(header)}`),
      onElement: (element) => events.push(`element ${element.getNS()} ${element.toString()}`),
      onEndTag: () => events.push("end"),
      onFault: (fault) => events.push(`fault ${fault.condition}`),
    },
    limits,
  );
  for (const piece of pieces) parser.write(piece);
  return events;
}

/** Cuts `input` into pieces of one byte. */
export function bytewise(input: Buffer): Buffer[] {
  return Array.from(input, (_, at) => input.subarray(at, at + 1));
}
