// The receiving half of XEP-0198 on an inbound stream: counts what we have taken responsibility for and tells the peer,
// when it asks and also when it does not, so that little is left untold when the stream ends. Not for: our own stanzas
// (outgoing-stream.ts).

import { HandledCounter } from "../../stream/acks.ts";
import type { Clock } from "../../util/clock.ts";
import type { Element } from "../../xml/element.ts";
import { SM_ENABLED, SM_UNEXPECTED, smAnswer } from "./elements.ts";

/** So many stanzas are told without being asked about. */
const UNASKED = 50;

export interface AcknowledgerOptions {
  readonly clock: Clock;
  readonly send: (text: string) => void;
  /** Whether the peer has shown who it is. */
  readonly isAuthenticated: () => boolean;
}

/** Counts and tells. */
export class Acknowledger {
  #options: AcknowledgerOptions;
  #handled: HandledCounter | undefined;
  #untold = 0;
  #isUrgent = false;
  #tellsSoon = false;

  constructor(options: AcknowledgerOptions) {
    this.#options = options;
  }

  /** Whether the peer asked for acknowledgements. */
  get isEnabled(): boolean {
    return this.#handled !== undefined;
  }

  /** Takes an element of the peer in the namespace of XEP-0198. */
  onElement(element: Element): void {
    switch (element.getName()) {
      case "enable":
        if (this.#handled !== undefined || !this.#options.isAuthenticated()) return this.#options.send(SM_UNEXPECTED);
        this.#handled = new HandledCounter();
        return this.#options.send(SM_ENABLED);
      case "r":
        return this.tell();
      case "resume":
        return this.#options.send(SM_UNEXPECTED);
    }
  }

  /** One more stanza is delivered, stored or answered. */
  count(): void {
    if (this.#handled === undefined) return;
    this.#handled.count();
    this.#untold++;
    if (this.#isUrgent || this.#untold >= UNASKED) this.#tellSoon();
  }

  /** From now on everything is told at the end of the turn in which it was handled. */
  hurry(): void {
    this.#isUrgent = true;
    if (this.#untold > 0) this.tell();
  }

  /** Tells the peer now, if acknowledgements were agreed on. */
  tell(): void {
    if (this.#handled === undefined) return;
    this.#untold = 0;
    this.#options.send(smAnswer(this.#handled.h));
  }

  #tellSoon(): void {
    if (this.#tellsSoon) return;
    this.#tellsSoon = true;
    this.#options.clock.soon(() => {
      this.#tellsSoon = false;
      if (this.#untold > 0) this.tell();
    });
  }
}
