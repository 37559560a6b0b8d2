// A stream that another server opened to us (RFC 6120 §13.7): its opening tag, TLS, its limits and its end, and which
// pairs of domains are authenticated on it. What the peer says in between goes to the part that knows: dialback,
// EXTERNAL, acknowledgements, stanzas.

import type { Accepted, TlsInfo } from "../../net/transport.ts";
import { type StreamCondition, StreamError } from "../../stanza/stream-error.ts";
import type { StreamHandler, StreamHeader, StreamLimits, XmlStream } from "../../stream/contract.ts";
import { asError } from "../../util/errors.ts";
import type { WheelTimeout } from "../../util/timer-wheel.ts";
import { type Element, xml } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";
import { Acknowledger } from "./acknowledger.ts";
import type { InboundOwner, S2sContext } from "./context.ts";
import type { DialbackVerifier } from "./dialback-verifier.ts";
import { domainOf, kindOf, PROCEED, TLS_FAILURE } from "./elements.ts";
import { IncomingDialback } from "./incoming-dialback.ts";
import { type Claim, IncomingExternal } from "./incoming-external.ts";
import { IncomingStanzas } from "./incoming-stanzas.ts";

/** Bounds on a peer that has not shown who it is; it has nothing large to say. */
const BEFORE_AUTH: StreamLimits = {
  maxStanzaBytes: 16_384,
  maxDepth: 16,
  maxAttributes: 32,
  rate: 32_768,
  burst: 65_536,
};

/** Turns of the event loop that `finish` gives a peer which keeps sending, before it closes regardless. */
const MAX_QUIET_TURNS = 5_000;

export interface IncomingStreamOptions {
  readonly context: S2sContext;
  readonly accepted: Accepted;
  readonly verifier: DialbackVerifier;
  /** Told once, when the stream is over. */
  readonly onOver: (stream: IncomingStream) => void;
}

/** How long the end of a stream may take, in milliseconds. */
export interface FinishLimits {
  /** While nothing happens. */
  readonly quietMs: number;
  /** In all. */
  readonly longestMs: number;
}

/** What a part of the stream waits for, and how to say that it has come. */
interface Wait {
  readonly over: Promise<void>;
  readonly end: () => void;
}

/** A stream from another server. */
export class IncomingStream implements StreamHandler, InboundOwner {
  #context: S2sContext;
  #onOver: (stream: IncomingStream) => void;
  #stream: XmlStream;
  #dialback: IncomingDialback;
  #external = new IncomingExternal();
  #acks: Acknowledger;
  #authTimer: WheelTimeout;
  #idleTimer: WheelTimeout | undefined;
  #stanzas: IncomingStanzas;
  /** The domain the peer says it is, and the host it says it wants, in the latest header. */
  #peer: string | undefined;
  #host: string | undefined;
  /** `remote local` for each pair of domains that is authenticated. */
  #pairs = new Set<string>();
  /** Everything that ever came, to notice that nothing does any more. */
  #seen = 0;
  /** While our answers wait for a peer that does not read them, what it sends waits too. */
  #room: Wait | undefined;
  /** While the end is being said, what comes next waits, so that the last acknowledgement is about all before it. */
  #gate: Wait | undefined;

