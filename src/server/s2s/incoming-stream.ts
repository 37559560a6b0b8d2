// A stream that another server opened to us (RFC 6120 §13.7, XEP-0220): negotiation on the accepting side, then stanzas.
// No stanza passes unless the domain it says it is from was authenticated on this very stream for the host it is to.
// A stanza counts as handled (XEP-0198) only when `deliver` has taken responsibility for it.

import { Jid } from "../../jid/jid.ts";
import type { Accepted } from "../../net/transport.ts";
import { certificateNames } from "../../sasl/external.ts";
import { Stanza } from "../../stanza/stanza.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import { type StreamCondition, StreamError } from "../../stanza/stream-error.ts";
import { HandledCounter } from "../../stream/acks.ts";
import type { StreamHandler, StreamHeader, StreamLimits, XmlStream } from "../../stream/contract.ts";
import { asError } from "../../util/errors.ts";
import type { WheelTimeout } from "../../util/timer-wheel.ts";
import { type Element, withAttrs, xml } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";
import type { S2sContext } from "./context.ts";
import type { DialbackVerifier } from "./dialback-verifier.ts";
import {
  dialback,
  kindOf,
  PROCEED,
  SASL_REFUSED,
  SASL_SUCCESS,
  SASL_UNKNOWN,
  SM_ENABLED,
  SM_UNEXPECTED,
  smAnswer,
  TLS_FAILURE,
} from "./elements.ts";

/** Bounds on a peer that has not shown who it is; it has nothing large to say. */
const BEFORE_AUTH: StreamLimits = {
  maxStanzaBytes: 16_384,
  maxDepth: 16,
  maxAttributes: 32,
  rate: 32_768,
  burst: 65_536,
};

/** How many domain pairs one stream may carry, and how many keys may be under verification at once. */
const MAX_PAIRS = 256;
const MAX_VERIFICATIONS = 16;

/** How often a peer may fail EXTERNAL before the stream ends. */
const MAX_FAILED_AUTH = 3;

/** Turns of the event loop that `finish` gives a peer which keeps sending, before it closes regardless. */
const MAX_QUIET_TURNS = 200;

export interface IncomingStreamOptions {
  readonly context: S2sContext;
  readonly accepted: Accepted;
  readonly verifier: DialbackVerifier;
  /** Told once, when the stream is over. */
  readonly onOver: (stream: IncomingStream) => void;
}

/** A stream from another server. */
export class IncomingStream implements StreamHandler {
  #context: S2sContext;
  #verifier: DialbackVerifier;
  #onOver: (stream: IncomingStream) => void;
  #stream: XmlStream;
  #authTimer: WheelTimeout;
  #idleTimer: WheelTimeout | undefined;
  #lastUsed: number;
  #streamId = "";
  /** The domain the peer says it is, and the host it says it wants, in the latest header. */
  #peer: string | undefined;
  #host: string | undefined;
  #modern = false;
  #external = false;
  #failedAuth = 0;
  /** `remote local` for each pair of domains that is authenticated. */
  #pairs = new Set<string>();
  #verifying = 0;
  /** Set once the peer enabled XEP-0198. */
  #handled: HandledCounter | undefined;
  /** Everything that ever came, to notice that nothing does any more. */
  #seen = 0;
  #isDelivering = false;
  /** Called when the stanza in hand has been dealt with. */
  #whenDelivered: (() => void) | undefined;

  constructor({ context, accepted, verifier, onOver }: IncomingStreamOptions) {
    this.#context = context;
    this.#verifier = verifier;
    this.#onOver = onOver;
    this.#lastUsed = context.clock.now();
    this.#stream = context.openStream(accepted.transport, this);
    this.#stream.setLimits(BEFORE_AUTH);
    this.#authTimer = context.wheel.add(context.config.auth_timeout, () => this.#end("connection-timeout"));
    accepted.ready.catch((thrown: unknown) => {
      context.log.info({ error: asError(thrown).message }, "s2s: TLS failed");
      this.#stream.destroy(asError(thrown));
    });
  }

