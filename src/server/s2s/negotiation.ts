// The dialling side of a server-to-server stream up to the moment when stanzas may be sent (RFC 6120 §4.3, §13.7):
// header, STARTTLS, SASL EXTERNAL (XEP-0178) where it is offered, dialback (XEP-0220) otherwise; or a dialback
// verification instead of either. One use each; the result is a value.

import { tlsNameOf } from "../../net/dial.ts";
import type { Transport } from "../../net/transport.ts";
import { certificateNames } from "../../sasl/external.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import { type StreamCondition, StreamError } from "../../stanza/stream-error.ts";
import type { StreamEnd, StreamHandler, StreamHeader, XmlStream } from "../../stream/contract.ts";
import { asError } from "../../util/errors.ts";
import type { WheelTimeout } from "../../util/timer-wheel.ts";
import { withResolvers } from "../../util/with-resolvers.ts";
import type { Element } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";
import { HandlerSwitch, type S2sContext } from "./context.ts";
import { dialback, dialbackError, domainOf, externalAuth, kindOf, STARTTLS } from "./elements.ts";

/** What the stream is opened for: to send stanzas, or to ask about a key somebody showed us. */
export type Purpose =
  | { readonly kind: "send"; readonly external: boolean }
  | { readonly kind: "verify"; readonly streamId: string; readonly key: string };

/** How a negotiation ended. */
export type Negotiated =
  | {
      readonly kind: "ready";
      readonly stream: XmlStream;
      /** Where to put the handler of the open stream. */
      readonly handler: HandlerSwitch;
      /** Whether the peer offers XEP-0198. */
      readonly sm: boolean;
    }
  | { readonly kind: "verified"; readonly valid: boolean }
  | {
      readonly kind: "failed";
      readonly error: StanzaError;
      /** True when the peer, or we, will not have it: trying again later is of no use. */
      readonly isRefusal: boolean;
      /** True when the peer broke off because EXTERNAL failed: without it, it may go better. */
      readonly withoutExternal: boolean;
    };

/** Stream errors by which a peer says that it will not have us: it is not the host, or we may not. */
const REFUSALS: ReadonlySet<StreamCondition> = new Set<StreamCondition>([
  "host-unknown",
  "host-gone",
  "not-authorized",
  "policy-violation",
  "invalid-namespace",
  "invalid-from",
  "improper-addressing",
  "unsupported-version",
]);

/** Conditions of a dialback error (XEP-0220 §2.5) that say the same. */
const DIALBACK_REFUSALS: ReadonlySet<string> = new Set([
  "item-not-found",
  "not-allowed",
  "not-authorized",
  "forbidden",
  "policy-violation",
]);

/** Who talks to whom, and what for. */
export interface NegotiationOptions {
  readonly context: S2sContext;
  readonly local: string;
  readonly remote: string;
  readonly purpose: Purpose;
  readonly signal: AbortSignal;
}

/** Negotiates on `transport`. Never rejects; on failure the transport is closed. */
export function negotiate(transport: Transport, options: NegotiationOptions): Promise<Negotiated> {
  return new Negotiation(transport, options).done;
}

class Negotiation implements StreamHandler {
  readonly done: Promise<Negotiated>;
  #finish: (result: Negotiated) => void;
  #options: NegotiationOptions;
  #context: S2sContext;
  #stream: XmlStream;
  #handler: HandlerSwitch;
  #timeout: WheelTimeout;
  #streamId = "";
  #peerSpeaksDialback = false;
  #sm = false;
  #step: "features" | "tls" | "sasl" | "answer" | "done" = "features";
  #authenticated = false;
  #externalFailed = false;
  #challenged = false;

  constructor(transport: Transport, options: NegotiationOptions) {
    const { promise, resolve } = withResolvers<Negotiated>();
    this.done = promise;
    this.#finish = resolve;
    this.#options = options;
    this.#context = options.context;
    this.#handler = new HandlerSwitch(this);
    this.#timeout = this.#context.wheel.add(this.#context.config.auth_timeout, () =>
      this.#fail("no answer in time", new StreamError("connection-timeout")),
    );
    options.signal.addEventListener("abort", this.#aborted);
    this.#stream = this.#context.openStream(transport, this.#handler);
    this.#stream.sendHeader({ from: options.local, to: options.remote });
  }

