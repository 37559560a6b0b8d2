// The parser of XML streams: it says the same however its input is cut, says nothing after a fault, keeps its bounds, and
// reads back what an element writes.

import assert from "node:assert/strict";
import type { SeededRandom } from "../../../src/testing/simulation/seeded-random.ts";
import type { Element } from "../../../src/xml/element.ts";
import { escapeXML, textOf } from "../../../src/xml/element.ts";
import { type StreamHeader, StreamParser, type XmlLimits } from "../../../src/xml/stream-parser.ts";
import { eventsOf, WIDE } from "../../support/parse-events.ts";
import { CASES, HEADER } from "../../unit/xml/cases.ts";
import { cut, type Target } from "../harness/target.ts";

const TIGHT: XmlLimits = { maxStanzaBytes: 300, maxDepth: 4, maxAttributes: 4 };
const WORDS =
  "<|>|/>|</|'|\"|=| |a|&|;|&amp;|&lt;|&#65;|&#x10FFFF;|&#0;|&#xD800;|]]>|<![CDATA[|]]|\r\n|\r|\t|ä|𝄞|<message>|</message>|<a x='1'>|</a>|<b/>|</stream:stream>|<stream:stream |<?xml version='1.0'?>|<!--|-->|<?|?>|<!DOCTYPE|<!ENTITY|xmlns='|xmlns:p='urn:p'|p:a|xml:lang='en'|xmlns=''|stream:error|\ufeff|\ufffe|\u0000".split(
    "|",
  );

/** The parser of XML streams. */
export const xml: Target = {
  name: "xml",
  seeds: CASES.map(({ bare, input }) =>
    bare === true ? Buffer.from(input) : Buffer.concat([Buffer.from(HEADER), Buffer.from(input)]),
  ),
  words: [...WORDS, HEADER, Buffer.of(0xc0, 0x80), Buffer.of(0xed, 0xa0, 0x80), Buffer.of(0xf0, 0x9d)],
  run(input, random) {
    const whole = eventsOf([input]);
    assert.deepEqual(eventsOf(cut(input, random)), whole, "other events when the input is cut");
    const fault = whole.findIndex((event) => event.startsWith("fault"));
    assert.ok(fault < 0 || fault === whole.length - 1, "something was reported after a fault");
    const kept = (pieces: Buffer[]): string[] => eventsOf(pieces, TIGHT).filter((event) => !event.startsWith("fault"));
    assert.deepEqual(kept(cut(input, random)), kept([input]), "other limits when the input is cut");
    for (const element of elementsOf(input, TIGHT)) {
      assert.ok(depthOf(element) <= TIGHT.maxDepth, "deeper than allowed");
      assert.ok(widest(element) <= TIGHT.maxAttributes + 3, "more attributes than allowed");
    }
    let header = HEADER;
    const onHeader = ({ xmlns }: StreamHeader): void => {
      // It is read back in a stream of the same content namespace: what may have a prefix depends on that.
      header = HEADER.replace("jabber:client", () => escapeXML(xmlns ?? ""));
    };
    for (const element of elementsOf(input, WIDE, onHeader)) {
      assert.equal(textOf(element), element.toString(), "two ways to write an element");
      const again = elementsOf(Buffer.from(header + textOf(element)), { ...WIDE, maxStanzaBytes: 2 ** 20 });
      assert.deepEqual(again.map(textOf), [textOf(element)], "an element is not read back");
    }
    pausedAndGoneOn(input, random, whole);
  },
};

/** A parser that is paused after each element and goes on later says the same. */
function pausedAndGoneOn(input: Buffer, random: SeededRandom, whole: readonly string[]): void {
  const events: string[] = [];
  let isPaused = false;
  const parser: StreamParser = new StreamParser(
    {
      onHeader: (header) => events.push(`header ${JSON.stringify(header)}`),
      onElement: (element) => {
        events.push(`element ${element.getNS()} ${element.toString()}`);
        parser.pause();
        isPaused = true;
      },
      onEndTag: () => events.push("end"),
      onFault: (fault) => events.push(`fault ${fault.condition}`),
    },
    WIDE,
  );
  for (const piece of cut(input, random)) {
    parser.write(piece);
    while (isPaused && random.chance(0.5)) {
      isPaused = false;
      parser.resume();
    }
  }
  while (isPaused) {
    isPaused = false;
    parser.resume();
  }
  assert.deepEqual(events, whole, "other events when the parser is paused");
}

function elementsOf(
  input: Buffer,
  limits: XmlLimits,
  onHeader: (header: StreamHeader) => void = () => undefined,
): Element[] {
  const elements: Element[] = [];
  const sink = {
    onHeader,
    onElement: (one: Element) => void elements.push(one),
    onEndTag: () => undefined,
    onFault: () => undefined,
  };
  new StreamParser(sink, limits).write(input);
  return elements;
}

function depthOf(element: Element): number {
  return 1 + Math.max(0, ...element.getChildElements().map(depthOf));
}

function widest(element: Element): number {
  return Math.max(Object.keys(element.attrs).length, ...element.getChildElements().map(widest));
}
