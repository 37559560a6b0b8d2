// One go at an authenticated stream from a local host to a domain: a place at the gate, a connection, the negotiation, and
// once more without EXTERNAL where the peer broke off at that. Not for: when it is tried (remote-link.ts, back-off.ts).

import { StanzaError } from "../../stanza/stanza-error.ts";
import type { Connected, S2sContext } from "./context.ts";
import type { DialGate } from "./dial-gate.ts";
import { unreachable } from "./elements.ts";
import { type Negotiated, negotiate } from "./negotiation.ts";

/** Why there is no stream. */
export interface LinkFailure {
  readonly error: StanzaError;
  /** Trying again later is of no use: what waits goes back. */
  readonly isFinal: boolean;
}

/** Returns a failure after which it is worth trying again. */
export function temporary(text?: string): LinkFailure {
  return { error: new StanzaError("remote-server-timeout", text), isFinal: false };
}

/** A stream on which stanzas may be sent. */
export type ReadyStream = Extract<Negotiated, { readonly kind: "ready" }>;

/** A connection that is not there after so many milliseconds may have been begun before whatever stood in its way was mended. */
const STALE_MS = 1_000;

export interface LinkDialOptions {
  readonly context: S2sContext;
  readonly gate: DialGate;
  readonly local: string;
  readonly remote: string;
}

/** A go that is under way from the moment it is made. */
export class LinkDial {
  /** How it ended. Rejects for bugs alone. */
  readonly done: Promise<ReadyStream | LinkFailure>;
  #options: LinkDialOptions;
  #abort = new AbortController();
  #isNegotiating = false;
  /** Ends the connecting that is under way, and when that began. */
  #connecting: AbortController | undefined;
  #connectingSince = 0;
  #isAskedAgain = false;

  constructor(options: LinkDialOptions) {
    this.#options = options;
    this.done = this.#run();
  }

  /** Whether there is a connection. */
  get isNegotiating(): boolean {
    return this.#isNegotiating;
  }

  /**
   * Somebody wants it to be tried now. A connection that has not come about is begun anew, unless it was begun just now; a
   * negotiation goes on. If what is under way fails all the same, it is tried once more at once.
   */
  again(): void {
    this.#isAskedAgain = true;
    if (this.#options.context.clock.now() - this.#connectingSince >= STALE_MS) this.#connecting?.abort();
  }

  /** Ends it now. */
  abort(): void {
    this.#abort.abort();
    this.#connecting?.abort();
  }

  async #run(): Promise<ReadyStream | LinkFailure> {
    const { signal } = this.#abort;
    const leave = await this.#options.gate.enter(signal);
    if (leave === undefined) return temporary();
    try {
      for (;;) {
        this.#isAskedAgain = false;
        const result = await this.#try();
        if (!("error" in result) || !this.#isAskedAgain || signal.aborted) return result;
      }
    } finally {
      leave();
    }
  }

  async #try(): Promise<ReadyStream | LinkFailure> {
    const { context, local, remote } = this.#options;
    const { signal } = this.#abort;
    for (let external = true; ; external = false) {
      this.#isNegotiating = false;
      const connected = await this.#connect();
      if ("failure" in connected) {
        const { failure, reason } = connected;
        return { error: unreachable(failure, reason), isFinal: failure === "not-found" };
      }
      this.#isNegotiating = true;
      const purpose = { kind: "send", external } as const;
      const result = await negotiate(connected.transport, { context, local, remote, purpose, signal });
      if (result.kind === "ready") return result;
      if (result.kind !== "failed") return temporary();
      if (!(result.withoutExternal && external) || signal.aborted) {
        return { error: result.error, isFinal: result.isRefusal };
      }
    }
  }

  async #connect(): Promise<Connected> {
    const { context, local, remote } = this.#options;
    const connecting = new AbortController();
    if (this.#abort.signal.aborted) connecting.abort();
    this.#connecting = connecting;
    this.#connectingSince = context.clock.now();
    try {
      return await context.connect(remote, local, connecting.signal);
    } finally {
      this.#connecting = undefined;
    }
  }
}