  onHeader(header: StreamHeader): void {
    if (this.#step === "done") return;
    if (header.xmlns !== NS.server) return this.#refuse("not a server stream", new StreamError("invalid-namespace"));
    this.#streamId = header.id ?? "";
    if (header.dialback) this.#peerSpeaksDialback = true;
    const modern = header.version !== undefined && !header.version.startsWith("0.");
    // RFC 6120 §4.7.5: a peer without a version knows no features; it can only do dialback.
    if (!modern) this.#secured();
  }

  onElement(element: Element): void | Promise<void> {
    if (this.#step === "done") return undefined;
    const kind = kindOf(element);
    if (kind === "features" && this.#step === "features") return this.#onFeatures(element);
    if (kind === "tls" && this.#step === "tls") return this.#onTls(element);
    if (kind === "sasl" && this.#step === "sasl") return this.#onSasl(element);
    if (kind === "dialback-result" && this.#step === "answer") return this.#onResult(element);
    if (kind === "dialback-verify" && this.#step === "answer") return this.#onVerify(element);
    return undefined;
  }

  onPeerClosing(): void {
    this.#fail("the peer closed the stream");
  }

  onDrain(): void {
    return undefined;
  }

  onClosed(end: StreamEnd): void {
    const condition = end.fault?.condition;
    if (condition !== undefined && REFUSALS.has(condition)) return this.#refuse(condition);
    return this.#fail(condition ?? end.error?.message ?? "the peer closed the connection");
  }

  #onFeatures(features: Element): void {
    this.#sm = features.getChild("sm", NS.sm) !== undefined;
    if (this.#authenticated) return this.#ready();
    if (this.#stream.transport.tls === undefined && features.getChild("starttls", NS.tls) !== undefined) {
      this.#step = "tls";
      this.#stream.send(STARTTLS);
      return undefined;
    }
    if (features.getChild("dialback", NS.dialbackFeature) !== undefined) this.#peerSpeaksDialback = true;
    const mechanisms = features.getChild("mechanisms", NS.sasl)?.getChildren("mechanism") ?? [];
    return this.#secured(mechanisms.some((mechanism) => mechanism.getText().trim() === "EXTERNAL"));
  }

  async #onTls(element: Element): Promise<void> {
    if (element.getName() !== "proceed") return this.#refuse("the peer refused TLS");
    this.#step = "features";
    const { certificates } = this.#context;
    const { local, remote } = this.#options;
    try {
      await this.#stream.startTls({ role: "client", certificates, serverName: tlsNameOf(remote), localName: local });
    } catch (thrown) {
      return this.#fail(`TLS failed: ${asError(thrown).message}`);
    }
    if (this.#isDone()) return undefined;
    this.#stream.sendHeader({ from: local, to: remote });
    return undefined;
  }

  /** As secure as it gets: now prove who we are, or ask what we came to ask. */
  #secured(externalOffered = false): void {
    const { config } = this.#context;
    const { local, remote, purpose } = this.#options;
    const tls = this.#stream.transport.tls;
    if (config.require_tls && tls === undefined) {
      return this.#refuse("TLS is required and the peer has none", new StreamError("policy-violation"));
    }
    if (config.dialback === "deny" && !certificateNames(tls, remote)) {
      return this.#refuse(`the certificate is not valid for ${remote}`, new StreamError("not-authorized"));
    }
    if (purpose.kind === "verify") {
      this.#step = "answer";
      this.#stream.send(dialback("verify", { from: local, to: remote, id: purpose.streamId }, purpose.key));
      return undefined;
    }
    if (externalOffered && purpose.external && tls !== undefined) {
      this.#step = "sasl";
      this.#stream.send(externalAuth(local));
      return undefined;
    }
    return this.#dialBack();
  }

  #dialBack(): void {
    const { local, remote } = this.#options;
    if (!this.#peerSpeaksDialback) {
      return this.#refuse("the peer offers no way to authenticate", new StreamError("unsupported-feature"));
    }
    this.#step = "answer";
    const key = this.#context.keys.make(remote, local, this.#streamId);
    this.#stream.send(dialback("result", { from: local, to: remote }, key));
  }

  #onSasl(element: Element): void {
    const name = element.getName();
    if (name === "success") {
      this.#authenticated = true;
      this.#step = "features";
      this.#stream.restart();
      this.#stream.sendHeader({ from: this.#options.local, to: this.#options.remote });
      return;
    }
    if (name === "challenge" && !this.#challenged) {
      // XEP-0178 §3: a server that overlooked our first response asks for it; an empty one means "as the stream says".
      this.#challenged = true;
      this.#stream.send(`<response xmlns='${NS.sasl}'/>`);
      return;
    }
    this.#externalFailed = true;
    this.#dialBack();
  }

  #onResult(element: Element): void {
    if (this.#options.purpose.kind !== "send" || !this.#isOurs(element)) return;
    if (element.attrs.type === "valid") return this.#ready();
    if (element.attrs.type !== "error") return this.#refuse("dialback failed: the key was not accepted");
    const why = dialbackError(element);
    if (DIALBACK_REFUSALS.has(why)) this.#refuse(`dialback failed: ${why}`);
    else this.#fail(`dialback failed: ${why}`);
  }

  #onVerify(element: Element): void {
    const { purpose } = this.#options;
    if (purpose.kind !== "verify" || element.attrs.id !== purpose.streamId || !this.#isOurs(element)) return;
    if (element.attrs.type === "error") return this.#fail(`dialback failed: ${dialbackError(element)}`);
    this.#end({ kind: "verified", valid: element.attrs.type === "valid" });
    void this.#stream.close({ timeoutMs: this.#context.config.close_timeout });
  }

  /** Whether a dialback answer is about our pair of domains, however the peer writes their names. */
  #isOurs({ attrs }: Element): boolean {
    return domainOf(attrs.from ?? "") === this.#options.remote && domainOf(attrs.to ?? "") === this.#options.local;
  }

  #ready(): void {
    this.#end({ kind: "ready", stream: this.#stream, handler: this.#handler, sm: this.#sm });
  }

  #refuse(reason: string, fault?: StreamError): void {
    this.#fail(reason, fault, true);
  }

  #fail(reason: string, fault?: StreamError, isRefusal = false): void {
    if (this.#isDone()) return;
    const { local, remote } = this.#options;
    this.#context.log.info({ local, remote, reason }, "s2s: no stream");
    const error = new StanzaError("remote-server-timeout", reason);
    this.#end({ kind: "failed", error, isRefusal, withoutExternal: this.#externalFailed });
    const timeoutMs = this.#context.config.close_timeout;
    void this.#stream.close(fault === undefined ? { timeoutMs } : { error: fault, timeoutMs });
  }

  #aborted = (): void => {
    if (this.#isDone()) return;
    const error = new StanzaError("remote-server-timeout");
    this.#end({ kind: "failed", error, isRefusal: false, withoutExternal: false });
    this.#stream.destroy();
  };

  #isDone(): boolean {
    return this.#step === "done";
  }

  #end(result: Negotiated): void {
    this.#step = "done";
    this.#timeout.cancel();
    this.#options.signal.removeEventListener("abort", this.#aborted);
    this.#finish(result);
  }
}
