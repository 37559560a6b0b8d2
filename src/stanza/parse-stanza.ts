// From the text of one stanza, as we wrote it and something kept it, back to the stanza. The text is not trusted: it
// goes through the parser that peers' streams go through. Not for streams.

import { Jid } from "../jid/jid.ts";
import type { Element } from "../xml/element.ts";
import { NS } from "../xml/ns.ts";
import { StreamParser } from "../xml/stream-parser.ts";
import { stanzaKind } from "./read-stanza.ts";
import { Stanza } from "./stanza.ts";

const OPENING_TAG = `<stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}' version='1.0'>`;
const MAX_DEPTH = 1_000;
const MAX_ATTRIBUTES = 1_000;

/** A stanza that was read back; `stanza` is undefined for one without a `from`, which nobody but its stream can use. */
export interface ParsedStanza {
  readonly element: Element;
  readonly stanza: Stanza | undefined;
}

/** Reads `text`, which is to hold one message, presence or IQ and nothing else; undefined when it does not. */
export function parseStanza(text: string): ParsedStanza | undefined {
  const element = onlyChild(text);
  if (element === undefined || stanzaKind(element) === undefined) return undefined;
  const { from, to } = element.attrs;
  if (from === undefined) return { element, stanza: undefined };
  const sender = Jid.parse(from);
  const addressee = to === undefined ? undefined : Jid.parse(to);
  if (sender === undefined || (to !== undefined && addressee === undefined)) return undefined;
  return { element, stanza: new Stanza(element, sender, addressee) };
}

function onlyChild(text: string): Element | undefined {
  const elements: Element[] = [];
  let isOver = false;
  const sink = {
    onHeader: () => undefined,
    onElement: (element: Element) => {
      elements.push(element);
    },
    onEndTag: () => {
      isOver = true;
    },
    onFault: () => {
      isOver = true;
    },
  };
  // The opening tag has the same bound.
  const maxStanzaBytes = Buffer.byteLength(text) + OPENING_TAG.length;
  const parser = new StreamParser(sink, { maxStanzaBytes, maxDepth: MAX_DEPTH, maxAttributes: MAX_ATTRIBUTES });
  parser.write(Buffer.from(OPENING_TAG + text));
  return isOver || elements.length !== 1 ? undefined : elements[0];
}
