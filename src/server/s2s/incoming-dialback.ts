// Dialback on an inbound stream (XEP-0220), both questions that can come in: a peer shows a key, which the authoritative
// server is asked about unless a certificate says enough; and a receiving server asks about a key of ours. What goes
// wrong is told for that pair of domains alone; how much a peer can make us ask is bounded.

import { certificateNames } from "../../sasl/external.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import { asError } from "../../util/errors.ts";
import type { Element } from "../../xml/element.ts";
import type { InboundOwner, S2sContext } from "./context.ts";
import type { DialbackVerifier } from "./dialback-verifier.ts";
import { dialback, domainOf } from "./elements.ts";

/** How many domain pairs one stream may carry, and how many keys may be under verification at once. */
const MAX_PAIRS = 256;
const MAX_VERIFICATIONS = 16;

/** How many keys may fail on one stream: each costs us lookups and a connection, and somebody else an answer. */
const MAX_FAILED_AS_STRANGER = 16;
const MAX_FAILED = MAX_PAIRS;

export interface IncomingDialbackOptions {
  readonly context: S2sContext;
  readonly verifier: DialbackVerifier;
  readonly owner: InboundOwner;
}

/** The dialback of one inbound stream. */
export class IncomingDialback {
  #context: S2sContext;
  #verifier: DialbackVerifier;
  #owner: InboundOwner;
  #streamId = "";
  #verifying = 0;
  #failed = 0;
  #over = new AbortController();

  constructor({ context, verifier, owner }: IncomingDialbackOptions) {
    this.#context = context;
    this.#verifier = verifier;
    this.#owner = owner;
  }

  /** Whether the answer to a question about a peer's key is awaited. */
  get isVerifying(): boolean {
    return this.#verifying > 0;
  }

  /** The stream was opened, or opened anew: keys are for this identifier from now on. */
  opened(streamId: string): void {
    this.#streamId = streamId;
  }

  /** A peer shows a key (XEP-0220 §2.2). */
  onResult(element: Element): void {
    const owner = this.#owner;
    // Whoever opened the stream is not in a position to answer: there was no question.
    if (element.attrs.type !== undefined) return;
    const remote = domainOf(element.attrs.from ?? "");
    const local = domainOf(element.attrs.to ?? "");
    if (remote === undefined || local === undefined) return owner.end("improper-addressing");
    if (this.#context.hosts.has(remote)) return owner.end("invalid-from");
    if (!this.#context.hosts.has(local)) {
      // RFC 6120 §4.9.3.6, unless other pairs would suffer: then for this pair alone (XEP-0220 §2.5).
      if (owner.pairCount === 0) return owner.end("host-unknown");
      return this.#refuse(remote, local, new StanzaError("item-not-found"));
    }
    const refusal = this.#context.refusal(remote, local);
    if (refusal !== undefined) return this.#refuse(remote, local, new StanzaError("resource-constraint", refusal));
    if (this.#verifying >= MAX_VERIFICATIONS || owner.pairCount >= MAX_PAIRS) {
      return this.#refuse(remote, local, new StanzaError("resource-constraint"));
    }
    if (certificateNames(owner.tls, remote)) return this.#resolved(remote, local, true);
    // With `deny` the elements still work, but only a certificate makes a key valid (XEP-0344).
    if (this.#context.config.dialback === "deny") {
      return this.#refuse(remote, local, new StanzaError("policy-violation"));
    }
    this.#verify(remote, local, element.getText().trim());
  }

  /** A receiving server asks about a key of ours (XEP-0220 §2.3). */
  onVerify(element: Element): void {
    const { from, to, id } = element.attrs;
    if (element.attrs.type !== undefined) return;
    const remote = domainOf(from ?? "");
    const local = domainOf(to ?? "");
    if (remote === undefined || local === undefined || id === undefined) {
      return this.#owner.end("improper-addressing");
    }
    const answer = { from: local, to: remote, id };
    if (!this.#context.hosts.has(local)) {
      const error = new StanzaError("item-not-found");
      return this.#owner.send(dialback("verify", { ...answer, type: "error" }, error));
    }
    const valid = this.#context.keys.verify(element.getText(), remote, local, id);
    this.#owner.send(dialback("verify", { ...answer, type: valid ? "valid" : "invalid" }));
  }

  /** The stream is over: what was asked on its behalf is of no use to anybody. */
  destroy(): void {
    this.#over.abort();
  }

  /** Not awaited: other pairs, and answers to other servers' questions, go on meanwhile. */
  #verify(remote: string, local: string, key: string): void {
    const streamId = this.#streamId;
    const { signal } = this.#over;
    this.#verifying++;
    this.#verifier
      .verify({ local, remote, streamId, key }, signal)
      .catch((thrown: unknown) => {
        this.#context.log.error({ remote, local, error: asError(thrown).message }, "s2s: verification failed");
        return new StanzaError("internal-server-error");
      })
      .then((verdict) => {
        this.#verifying--;
        // A verdict is about the stream on which the key was shown, and about no other that came after it.
        if (!signal.aborted && streamId === this.#streamId) this.#resolved(remote, local, verdict);
      })
      .catch((thrown: unknown) => this.#context.log.error({ error: asError(thrown).message }, "s2s: dialback failed"));
  }

  #resolved(remote: string, local: string, verdict: boolean | StanzaError): void {
    const owner = this.#owner;
    const pair = { from: local, to: remote };
    if (verdict === true) {
      owner.authenticated(remote, local, "dialback");
      return owner.send(dialback("result", { ...pair, type: "valid" }));
    }
    if (verdict === false) {
      this.#context.log.warn({ remote, local }, "s2s: a dialback key was not valid");
      owner.send(dialback("result", { ...pair, type: "invalid" }));
      if (owner.pairCount === 0) return owner.end("not-authorized");
    } else this.#refuse(remote, local, verdict);
    const most = owner.pairCount === 0 ? MAX_FAILED_AS_STRANGER : MAX_FAILED;
    if (++this.#failed >= most) owner.end("policy-violation", "too many keys have failed");
    return undefined;
  }

  #refuse(remote: string, local: string, error: StanzaError): void {
    this.#owner.send(dialback("result", { from: local, to: remote, type: "error" }, error));
  }
}
