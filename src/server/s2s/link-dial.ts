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

  constructor(options: LinkDialOptions) {
    this.#options = options;
    this.done = this.#run();
  }

  /** Whether there is a connection. */
  get isNegotiating(): boolean {
    return this.#isNegotiating;
  }

  /** Ends it now. */
  abort(): void {
    this.#abort.abort();
  }

  async #run(): Promise<ReadyStream | LinkFailure> {
    const { signal } = this.#abort;
    const leave = await this.#options.gate.enter(signal);
    if (leave === undefined) return temporary();
    try {
      return await this.#try();
    } finally {
      leave();
    }
  }

  async #try(): Promise<ReadyStream | LinkFailure> {
    const { context, local, remote } = this.#options;
    const { signal } = this.#abort;
    for (let external = true; ; external = false) {
      this.#isNegotiating = false;
      const connected: Connected = await context.connect(remote, local, signal);
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
}
