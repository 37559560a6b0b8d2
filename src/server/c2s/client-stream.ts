// One client connection from its first byte to its last: header, STARTTLS, SASL, resource binding, then stanzas (RFC 6120
// §4 to §10). It decides what is allowed in which state; what a stanza means is the router's business.

import { Jid } from "../../jid/jid.ts";
import type { TlsInfo, Transport } from "../../net/transport.ts";
import { type ReadFromClient, readStanza } from "../../stanza/read-stanza.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import { StreamError } from "../../stanza/stream-error.ts";
import { parseH } from "../../stream/acks.ts";
import type { HeaderOptions, StreamEnd, StreamHandler, StreamHeader, XmlStream } from "../../stream/contract.ts";
import { createXmlStream } from "../../stream/xml-stream.ts";
import type { WheelTimeout } from "../../util/timer-wheel.ts";
import { type Element, xml } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";
import { readBindRequest } from "./bind.ts";
import type { ClientSession } from "./client-session.ts";
import type { C2sContext } from "./context.ts";
import { streamFeatures } from "./features.ts";
import { SaslNegotiation } from "./sasl-negotiation.ts";
import type { Connection } from "./session-surroundings.ts";
import { readEnable, readResume, smFailed } from "./sm-elements.ts";

/** Where a connection is in its negotiation. */
type State = "connected" | "negotiating" | "authenticated" | "bound" | "ending";

/** Requests to log in, bind, resume or manage a stream that come to nothing: so many, and then the connection ends. */
const MAX_REFUSED = 10;

/** A client connection. */
export class ClientStream implements StreamHandler, Connection {
  readonly #context: C2sContext;
  readonly stream: XmlStream;
  #state: State = "connected";
  #host: string | undefined;
  #tls: TlsInfo | undefined;
  #sasl: SaslNegotiation | undefined;
  #user: Jid | undefined;
  #session: ClientSession | undefined;
  #wrongPasswords = 0;
  #refusedLogins = 0;
  #loginTimeout: WheelTimeout | undefined;
  #idleTimeout: WheelTimeout | undefined;
  #closed: (() => void) | undefined;
  /** When the client was asked for a sign of life, if it was. */
  #pingedAt: number | undefined;
  #refused = 0;

