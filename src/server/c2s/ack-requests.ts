// When a client is asked to acknowledge (XEP-0198 §4), and when one that keeps silent is given up. One timeout for each
// session at most, on the wheel, and none for a session that owes nothing.

import type { Clock } from "../../util/clock.ts";
import type { TimerWheel, WheelTimeout } from "../../util/timer-wheel.ts";
import { SM_REQUEST } from "./sm-elements.ts";

/** So many stanzas are sent before the client is asked. */
const ASK_AFTER = 10;
/** A stanza does not wait longer than this before the client is asked. */
const ASK_DELAY_MS = 2_000;

export interface AckRequestsOptions {
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  /** How long a client that was asked may keep silent, in milliseconds. */
  readonly timeoutMs: number;
  send(text: string): void;
  /** How many stanzas wait to be acknowledged. */
  pending(): number;
  /** When the client was last heard, by `Clock.now()`; now, while we are the ones who do not listen. */
  lastHeardAt(): number;
  /** The client was asked and nothing at all came from it for too long. */
  silent(): void;
}

/** Asks for acknowledgements on one connection. */
export class AckRequests {
  #options: AckRequestsOptions;
  #timeout: WheelTimeout | undefined;
  #isTicking = false;
  #isAsked = false;
  #askedAt = 0;
  #unasked = 0;

  constructor(options: AckRequestsOptions) {
    this.#options = options;
  }

  /** One more stanza was sent. */
  sent(): void {
    this.#unasked++;
    if (this.#isAsked) return;
    if (this.#unasked >= ASK_AFTER) this.ask();
    else if (!this.#isTicking) this.#tick(ASK_DELAY_MS);
  }

  /** Asks now, unless an answer is awaited already. */
  ask(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.#unasked = 0;
    this.#askedAt = this.#options.clock.now();
    this.#options.send(SM_REQUEST);
    this.#tick(this.#options.timeoutMs);
  }

  /** The client acknowledged something. */
  answered(): void {
    if (!this.#isAsked) return;
    this.#isAsked = false;
    if (this.#options.pending() > 0) this.#tick(ASK_DELAY_MS);
    else this.stop();
  }

  stop(): void {
    this.#isTicking = false;
    this.#timeout?.cancel();
  }

  #tick(ms: number): void {
    this.#isTicking = true;
    if (this.#timeout === undefined) this.#timeout = this.#options.wheel.add(ms, () => this.#fire());
    else this.#timeout.restart(ms);
  }

  #fire(): void {
    this.#isTicking = false;
    if (!this.#isAsked) {
      if (this.#options.pending() > 0) this.ask();
      return;
    }
    // Whoever says something else is there; that nothing is acknowledged is a matter of the queue's bounds.
    const heardAt = this.#options.lastHeardAt();
    if (heardAt <= this.#askedAt) {
      this.#options.silent();
      return;
    }
    this.#askedAt = heardAt;
    this.#tick(this.#options.timeoutMs);
  }
}
