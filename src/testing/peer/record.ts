// What a scripted peer saw and did, in order and with times, and waiting until something is in it.

import type { Clock } from "../../util/clock.ts";
import type { Element } from "../../xml/element.ts";
import { Waits } from "../waits.ts";

/**
 * What happened. `connected`: accepted, or dialled. `header`, `element`, `closing-tag`: as they came. `sent`: text that was
 * written. `tls`: a handshake was done. `end`: the server ended its side (FIN). `ended`: the peer ended its own. `fault`:
 * what came was not XMPP. `over`: the connection is gone, `text` says how. `failed`: no connection, or no TLS.
 */
export type SeenKind =
  | "connected"
  | "header"
  | "element"
  | "closing-tag"
  | "sent"
  | "tls"
  | "end"
  | "ended"
  | "fault"
  | "over"
  | "failed";

/** One thing that happened. */
export interface Seen {
  /** Milliseconds on the peer's clock. */
  readonly at: number;
  /** Which connection: 1 for the first, in the order in which they were made. */
  readonly connection: number;
  /** Whether the peer accepted it or dialled it. */
  readonly side: "in" | "out";
  readonly kind: SeenKind;
  /** What came or was written; of an element, its XML. */
  readonly text: string;
  readonly element?: Element;
}

/** An element that came; its text is made only when somebody wants to see it. */
class SeenElement implements Seen {
  readonly at: number;
  readonly connection: number;
  readonly side: "in" | "out";
  readonly kind = "element";
  readonly element: Element;

  constructor(at: number, { connection, side }: Omit<Seen, "at">, element: Element) {
    this.at = at;
    this.connection = connection;
    this.side = side;
    this.element = element;
  }

  get text(): string {
    return this.element.toString();
  }
}

/** Everything that happened to one peer. */
export class PeerRecord {
  readonly seen: Seen[] = [];
  #clock: Clock;
  #waits: Waits<void>;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#waits = new Waits(clock);
  }

  add(entry: Omit<Seen, "at">): void {
    const at = this.#clock.now();
    const { element } = entry;
    this.seen.push(element === undefined ? { at, ...entry } : new SeenElement(at, entry, element));
    this.#waits.tell();
  }

  /** Resolves when `holds`, which is asked again after each thing that happens. */
  async until(holds: () => boolean, what: string, timeoutMs: number): Promise<void> {
    if (holds()) return;
    await this.#waits.next(holds, timeoutMs, () => `${what}\n${this.history()}`);
  }

  /** Nobody waits any more. */
  close(): void {
    this.#waits.fail(() => `the peer was stopped\n${this.history()}`);
  }

  /** The record as text, a line for each thing. */
  history(): string {
    return this.seen
      .map(({ at, connection, side, kind, text }) =>
        `${at.toFixed(0)} ms  ${side} ${connection}  ${kind}  ${text}`.trimEnd(),
      )
      .join("\n");
  }
}
