// Cuts the text of a stream into its header, its first-level elements and its closing tag, cheaply and without building
// elements: for test clients that hold thousands of connections to servers they trust. Not for hostile input; the
// server's own reader is src/xml/stream-parser.ts.

/** What a `StanzaScanner` reports, in the order of the stream. */
export interface ScannerEvents {
  /** The opening `<stream:stream …>` tag. */
  header(xml: string): void;
  /** One whole first-level element. */
  element(xml: string): void;
  /** The closing `</stream:stream>`. */
  end(): void;
}

const SLASH = 0x2f;
const QUESTION = 0x3f;
const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const GREATER = 0x3e;

/** An incremental cutter of one XML stream. Feed it text; call `reset()` where a stream is opened anew. */
export class StanzaScanner {
  #events: ScannerEvents;
  #text = "";
  #at = 0;
  #start = 0;
  #depth = 0;

  constructor(events: ScannerEvents) {
    this.#events = events;
  }

  /** Forgets the stream read so far: the next tag is a header again. What was not yet read is dropped. */
  reset(): void {
    this.#text = "";
    this.#at = 0;
    this.#start = 0;
    this.#depth = 0;
  }

  /** Reads the next piece of text and reports what it completes. */
  write(piece: string): void {
    this.#text = this.#text === "" ? piece : this.#text + piece;
    for (;;) {
      const text = this.#text;
      const open = text.indexOf("<", this.#at);
      if (open < 0) break;
      const close = tagEnd(text, open + 1);
      if (close < 0) {
        this.#at = open;
        break;
      }
      this.#at = close + 1;
      this.#tag(text, open, close);
      if (this.#text !== text) return;
    }
    if (this.#depth < 2) this.#start = Math.max(this.#start, this.#at);
    if (this.#start > 0) {
      this.#text = this.#text.slice(this.#start);
      this.#at = Math.max(0, this.#at - this.#start);
      this.#start = 0;
    }
  }

  #tag(text: string, open: number, close: number): void {
    const first = text.charCodeAt(open + 1);
    if (first === QUESTION) return;
    if (first === SLASH) {
      this.#depth -= 1;
      if (this.#depth === 1) this.#events.element(text.slice(this.#start, close + 1));
      else if (this.#depth === 0) this.#events.end();
      return;
    }
    const empty = text.charCodeAt(close - 1) === SLASH;
    if (this.#depth === 0) {
      this.#depth = 1;
      this.#events.header(text.slice(open, close + 1));
      return;
    }
    if (this.#depth === 1) this.#start = open;
    if (!empty) this.#depth += 1;
    else if (this.#depth === 1) this.#events.element(text.slice(open, close + 1));
  }
}

/** The index of the `>` that ends the tag, or -1 when it has not arrived; a `>` inside quotes does not count. */
function tagEnd(text: string, from: number): number {
  let quote = 0;
  for (let index = from; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (quote !== 0) {
      if (code === quote) quote = 0;
    } else if (code === GREATER) {
      return index;
    } else if (code === QUOTE || code === APOSTROPHE) {
      quote = code;
    }
  }
  return -1;
}
