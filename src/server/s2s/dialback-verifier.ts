// Asks the authoritative server of a domain whether a dialback key that somebody showed us is its own (XEP-0220 §2.3):
// a connection of its own for each question, bounded in number and in time.

import { StanzaError } from "../../stanza/stanza-error.ts";
import type { S2sContext } from "./context.ts";
import { DialGate } from "./dial-gate.ts";
import { unreachable } from "./elements.ts";
import { negotiate } from "./negotiation.ts";

/** A key somebody showed us. */
export interface KeyShown {
  /** The local host it was shown to. */
  readonly local: string;
  /** The domain it claims to come from. */
  readonly remote: string;
  /** The stream on which it was shown. */
  readonly streamId: string;
  readonly key: string;
}

/** The verifier. */
export class DialbackVerifier {
  #context: S2sContext;
  #gate: DialGate;

  constructor(context: S2sContext) {
    this.#context = context;
    this.#gate = new DialGate(context.config.max_dials, context.wheel);
  }

  /** The configuration has changed. */
  reconfigured(): void {
    this.#gate.max = this.#context.config.max_dials;
  }

  /**
   * Resolves to whether the key is valid, or to why that could not be found out. Never rejects for what a peer does;
   * breaks off when `signal` aborts.
   */
  async verify({ local, remote, streamId, key }: KeyShown, signal: AbortSignal): Promise<boolean | StanzaError> {
    const leave = await this.#gate.enter(signal);
    if (leave === undefined) return new StanzaError("remote-server-timeout");
    try {
      const connected = await this.#context.connect(remote, local, signal);
      if ("failure" in connected) return unreachable(connected.failure, connected.reason);
      const purpose = { kind: "verify", streamId, key } as const;
      const result = await negotiate(connected.transport, { context: this.#context, local, remote, purpose, signal });
      if (result.kind === "verified") return result.valid;
      return result.kind === "failed" ? result.error : new StanzaError("remote-server-timeout");
    } finally {
      leave();
    }
  }
}
