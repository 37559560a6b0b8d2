// The stream parser says the same of the same bytes however they are cut, and survives whatever comes.

import assert from "node:assert/strict";
import fc from "fast-check";
import { eventsOf, WIDE } from "../support/parse-events.ts";
import { CASES, HEADER } from "../unit/xml/cases.ts";

const TIGHT = { maxStanzaBytes: 300, maxDepth: 3, maxAttributes: 3 };

/** Pieces of streams, legal or not, that are put together at random. */
const SNIPPETS = [
  ...CASES.filter((one) => !one.bare).map((one) => one.input.toString()),
  ..."<|>|/|'|\"|=| |a|&|;|]]>|<![CDATA[|]]|\r\n|\r|ä|𝄞|<message>|</message>|<a x='1'>|</a>|<b/>|</stream:stream>|<?xml".split(
    "|",
  ),
];

function cut(input: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (input.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => input.subarray(from, at[index] ?? input.length));
}

const places = fc.array(fc.nat(), { maxLength: 40 });
const snippets = fc.array(fc.constantFrom(...SNIPPETS), { maxLength: 12 }).map((parts) => HEADER + parts.join(""));

describe("The stream parser", () => {
  it("reports the same events for the same input in random pieces", () => {
    fc.assert(
      fc.property(snippets, places, (input, at) => {
        const bytes = Buffer.from(input);
        assert.deepEqual(eventsOf(cut(bytes, at)), eventsOf([bytes]));
      }),
      { numRuns: 2000 },
    );
  });

  it("does so too for bytes changed at random, and says nothing after a fault", () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom("set", "insert", "remove"));
    fc.assert(
      fc.property(snippets, fc.array(change, { minLength: 1, maxLength: 6 }), places, (input, changes, at) => {
        const bytes = [...Buffer.from(input)];
        for (const [place, value, how] of changes) {
          if (how === "set") bytes[place % bytes.length] = value;
          else bytes.splice(place % bytes.length, how === "remove" ? 1 : 0, ...(how === "remove" ? [] : [value]));
        }
        const whole = eventsOf([Buffer.from(bytes)]);
        assert.deepEqual(eventsOf(cut(Buffer.from(bytes), at)), whole);
        const fault = whole.findIndex((event) => event.startsWith("fault"));
        assert.ok(fault < 0 || fault === whole.length - 1);
      }),
      { numRuns: 2000 },
    );
  });

  it("keeps its limits in whatever pieces the input comes", () => {
    fc.assert(
      fc.property(snippets, places, (input, at) => {
        const bytes = Buffer.from(input);
        const kept = (pieces: Buffer[]): string[] =>
          eventsOf(pieces, TIGHT).filter((event) => !event.startsWith("fault"));
        assert.deepEqual(kept(cut(bytes, at)), kept([bytes]));
      }),
      { numRuns: 1000 },
    );
  });

  it("reads back what an element writes", () => {
    const text = fc
      .string({ unit: "binary", maxLength: 30 })
      .map((raw) => raw.replace(/[^\t\n\x20-\ud7ff\ue000-\ufffd]/g, ""));
    fc.assert(
      fc.property(text, text, (attribute, body) => {
        const value = attribute.replace(/[\t\n]/g, " ");
        const escaped = (raw: string): string => raw.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
        const input = `${HEADER}<message a='${escaped(value)}'><body>${escaped(body)}</body></message>`;
        const events = eventsOf([Buffer.from(input)], WIDE);
        assert.equal(events.length, 2);
        assert.deepEqual(
          eventsOf([Buffer.from(HEADER + (events[1] as string).slice("element undefined ".length))]),
          events,
        );
      }),
    );
  });
});
