// What XEP-0198 adds to a session, as plain data: how many of the client's stanzas have been carried, and the stanzas for
// the client that it has not acknowledged. Not for: connections, timers and elements on the wire (delivery.ts).

import { AckWindow, HandledCounter } from "../../stream/acks.ts";
import type { Copies } from "../router.ts";

/** A stanza for the client that it has not acknowledged: only its text, because elements take many times the memory. */
export interface Unacked {
  readonly text: string;
  /** What it shares with the same message in other sessions, if it went to several. */
  readonly copies: Copies | undefined;
  /** When it was handed to the session, in milliseconds since 1970. */
  readonly at: number;
  /** By which a module finds what it keeps of it, and is told what becomes of it (`Session.deliver`). */
  readonly ref: string | undefined;
}

/** What a state goes on from. */
export interface SmCounts {
  readonly handled: number;
  /** How many stanzas the client has acknowledged; not wrapped. */
  readonly proved: number;
}

/** How many characters a stanza counts for beside its text: what it takes to hold it. */
const OVERHEAD = 100;

/**
 * Makes `text` one piece in memory. V8 keeps what was joined as a tree until a character is asked for, and the text of a
 * stanza is joined from so many pieces that the tree takes up to thirteen times what the text does (measured).
 */
export function pack(text: string): void {
  text.charCodeAt(0);
}

/** The counters and the queue of one session. */
export class SmState {
  /** The SM-ID; undefined when the session is not to be resumed. */
  readonly id: string | undefined;
  /** How long the session may wait for its client, in milliseconds. */
  readonly maxMs: number;
  readonly handled: HandledCounter;
  #window: AckWindow<Unacked>;
  #size = 0;
  /** The references of what was acknowledged, until somebody takes them. */
  #taken: string[] | undefined;

  constructor(id: string | undefined, maxMs: number, counts: SmCounts = { handled: 0, proved: 0 }) {
    this.id = id;
    this.maxMs = maxMs;
    this.handled = new HandledCounter(counts.handled);
    this.#window = new AckWindow(counts.proved);
  }

  /** How many stanzas wait to be acknowledged. */
  get pending(): number {
    return this.#window.pending;
  }

  /** How large they are together, in characters. */
  get size(): number {
    return this.#size;
  }

  /** How many have been sent since acknowledgements were agreed on; not wrapped. */
  get sent(): number {
    return this.#window.sent;
  }

  /** How many of those the client has acknowledged; not wrapped. */
  get proved(): number {
    return this.#window.proved;
  }

  unacked(): Iterable<Unacked> {
    return this.#window.items();
  }

  add(item: Unacked): void {
    this.#window.add(item);
    this.#size += item.text.length + OVERHEAD;
  }

  /** Makes what waits take the least memory: for when it may wait for long. */
  pack(): void {
    for (const { text } of this.#window.items()) pack(text);
  }

  /** Tells whether the client may say `h`: no more than was sent, no less than it said before. */
  covers(h: number): boolean {
    return this.#window.covers(h);
  }

  /** Takes the client's `h`; false, and nothing is taken, when it may not say that. */
  acknowledge(h: number): boolean {
    return this.#window.acknowledge(h, ({ text, ref }) => {
      this.#size -= text.length + OVERHEAD;
      if (ref === undefined) return;
      this.#taken ??= [];
      this.#taken.push(ref);
    });
  }

  /** Returns the references among what has been acknowledged since the last call; undefined when there are none. */
  takeReferences(): readonly string[] | undefined {
    const taken = this.#taken;
    this.#taken = undefined;
    return taken;
  }

  /** Empties the queue and returns what was in it, oldest first. */
  takeAll(): Unacked[] {
    this.#size = 0;
    return this.#window.takeAll();
  }
}
