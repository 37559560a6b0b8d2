// Reads the XML that a test has written by hand. Not for: anything that came over a network.

import type { Element } from "../xml/element.ts";
import { StreamParser } from "../xml/stream-parser.ts";

/** Reads one element of jabber:client with the server's own parser; throws when it is not well-formed. */
export function parseElement(xml: string): Element {
  let result: Element | undefined;
  const parser = new StreamParser(
    {
      onHeader: () => undefined,
      onElement: (element) => {
        result = element;
      },
      onEndTag: () => undefined,
      onFault: (fault) => {
        throw new Error(`${JSON.stringify(fault)} in ${xml}`);
      },
    },
    { maxStanzaBytes: 1_000_000, maxDepth: 64, maxAttributes: 64 },
  );
  const header = '<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" version="1.0">';
  parser.write(Buffer.from(header + xml));
  if (result === undefined) throw new Error(`not one whole element: ${xml}`);
  return result;
}