  constructor({ context, accepted, verifier, onOver }: IncomingStreamOptions) {
    this.#context = context;
    this.#onOver = onOver;
    this.#dialback = new IncomingDialback({ context, verifier, owner: this });
    this.#acks = new Acknowledger({
      clock: context.clock,
      send: (text) => this.send(text),
      isAuthenticated: () => this.isAuthenticated,
    });
    this.#stanzas = new IncomingStanzas({ context, acks: this.#acks, owner: this });
    this.#stream = context.openStream(accepted.transport, this);
    this.#stream.setLimits(BEFORE_AUTH);
    this.#authTimer = context.wheel.add(context.config.auth_timeout, () => this.end("connection-timeout"));
    accepted.ready.catch((thrown: unknown) => {
      context.log.info({ error: asError(thrown).message }, "s2s: TLS failed");
      this.#stream.destroy(asError(thrown));
    });
  }

  /** The domains that are authenticated here. */
  get domains(): readonly string[] {
    return [...new Set(Array.from(this.#pairs, (pair) => pair.slice(0, pair.indexOf(" "))))];
  }

  get isAuthenticated(): boolean {
    return this.#pairs.size > 0;
  }

  get pairCount(): number {
    return this.#pairs.size;
  }

  get tls(): TlsInfo | undefined {
    return this.#stream.transport.tls;
  }

  /** Going down: what is handled from now on is acknowledged at once. */
  hurry(): void {
    this.#acks.hurry();
  }

  /**
   * Handles what has already come, acknowledges it, and closes in order. What the peer sends until it closes is handled
   * too, unless the stream has acknowledgements: see `#dispatch`. A peer is given up when nothing more was handled for
   * `quietMs`, and after `longestMs` whatever it does: without acknowledgements, what it has written and we have not
   * handled then is lost to it without a word. Resolves when the stream is over.
   */
  async finish({ quietMs, longestMs }: FinishLimits, error: StreamError): Promise<void> {
    const { clock, wheel } = this.#context;
    const start = clock.now();
    this.#acks.hurry();
    await this.#untilQuiet(quietMs / 2);
    const closed = this.#close(longestMs - (clock.now() - start), error);
    let seen = this.#seen;
    const quiet = wheel.add(quietMs, () => {
      if (seen === this.#seen) void this.#stream.close({ timeoutMs: 0 });
      else quiet.restart();
      seen = this.#seen;
    });
    await closed;
    quiet.cancel();
  }

  /** Handles nothing more of what comes until `release`; resolves when nothing is at work any more. */
  hold(holder: string): Promise<void> {
    return this.#stream.hold(holder);
  }

  /** Goes on after `hold`. */
  release(holder: string): void {
    this.#stream.release(holder);
  }

  /** Whether a TLS handshake is under way. */
  get isHandshaking(): boolean {
    return this.#stream.transport.handshaking;
  }

  /** Sends white space to a peer that has shown who it is, so that the connection is not idle. */
  keepAlive(): void {
    if (this.isAuthenticated && this.#room === undefined) this.send(" ");
  }

  /** Ends the stream now. */
  destroy(): void {
    this.#dialback.destroy();
    this.#stream.destroy();
  }

  isPair(remote: string, local: string): boolean {
    return this.#pairs.has(`${remote} ${local}`);
  }

  send(text: string): void {
    if (!this.#stream.send(text)) this.#room ??= newWait();
  }

  authenticated(remote: string, local: string, how: string): void {
    this.#context.log.info({ remote, local, how }, "s2s: peer authenticated");
    if (!this.isAuthenticated) {
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

  end(condition: StreamCondition, text?: string): void {
    if (this.#stream.closing) return;
    this.#context.log.info({ peer: this.#peer, condition }, "s2s: closing an inbound stream");
    void this.#close(this.#context.config.close_timeout, new StreamError(condition, text));
  }

  onHeader(header: StreamHeader): void {
    this.#seen++;
    if (this.#stream.closing) return;
    const peer = header.from === undefined ? undefined : domainOf(header.from);
    const host = header.to === undefined ? undefined : domainOf(header.to);
    const id = this.#context.random.id();
    this.#dialback.opened(id);
    this.#stream.sendHeader({
      id,
      ...(host !== undefined && this.#context.hosts.has(host) ? { from: host } : {}),
      ...(peer === undefined ? {} : { to: peer }),
    });
    if (header.xmlns !== NS.server) return this.end("invalid-namespace");
    if (header.to !== undefined && (host === undefined || !this.#context.hosts.has(host))) {
      return this.end("host-unknown");
    }
    if (header.from !== undefined && (peer === undefined || this.#context.hosts.has(peer))) {
      return this.end("invalid-from");
    }
    if (this.#external.contradicts({ peer, host, tls: this.tls })) return this.end("invalid-from");
    this.#peer = peer;
    this.#host = host;
    const isModern = header.version !== undefined && !header.version.startsWith("0.");
    if (isModern) this.send(this.#features());
    else if (this.#tlsMissing) this.end("policy-violation", "TLS is required");
  }

  onElement(element: Element): void | Promise<void> {
    this.#seen++;
    if (this.#gate !== undefined) return this.#gate.over.then(() => this.#take(element));
    return this.#take(element);
  }

  onPeerClosing(): void {
    this.#acks.tell();
  }

  onDrain(): void {
    this.#room?.end();
    this.#room = undefined;
  }

  onClosed(): void {
    this.#authTimer.cancel();
    this.#idleTimer?.cancel();
    this.#dialback.destroy();
    this.#goOn();
    this.#onOver(this);
  }

  get #tlsMissing(): boolean {
    return this.#context.config.require_tls && this.tls === undefined;
  }

  get #claim(): Claim {
    return { peer: this.#peer, host: this.#host, tls: this.tls };
  }

  #features(): string {
    const { config } = this.#context;
    const features = xml("stream:features");
    if (this.tls === undefined) {
      features.cnode(xml("starttls", { xmlns: NS.tls }, config.require_tls ? xml("required") : undefined));
    }
    if (!this.#tlsMissing) {
      if (this.#external.isOffered(this.#claim)) {
        features.cnode(xml("mechanisms", { xmlns: NS.sasl }, xml("mechanism", {}, "EXTERNAL")));
      }
      features.cnode(xml("dialback", { xmlns: NS.dialbackFeature }, xml("errors")));
    }
    if (this.#external.done) features.cnode(xml("sm", { xmlns: NS.sm }));
    return features.toString();
  }

  #take(element: Element): void | Promise<void> {
    const pending = this.#dispatch(element);
    return pending ?? this.#room?.over;
  }

  #dispatch(element: Element): void | Promise<void> {
    const kind = kindOf(element);
    switch (kind) {
      case "stanza":
        // No acknowledgement can follow our closing tag. What comes now is not handled for the peer, which sends it again
        // or returns it to its sender; if we took it all the same, it would have two fates.
        if (this.#acks.isEnabled && this.#stream.closing) return undefined;
        return this.#stanzas.onElement(element);
      case "sm":
        // Nothing can be agreed on any more, and a stream without acknowledgements is read to its end.
        return this.#stream.closing ? undefined : this.#acks.onElement(element);
      case "tls":
        return this.#onTls(element);
      case "sasl":
        return this.#onSasl(element);
      case "dialback-result":
      case "dialback-verify":
        if (this.#stream.closing) return undefined;
        if (this.#tlsMissing) return this.end("policy-violation", "TLS is required");
        return kind === "dialback-result" ? this.#dialback.onResult(element) : this.#dialback.onVerify(element);
      case "features":
      case "error":
        return undefined;
      case "unknown":
        return this.end("unsupported-stanza-type");
    }
  }

  async #onTls(element: Element): Promise<void> {
    const isTooLate = this.tls !== undefined || this.isAuthenticated || this.#dialback.isVerifying;
    if (element.getName() !== "starttls" || isTooLate) {
      this.send(TLS_FAILURE);
      return this.end("not-authorized");
    }
    this.send(PROCEED);
    try {
      const { certificates } = this.#context;
      await this.#stream.startTls({ role: "server", certificates, requestCertificate: true });
    } catch (thrown) {
      this.#context.log.info({ peer: this.#peer, error: asError(thrown).message }, "s2s: TLS failed");
    }
  }

  #onSasl(element: Element): void {
    if (this.#stream.closing) return;
    const result = this.#tlsMissing
      ? ({ kind: "out-of-order" } as const)
      : this.#external.onElement(element, this.#claim, (peer, host) => this.#context.refusal(peer, host) !== undefined);
    if (result.kind === "out-of-order") return this.end("not-authorized");
    this.send(result.text);
    if (result.kind === "success") {
      this.authenticated(result.peer, result.host, "EXTERNAL");
      this.#stream.restart();
    } else if (result.isLast) this.end("policy-violation");
  }

  /**
   * Resolves when nothing more comes for the moment and no stanza is in work, after `limitMs` at the latest. What comes
   * then waits at the gate.
   */
  async #untilQuiet(limitMs: number): Promise<void> {
    const { clock } = this.#context;
    const done = new AbortController();
    let isLate = false;
    const late = clock.sleep(limitMs / 2, done.signal).then(() => {
      isLate = true;
    });
    let seen = -1;
    for (let turn = 0; turn < MAX_QUIET_TURNS && !isLate; turn++) {
      if (seen === this.#seen && this.#stanzas.delivering === undefined) break;
      seen = this.#seen;
      await Promise.race([this.#stanzas.delivering ?? clock.turn(), late]);
    }
    // A stanza in hand that is handled after the last acknowledgement would have two fates; the next one must not begin.
    this.#gate ??= newWait();
    if (this.#stanzas.delivering !== undefined) {
      await Promise.race([this.#stanzas.delivering, clock.sleep(limitMs / 2, done.signal)]);
    }
    done.abort();
  }

  #onIdle(): void {
    const { clock, config } = this.#context;
    const left = this.#stanzas.lastAt + config.idle_timeout * 2 - clock.now();
    if (left > 0) this.#idleTimer?.restart(left);
    else void this.#close(config.close_timeout);
  }

  /** Says in one write how much was handled, for the last time, and that this is the end. */
  async #close(timeoutMs: number, error?: StreamError): Promise<void> {
    this.#acks.tell();
    const closed = this.#stream.close(error === undefined ? { timeoutMs } : { error, timeoutMs });
    this.#goOn();
    await closed;
  }

  /** Nothing is sent any more, so nothing has to wait for that. */
  #goOn(): void {
    this.onDrain();
    this.#gate?.end();
    this.#gate = undefined;
  }
}

function newWait(): Wait {
  let end: () => void = () => undefined;
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { over, end };
}