  /** Takes over a transport that was accepted; `closed` is called once, when it is gone. */
  constructor(context: C2sContext, transport: Transport, closed: () => void) {
    this.#context = context;
    this.#closed = closed;
    this.#tls = transport.tls;
    this.stream = createXmlStream({
      transport,
      clock: context.clock,
      contentNamespace: NS.client,
      limits: context.loginLimits,
      log: context.log,
      fallbackHeader: () => this.#header(),
      closeTimeoutMs: context.config.close_timeout,
      handler: this,
    });
    this.#loginTimeout = context.wheel.add(context.config.login_timeout, () => {
      this.fail(new StreamError("connection-timeout", "login took too long"));
    });
  }

  /** The session that this connection carries, once there is one. */
  get session(): ClientSession | undefined {
    return this.#session?.isOn(this) ? this.#session : undefined;
  }

  /** What people know it by: the full JID of its session, or where it comes from. */
  get name(): string {
    return this.session?.jid.toString() ?? `login from ${this.stream.transport.remoteAddress}`;
  }

  /** Tells the stream that a handshake begun by the listener (direct TLS) is done. */
  secured(tls: TlsInfo): void {
    this.#tls = tls;
  }

  /** Closes the connection with `error`, and the session with it. Resolves when the connection is gone; never rejects. */
  async close(error: StreamError, timeoutMs: number): Promise<StreamEnd> {
    this.#leaveNegotiation();
    const { session } = this;
    return await (session === undefined ? this.stream.close({ error, timeoutMs }) : session.close(error, timeoutMs));
  }

  /** Ends the connection for a fault of the client; what it says after that does not count. */
  fail(error?: StreamError): void {
    this.#leaveNegotiation();
    void this.session?.end(error?.text ?? "");
    this.stream.fail(error);
  }

  adopted(session: ClientSession): void {
    this.#loginTimeout?.cancel();
    this.#state = "bound";
    this.#session = session;
    this.#idleTimeout = this.#context.wheel.add(this.#context.config.idle_timeout, () => this.#onIdle());
  }

  replaced(error: StreamError): void {
    this.#session = undefined;
    this.#state = "ending";
    this.#idleTimeout?.cancel();
    void this.stream.close({ error, timeoutMs: this.#context.config.close_timeout });
  }

  /** The session is another process's from now on: the client is to resume it there, on another connection. */
  passedOn(): void {
    this.#session = undefined;
    this.#state = "ending";
    this.#idleTimeout?.cancel();
    void this.stream.hangUp();
  }

  onHeader(header: StreamHeader): void {
    if (this.#state === "ending") return;
    const fault = this.#checkHeader(header);
    this.stream.sendHeader(this.#header());
    if (fault !== undefined) {
      this.fail(fault);
      return;
    }
    if (this.#state === "connected") this.#state = "negotiating";
    this.stream.send(streamFeatures(this.#context, { tls: this.#tls, user: this.#user }).toString());
  }

  onElement(element: Element): void | Promise<void> {
    return this.#session === undefined ? this.#negotiate(element) : this.#onStanza(element, this.#session);
  }

  onDrain(): void {
    this.session?.delivery.drained();
  }

  onPeerClosing(): void {
    this.#session?.clientClosing(this);
  }

  /** Whatever comes for the session from now on waits for the client to come back, or takes the way of a missing resource. */
  onOutputClosed(how: "closed" | "broken"): void {
    this.session?.outputClosed(how);
  }

  onInputLost(): void {
    // A closing tag would say that the session is over.
    if (this.session?.detach()) this.stream.destroy();
  }

  onClosed(): void {
    this.#leaveNegotiation();
    this.#idleTimeout?.cancel();
    this.#session?.connectionGone(this);
    this.#closed?.();
    this.#closed = undefined;
  }

  #header(): HeaderOptions {
    const from = this.#host ?? this.#context.hosts[0];
    return { id: this.#context.random.id(), lang: "en", ...(from === undefined ? {} : { from }) };
  }

  #checkHeader(header: StreamHeader): StreamError | undefined {
    if (header.xmlns !== NS.client) return new StreamError("invalid-namespace");
    if (header.version === undefined || !/^[1-9]\d*\.\d+$/.test(header.version)) {
      return new StreamError("unsupported-version");
    }
    const to = header.to === undefined ? undefined : Jid.parse(header.to);
    if (to === undefined || to.local !== "" || to.resource !== "") {
      // RFC 6120 §4.7.2: without a `to` the host of the SNI will do.
      const named = header.to === undefined ? Jid.parse(this.#tls?.serverName ?? "")?.domain : undefined;
      if (named === undefined || !this.#context.hosts.includes(named)) return new StreamError("host-unknown");
      this.#host ??= named;
      return undefined;
    }
    if (!this.#context.hosts.includes(to.domain)) return new StreamError("host-unknown");
    if (this.#user !== undefined && this.#user.domain !== to.domain) return new StreamError("not-authorized");
    this.#host = to.domain;
    return undefined;
  }

  #negotiate(element: Element): void | Promise<void> {
    if (this.#state === "ending") return undefined;
    if (this.#state === "authenticated") {
      return element.getNS() === NS.sm ? this.#onSmBeforeBind(element) : this.#onBind(element);
    }
    if (element.is("starttls", NS.tls)) return this.#onStartTls();
    const xmlns = element.getNS();
    if (xmlns === NS.sasl) return this.#onSasl(element);
    // XEP-0198 §2: not before the login.
    if (xmlns === NS.sm) return this.#refuse(smFailed("unexpected-request"));
    return this.fail(new StreamError("not-authorized"));
  }

  async #onStartTls(): Promise<void> {
    if (this.#tls !== undefined) {
      this.stream.send(xml("failure", { xmlns: NS.tls }).toString());
      this.fail();
      return;
    }
    this.stream.send(xml("proceed", { xmlns: NS.tls }).toString());
    try {
      this.#tls = await this.stream.startTls(this.#context.tls);
    } catch (thrown) {
      // The stream has ended itself: there is nobody left to tell.
      this.#context.log.debug({ err: thrown, address: this.stream.transport.remoteAddress }, "TLS handshake failed");
    }
  }

  async #onSasl(element: Element): Promise<void> {
    this.#sasl ??= new SaslNegotiation(this.#context, this.#host ?? "", this.#tls);
    const reply = await this.#sasl.receive(element);
    if (this.stream.closing) return;
    this.stream.send(reply.element.toString());
    if (reply.outcome === "continue") return;
    this.#sasl = undefined;
    if (reply.outcome === "success") {
      this.#user = reply.user;
      this.#state = "authenticated";
      this.stream.setLimits(this.#context.limits);
      this.stream.restart();
      return;
    }
    // A client may have to try until it finds a mechanism, or a channel binding, that both sides know.
    if (reply.isGuess) this.#wrongPasswords++;
    else this.#refusedLogins++;
    this.#context.log.info(
      { address: this.stream.transport.remoteAddress, condition: reply.condition },
      "client login refused",
    );
    const { max_failed_logins: maxWrong } = this.#context.config;
    if (this.#wrongPasswords < maxWrong && this.#refusedLogins < MAX_REFUSED) return;
    this.fail(new StreamError("policy-violation", "too many failed logins"));
  }

  async #onBind(element: Element): Promise<void> {
    const user = this.#user as Jid;
    const request = readBindRequest(element);
    if (request.kind === "other") {
      // RFC 6120 §7.1: nothing but binding before there is a resource.
      this.fail(new StreamError("not-authorized"));
      return;
    }
    if (request.kind === "refused") return this.#refuse(request.reply.toString());
    const refusal = this.#context.refusal();
    if (refusal !== undefined) return this.fail(refusal);
    const bound = await this.#context.bind(user, request.resource, this);
    if (bound instanceof StanzaError) {
      return this.#refuse(xml("iq", { type: "error", id: request.id }, bound.toElement()).toString());
    }
    if (this.stream.closing) return await bound.end("");
    if (!bound.open) {
      // Another connection bound the same resource in this very moment, and is closing this one.
      this.#leaveNegotiation();
      return;
    }
    this.adopted(bound);
    const jid = xml("jid", {}, bound.jid.toString());
    this.stream.send(xml("iq", { type: "result", id: request.id }, xml("bind", { xmlns: NS.bind }, jid)).toString());
    this.#context.bound(bound);
  }

  /** Says no to something that is not worth ending the connection for, unless it is said too often. */
  #refuse(reply: string): void {
    this.stream.send(reply);
    if (++this.#refused < MAX_REFUSED) return;
    this.fail(new StreamError("policy-violation", "too many requests that come to nothing"));
  }

  async #onSmBeforeBind(element: Element): Promise<void> {
    const request = element.getName() === "resume" ? readResume(element) : undefined;
    if (request === undefined) return this.#refuse(smFailed("unexpected-request"));
    const outcome = await this.#context.resume(this.#user as Jid, request, this);
    if (outcome.kind === "resumed" || this.stream.closing) return;
    if (outcome.kind === "fault") this.fail(outcome.error);
    else this.#refuse(smFailed(outcome.condition, outcome.h));
  }

  /** An element of XEP-0198 on a stream with a session. */
  #onSm(element: Element, session: ClientSession): void | Promise<void> {
    const { sm } = session;
    switch (element.getName()) {
      case "r":
        return sm === undefined ? this.#refuse(smFailed("unexpected-request")) : session.delivery.answer();
      case "a":
        return sm === undefined ? this.#refuse(smFailed("unexpected-request")) : this.#onAck(element, session);
      case "enable":
        if (sm !== undefined) return this.#refuse(smFailed("unexpected-request"));
        return session.open ? this.#context.enable(session, readEnable(element)) : undefined;
      case "resume":
        return this.#refuse(smFailed("unexpected-request"));
      default:
        return this.fail(new StreamError("unsupported-stanza-type"));
    }
  }

  #onAck(element: Element, session: ClientSession): void {
    const h = parseH(element.attrs.h);
    if (h === undefined) return this.fail(new StreamError("invalid-xml", "an acknowledgement without its number"));
    if (session.acknowledge(h)) return;
    this.fail(StreamError.handledCountTooHigh(h, session.sm?.sent ?? 0));
  }

  #onStanza(element: Element, session: ClientSession): void | Promise<void> {
    const read = readStanza(element, session.jid);
    if (read.kind === "not-a-stanza") {
      if (element.getNS() === NS.sm) return this.#onSm(element, session);
      return this.fail(new StreamError("unsupported-stanza-type"));
    }
    if (read.kind === "wrong-sender") return this.fail(new StreamError("invalid-from"));
    const work = this.#carry(read, session);
    if (work !== undefined) return session.carrying(work);
    session.carried();
    return undefined;
  }

  #carry(read: ReadFromClient & { kind: "stanza" | "bad" }, session: ClientSession): void | Promise<void> {
    if (read.kind === "bad") {
      return read.reply === undefined ? undefined : session.send(read.reply.text);
    }
    const { stanza } = read;
    if (stanza.kind === "iq" && stanza.type === "set" && stanza.element.getChild("session", NS.session) !== undefined) {
      // RFC 3921 §3: old clients insist on establishing a session; it has had no effect since RFC 6121.
      return session.send(xml("iq", { type: "result", id: stanza.id }).toString());
    }
    // A session that has ended is not available any more, whatever its client still says.
    if (stanza.kind === "presence" && !session.open) return undefined;
    return this.#context.route(session, stanza);
  }

  /** Asks a silent client whether it is still there; one that does not answer is given up (RFC 6120 §4.6.3). */
  #onIdle(): void {
    const { session } = this;
    if (session === undefined || !session.open) return;
    const { idle_timeout: idleMs, stall_timeout: answerMs } = this.#context.config;
    const { lastInputAt } = this.stream;
    if (this.#pingedAt !== undefined && lastInputAt <= this.#pingedAt) {
      void session.close(new StreamError("connection-timeout", "the client does not answer"));
      return;
    }
    this.#pingedAt = undefined;
    const now = this.#context.clock.now();
    // The timer does not follow each thing that comes: it looks, when it fires, at when something came last.
    const restMs = lastInputAt + idleMs - now;
    if (restMs > 0) {
      this.#idleTimeout?.restart(restMs);
      return;
    }
    if (session.delivery.probe()) {
      this.#idleTimeout?.restart(idleMs);
      return;
    }
    this.#pingedAt = now;
    const from = session.jid.domain;
    const to = session.jid.toString();
    const ping = xml("iq", { type: "get", id: this.#context.random.id(), from, to }, xml("ping", { xmlns: NS.ping }));
    void session.send(ping.toString());
    this.#idleTimeout?.restart(answerMs);
  }

  #leaveNegotiation(): void {
    this.#loginTimeout?.cancel();
    if (this.#state !== "bound") this.#state = "ending";
  }
}