  /** The domains that are authenticated here. */
  get domains(): readonly string[] {
    return [...new Set(Array.from(this.#pairs, (pair) => pair.slice(0, pair.indexOf(" "))))];
  }

  /**
   * Handles what has already come, acknowledges it, and closes in order. What the peer sends until it closes is handled
   * too, unless the stream has acknowledgements: see `#onStanza`. Resolves when the stream is over.
   */
  async finish(timeoutMs: number, error: StreamError): Promise<void> {
    let seen = -1;
    for (let turn = 0; turn < MAX_QUIET_TURNS; turn++) {
      if (seen === this.#seen && !this.#isDelivering) break;
      seen = this.#seen;
      await this.#context.clock.turn();
    }
    if (!this.#isDelivering || this.#handled === undefined) return await this.#close(timeoutMs, error);
    // A stanza in hand that is handled after the last acknowledgement would have two fates; the next one must not begin.
    await new Promise<void>((resolve) => {
      const close = (): void => {
        limit.cancel();
        resolve(this.#close(timeoutMs, error));
      };
      const limit = this.#context.wheel.add(timeoutMs / 2, close);
      this.#whenDelivered = close;
    });
  }

  /** Says how much was handled, for the last time, and closes. */
  async #close(timeoutMs: number, error?: StreamError): Promise<void> {
    if (this.#handled !== undefined && !this.#stream.closing) this.#stream.send(smAnswer(this.#handled.h));
    await this.#stream.close(error === undefined ? { timeoutMs } : { error, timeoutMs });
  }

  /** Ends the stream now. */
  destroy(): void {
    this.#stream.destroy();
  }

  onHeader(header: StreamHeader): void {
    this.#seen++;
    if (this.#stream.closing) return;
    const peer = header.from === undefined ? undefined : domainOf(header.from);
    const host = header.to === undefined ? undefined : domainOf(header.to);
    this.#streamId = this.#context.random.id();
    this.#stream.sendHeader({
      id: this.#streamId,
      ...(host !== undefined && this.#context.hosts.has(host) ? { from: host } : {}),
      ...(peer === undefined ? {} : { to: peer }),
    });
    if (header.xmlns !== NS.server) return this.#end("invalid-namespace");
    if (header.to !== undefined && (host === undefined || !this.#context.hosts.has(host))) {
      return this.#end("host-unknown");
    }
    if (header.from !== undefined && (peer === undefined || this.#context.hosts.has(peer))) {
      return this.#end("invalid-from");
    }
    // RFC 6120 §13.7.2: what EXTERNAL proved about one domain says nothing about another.
    if (this.#external && (peer !== this.#peer || host !== this.#host)) return this.#end("invalid-from");
    this.#peer = peer;
    this.#host = host;
    this.#modern = header.version !== undefined && !header.version.startsWith("0.");
    if (this.#modern) this.#stream.send(this.#features());
    else if (this.#tlsMissing) this.#end("policy-violation", "TLS is required");
  }

  onElement(element: Element): void | Promise<void> {
    this.#seen++;
    switch (kindOf(element)) {
      case "stanza":
        return this.#onStanza(element);
      case "sm":
        return this.#onSm(element);
      case "tls":
        return this.#onTls(element);
      case "sasl":
        return this.#onSasl(element);
      case "dialback-result":
        return this.#onResult(element);
      case "dialback-verify":
        return this.#onVerify(element);
      case "features":
      case "error":
        return undefined;
      case "unknown":
        return this.#end("unsupported-stanza-type");
    }
  }

  onPeerClosing(): void {
    if (this.#handled !== undefined) this.#stream.send(smAnswer(this.#handled.h));
  }

  onDrain(): void {
    return undefined;
  }

  onClosed(): void {
    this.#authTimer.cancel();
    this.#idleTimer?.cancel();
    this.#onOver(this);
  }

  get #tlsMissing(): boolean {
    return this.#context.config.require_tls && this.#stream.transport.tls === undefined;
  }

  get #certified(): boolean {
    return this.#peer !== undefined && certificateNames(this.#stream.transport.tls, this.#peer);
  }

  #features(): string {
    const { config } = this.#context;
    const features = xml("stream:features");
    if (this.#stream.transport.tls === undefined) {
      features.cnode(xml("starttls", { xmlns: NS.tls }, config.require_tls ? xml("required") : undefined));
    }
    if (!this.#tlsMissing) {
      if (!this.#external && this.#certified && this.#host !== undefined) {
        features.cnode(xml("mechanisms", { xmlns: NS.sasl }, xml("mechanism", {}, "EXTERNAL")));
      }
      // With `deny` the dialback elements still work, but only a certificate makes a key valid (XEP-0344).
      features.cnode(xml("dialback", { xmlns: NS.dialbackFeature }, xml("errors")));
    }
    if (this.#external) features.cnode(xml("sm", { xmlns: NS.sm }));
    return features.toString();
  }

  async #onTls(element: Element): Promise<void> {
    if (element.getName() !== "starttls" || this.#stream.transport.tls !== undefined || this.#pairs.size > 0) {
      this.#stream.send(TLS_FAILURE);
      return this.#end("not-authorized");
    }
    this.#stream.send(PROCEED);
    try {
      const { certificates } = this.#context;
      await this.#stream.startTls({ role: "server", certificates, requestCertificate: true });
    } catch (thrown) {
      this.#context.log.info({ peer: this.#peer, error: asError(thrown).message }, "s2s: TLS failed");
    }
  }

  #onSasl(element: Element): void {
    if (this.#external || this.#tlsMissing || element.getName() !== "auth") return this.#end("not-authorized");
    if (element.attrs.mechanism !== "EXTERNAL") return this.#refuse(SASL_UNKNOWN);
    const peer = this.#peer;
    if (peer === undefined || this.#host === undefined || !this.#certified) return this.#refuse(SASL_REFUSED);
    const text = element.getText().trim();
    // XEP-0178 §3: an empty name stands for the one in the header.
    const name = text === "" || text === "=" ? peer : domainOf(Buffer.from(text, "base64").toString());
    if (name !== peer) return this.#refuse(SASL_REFUSED);
    this.#external = true;
    this.#authenticated(peer, this.#host, "EXTERNAL");
    this.#stream.send(SASL_SUCCESS);
    this.#stream.restart();
    return undefined;
  }

  #refuse(failure: string): void {
    this.#stream.send(failure);
    if (++this.#failedAuth >= MAX_FAILED_AUTH) this.#end("policy-violation");
  }

  /** A peer shows a key (XEP-0220 §2.2). What goes wrong is told for this pair of domains alone. */
  #onResult(element: Element): void {
    const remote = domainOf(element.attrs.from ?? "");
    const local = domainOf(element.attrs.to ?? "");
    if (element.attrs.type !== undefined) return;
    if (this.#tlsMissing) return this.#end("policy-violation", "TLS is required");
    if (remote === undefined || local === undefined) return this.#end("improper-addressing");
    if (this.#context.hosts.has(remote)) return this.#end("invalid-from");
    const answer = { from: local, to: remote, type: "error" };
    if (!this.#context.hosts.has(local)) {
      // RFC 6120 §4.9.3.6, unless other pairs would suffer: then for this pair alone (XEP-0220 §2.5).
      if (this.#pairs.size === 0) return this.#end("host-unknown");
      this.#stream.send(dialback("result", answer, new StanzaError("item-not-found")));
      return;
    }
    if (this.#verifying >= MAX_VERIFICATIONS || this.#pairs.size >= MAX_PAIRS) {
      this.#stream.send(dialback("result", answer, new StanzaError("resource-constraint")));
      return;
    }
    if (certificateNames(this.#stream.transport.tls, remote)) return this.#resolved(remote, local, true);
    if (this.#context.config.dialback === "deny") {
      this.#stream.send(dialback("result", answer, new StanzaError("policy-violation")));
      return;
    }
    this.#verifying++;
    const key = element.getText().trim();
    // Not awaited: other pairs, and answers to other servers' questions, go on meanwhile.
    this.#verifier
      .verify({ local, remote, streamId: this.#streamId, key })
      .then((verdict) => this.#resolved(remote, local, verdict))
      .catch((thrown: unknown) => {
        this.#context.log.error({ remote, local, error: asError(thrown).message }, "s2s: verification failed");
        this.#resolved(remote, local, new StanzaError("internal-server-error"));
      })
      .finally(() => {
        this.#verifying--;
      });
  }

  #resolved(remote: string, local: string, verdict: boolean | StanzaError): void {
    const pair = { from: local, to: remote };
    if (verdict === true) {
      this.#authenticated(remote, local, "dialback");
      this.#stream.send(dialback("result", { ...pair, type: "valid" }));
    } else if (verdict === false) {
      this.#context.log.warn({ remote, local }, "s2s: a dialback key was not valid");
      this.#stream.send(dialback("result", { ...pair, type: "invalid" }));
      if (this.#pairs.size === 0) this.#end("not-authorized");
    } else {
      this.#stream.send(dialback("result", { ...pair, type: "error" }, verdict));
    }
  }

  /** A receiving server asks about a key of ours (XEP-0220 §2.3). */
  #onVerify(element: Element): void {
    const { from, to, id } = element.attrs;
    if (element.attrs.type !== undefined) return;
    if (this.#tlsMissing) return this.#end("policy-violation", "TLS is required");
    const remote = domainOf(from ?? "");
    const local = domainOf(to ?? "");
    if (remote === undefined || local === undefined || id === undefined) return this.#end("improper-addressing");
    const answer = { from: local, to: remote, id };
    if (!this.#context.hosts.has(local)) {
      const error = new StanzaError("item-not-found");
      this.#stream.send(dialback("verify", { ...answer, type: "error" }, error));
      return;
    }
    const valid = this.#context.keys.verify(element.getText(), remote, local, id);
    this.#stream.send(dialback("verify", { ...answer, type: valid ? "valid" : "invalid" }));
  }

  #authenticated(remote: string, local: string, how: string): void {
    this.#context.log.info({ remote, local, how }, "s2s: peer authenticated");
    if (this.#pairs.size === 0) {
      const { config, wheel } = this.#context;
      this.#authTimer.cancel();
      this.#idleTimer = wheel.add(config.idle_timeout * 2, () => this.#onIdle());
      this.#stream.setLimits({
        maxStanzaBytes: config.max_stanza_size,
        maxDepth: config.max_depth,
        maxAttributes: config.max_attributes,
        rate: config.rate,
        burst: config.burst,
      });
    }
    this.#pairs.add(`${remote} ${local}`);
  }

  #onStanza(element: Element): void | Promise<void> {
    // No acknowledgement can follow our closing tag. What comes now is not handled for the peer, which sends it again or
    // returns it to its sender; if we took it all the same, it would have two fates.
    if (this.#handled !== undefined && this.#stream.closing) return undefined;
    const from = Jid.parse(element.attrs.from ?? "");
    const to = Jid.parse(element.attrs.to ?? "");
    if (this.#pairs.size === 0) return this.#end("not-authorized");
    if (from === undefined || to === undefined || from.domain === "" || to.domain === "") {
      return this.#end("improper-addressing");
    }
    if (!this.#pairs.has(`${from.domain} ${to.domain}`)) {
      return this.#end(this.#context.hosts.has(to.domain) ? "invalid-from" : "host-unknown");
    }
    this.#lastUsed = this.#context.clock.now();
    const own = { from: from.toString(), to: to.toString() };
    const isClean = element.attrs.xmlns === undefined && element.attrs.from === own.from && element.attrs.to === own.to;
    const stanza = new Stanza(isClean ? element : withAttrs(element, { ...own, xmlns: undefined }), from, to);
    try {
      const pending = this.#context.deliver(stanza);
      if (pending !== undefined) return this.#handledLater(pending);
      this.#handled?.count();
    } catch (thrown) {
      this.#notHandled(thrown);
    }
    return undefined;
  }

  async #handledLater(pending: Promise<void>): Promise<void> {
    this.#isDelivering = true;
    try {
      await pending;
      this.#handled?.count();
    } catch (thrown) {
      this.#notHandled(thrown);
    } finally {
      this.#isDelivering = false;
      this.#whenDelivered?.();
    }
  }

  /** Not counted in `h`, and nothing after it could be: the stream ends, and the peer knows which stanzas to look after. */
  #notHandled(thrown: unknown): void {
    this.#context.log.error({ peer: this.#peer, error: asError(thrown).message }, "s2s: a stanza was not handled");
    this.#end("internal-server-error");
  }

  #onSm(element: Element): void {
    switch (element.getName()) {
      case "enable":
        if (this.#pairs.size === 0 || this.#handled !== undefined) {
          this.#stream.send(SM_UNEXPECTED);
          return;
        }
        this.#handled = new HandledCounter();
        this.#stream.send(SM_ENABLED);
        return;
      case "r":
        if (this.#handled !== undefined) this.#stream.send(smAnswer(this.#handled.h));
        return;
      case "resume":
        this.#stream.send(SM_UNEXPECTED);
        return;
    }
  }

  #onIdle(): void {
    const { clock, config } = this.#context;
    const left = this.#lastUsed + config.idle_timeout * 2 - clock.now();
    if (left > 0) this.#idleTimer?.restart(left);
    else void this.#close(config.close_timeout);
  }

  #end(condition: StreamCondition, text?: string): void {
    if (this.#stream.closing) return;
    this.#context.log.info({ peer: this.#peer, condition }, "s2s: closing an inbound stream");
    const error = new StreamError(condition, text);
    void this.#close(this.#context.config.close_timeout, error);
  }
}

/** Prepares a domain that a peer wrote; undefined when it is not a domain alone. */
function domainOf(text: string): string | undefined {
  const jid = Jid.parse(text.trim());
  return jid === undefined || jid.local !== "" || jid.resource !== "" || jid.domain === "" ? undefined : jid.domain;
}
