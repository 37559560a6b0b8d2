// A scriptable XMPP client for tests and benchmarks: it speaks to the wire, hides nothing, and keeps what it received,
// in order and with times, and how the connection ended. Light enough that one process can hold thousands. It trusts
// the server's XML and does nothing on its own except answering a closing tag and an end.

import { StringDecoder } from "node:string_decoder";
import { createSecureContext, type SecureContext } from "node:tls";
import { tlsNameOf } from "../net/dial.ts";
import { TcpNetwork } from "../net/tcp.ts";
import type { CertificateSource, Network, TlsInfo, Transport, TransportEnd } from "../net/transport.ts";
import { certificateNames } from "../sasl/external.ts";
import { type Clock, systemClock } from "../util/clock.ts";
import { codeOf } from "../util/errors.ts";
import { silentLog } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import { NS } from "../xml/ns.ts";
import { type ClientMechanism, saslExchange } from "./sasl-client.ts";
import { StanzaScanner } from "./stanza-scanner.ts";
import { Waits } from "./waits.ts";

/** Where and as whom a client connects. */
export interface RawClientOptions {
  /** An address, such as `127.0.1.2`. */
  readonly host: string;
  readonly port: number;
  /** The XMPP domain, used in the stream header and as TLS server name. */
  readonly domain: string;
  readonly username?: string;
  readonly password?: string;
  readonly resource?: string;
  /** `starttls` unless told. */
  readonly security?: "starttls" | "direct" | "none";
  /** `SCRAM-SHA-1` unless told: every server has it. */
  readonly mechanism?: ClientMechanism;
  /** Checks the server's certificate against `domain`; it is not looked at unless told. */
  readonly verify?: boolean;
  /** The certificate to show, if any, and the roots to trust: see `makeContext`. */
  readonly certificates?: CertificateSource;
  /** `false`: elements are not kept, only given to `onElement`. */
  readonly record?: boolean;
  /** `false`: the server's closing tag is not answered, as a client that has gone to sleep. */
  readonly answerClose?: boolean;
  /** `false`: the server's end of the connection (FIN) is not answered. */
  readonly answerEnd?: boolean;
  /** TCP unless told. */
  readonly network?: Network;
  /** The clock of the machine unless told. */
  readonly clock?: Clock;
  /** Where nonces come from; the system unless told. */
  readonly random?: Random;
  /** How long each wait may take, in milliseconds (20,000 unless told). */
  readonly timeoutMs?: number;
}

/** One first-level element as it arrived. */
export interface Received {
  /** Milliseconds on the client's clock. */
  readonly at: number;
  readonly xml: string;
}

/** How a connection ended. */
export interface Ending {
  /** The condition of the server's stream error, such as `system-shutdown`. */
  readonly streamError: string | undefined;
  /** Whether `</stream:stream>` arrived. */
  readonly closingTag: boolean;
  /** `fin`: the server ended its direction in order; `reset`: an error of the connection; `local`: we destroyed it. */
  readonly how: "fin" | "reset" | "local";
  /** The system's error code after a reset, such as `ECONNRESET`. */
  readonly code: string | undefined;
  readonly at: number;
}

/** Options of one wait. */
export interface WaitOptions {
  readonly timeoutMs?: number;
  /** Only elements from this index of `received` on count; every element unless told. */
  readonly since?: number;
}

const CONDITION = /<([a-z-]+)[^>]*xmlns=["']urn:ietf:params:xml:ns:xmpp-streams["']/;

const tcp = new TcpNetwork({ clock: systemClock, log: silentLog });

let context: SecureContext | undefined;

/** One context does for thousands of clients that show no certificate. */
const anonymous: CertificateSource = {
  contextFor: () => {
    context ??= createSecureContext();
    return context;
  },
};

/** A client connection. Errors of the connection are part of `ended`; only failed steps and waits throw. */
export class RawClient {
  /** Every first-level element since the connection was made, in order. */
  readonly received: Received[] = [];
  /** Called for each first-level element, recorded or not. */
  onElement: ((xml: string) => void) | undefined;
  /** Resolves, never rejects, when the connection is gone. */
  readonly ended: Promise<Ending>;
  /** The full JID the server bound. */
  jid = "";
  #options: RawClientOptions;
  #clock: Clock;
  #transport: Transport | undefined;
  #dialling: AbortController | undefined;
  #scanner: StanzaScanner;
  #decoder = new StringDecoder("utf8");
  #waits: Waits<Received>;
  #resolveEnded: (ending: Ending) => void = () => undefined;
  #closingTagSent = false;
  #closingTag = false;
  #streamError: string | undefined;
  #fin = false;
  #endSent = false;
  #destroyed = false;
  #isOver = false;
  #ids = 0;

  constructor(options: RawClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#waits = new Waits(this.#clock);
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#scanner = new StanzaScanner({
      header: (xml) => this.#take(xml),
      element: (xml) => this.#take(xml),
      end: () => this.#answerClose(),
    });
  }

  /** Makes a client and logs it in: see `login`. */
  static async login(options: RawClientOptions): Promise<RawClient> {
    const client = new RawClient(options);
    await client.login();
    return client;
  }

  /** Connects, secures the stream, logs in and binds a resource. Sends no presence. On failure the connection is gone. */
  async login(): Promise<void> {
    try {
      await this.connect();
      if (this.#security === "starttls") await this.startTls();
      await this.authenticate();
      await this.bind();
    } catch (error) {
      this.destroy();
      throw error;
    }
  }

  get #security(): "starttls" | "direct" | "none" {
    return this.#options.security ?? "starttls";
  }

  /** What TLS was agreed on; undefined before TLS. */
  get tls(): TlsInfo | undefined {
    return this.#transport?.tls;
  }

  /** What was sent and has not left this side yet, in bytes or nearly so: more than nothing when the server does not read. */
  get unsent(): number {
    return this.#transport?.buffered ?? 0;
  }

  /** Whether what is sent now can still leave. */
  get writable(): boolean {
    return this.#transport !== undefined && !this.#isOver && !this.#endSent;
  }

  /** Opens the TCP connection, and TLS with `direct`. Sends nothing. */
  async connect(): Promise<void> {
    const { host, port, network = tcp } = this.#options;
    this.#dialling = new AbortController();
    const transport = await network.dial({ host, port, signal: this.#dialling.signal });
    this.#dialling = undefined;
    this.#transport = transport;
    transport.setReader({
      onData: (data) => this.#scanner.write(this.#decoder.write(data)),
      onEnd: () => {
        this.#fin = true;
        if (this.#options.answerEnd !== false) this.halfClose();
      },
      onDrain: () => undefined,
      onClose: (end) => this.#finish(end),
    });
    if (this.#security === "direct") await this.#secure(transport);
  }

  /** Opens a stream and returns the server's features. */
  async open(): Promise<string> {
    this.#scanner.reset();
    this.#decoder = new StringDecoder("utf8");
    const features = this.#next((xml) => xml.startsWith("<stream:features"));
    this.send(
      `<?xml version='1.0'?><stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}' to='${this.#options.domain}' version='1.0'>`,
    );
    return (await features).xml;
  }

  /** Opens a stream and upgrades the connection to TLS (RFC 6120 §5). */
  async startTls(): Promise<void> {
    await this.open();
    const answer = this.#next((xml) => xml.startsWith("<proceed") || xml.startsWith("<failure"));
    this.send(`<starttls xmlns='${NS.tls}'/>`);
    if (!(await answer).xml.startsWith("<proceed")) throw new Error("the server refused STARTTLS");
    if (this.#transport !== undefined) await this.#secure(this.#transport);
  }

  /** Opens a stream and logs in (RFC 6120 §6); afterwards the next stream is open. Throws when it is refused. */
  async authenticate(): Promise<void> {
    await this.open();
    const mechanism = this.#options.mechanism ?? "SCRAM-SHA-1";
    const { username = "", password = "" } = this.#options;
    const exchange = saslExchange(
      mechanism,
      { username, password, binding: this.#binding(mechanism) },
      this.#options.random,
    );
    let answer = this.#next(isSasl);
    this.send(`<auth xmlns='${NS.sasl}' mechanism='${mechanism}'>${exchange.initial}</auth>`);
    for (;;) {
      const { xml } = await answer;
      if (xml.startsWith("<challenge")) {
        answer = this.#next(isSasl);
        this.send(`<response xmlns='${NS.sasl}'>${exchange.respond(textOf(xml))}</response>`);
        continue;
      }
      if (!xml.startsWith("<success")) throw new Error(`login refused: ${xml}`);
      exchange.verify(textOf(xml));
      break;
    }
    await this.open();
  }

  /** Binds a resource (RFC 6120 §7) and returns the full JID. */
  async bind(): Promise<string> {
    const resource = this.#options.resource;
    const wanted = resource === undefined ? "" : `<resource>${resource}</resource>`;
    const xml = await this.iq("set", `<bind xmlns='${NS.bind}'>${wanted}</bind>`);
    const jid = /<jid>([^<]+)<\/jid>/.exec(xml)?.[1];
    if (jid === undefined) throw new Error(`binding refused: ${xml}`);
    this.jid = jid;
    return jid;
  }

  /** Sends an IQ and returns the result or error that answers it. */
  async iq(type: "get" | "set", payload: string, to?: string): Promise<string> {
    const id = `q${++this.#ids}`;
    const answer = this.#next(
      (xml) =>
        xml.startsWith("<iq") &&
        attributeOf(xml, "id") === id &&
        /^(result|error)$/.test(attributeOf(xml, "type") ?? ""),
    );
    this.send(`<iq type='${type}' id='${id}'${to === undefined ? "" : ` to='${to}'`}>${payload}</iq>`);
    return (await answer).xml;
  }

  /** Sends presence: the first one, available, unless told otherwise. */
  presence(xml = "<presence/>"): void {
    this.send(xml);
  }

  /** Writes text as it is, garbage included. Does nothing once the connection is gone. */
  send(text: string): void {
    this.#transport?.write(text);
  }

  /** Stops reading: the server feels back-pressure once the buffers in between are full. */
  stopReading(): void {
    this.#transport?.pause();
  }

  /** Reads again after `stopReading`. */
  goOn(): void {
    this.#transport?.resume();
  }

  /** Ends our side of the connection (FIN) without a closing tag; reading goes on. */
  halfClose(): void {
    this.#endSent = true;
    this.#transport?.end();
  }

  /** Breaks the connection: the server sees a reset. */
  reset(): void {
    this.#destroyed = true;
    this.#transport?.reset();
  }

  /** Resolves with the first element that matches, already received or yet to come; rejects at the time limit or the end. */
  waitFor(matches: (xml: string) => boolean, { timeoutMs, since = 0 }: WaitOptions = {}): Promise<Received> {
    for (let index = since; index < this.received.length; index++) {
      const received = this.received[index];
      if (received !== undefined && matches(received.xml)) return Promise.resolve(received);
    }
    return this.#next(matches, timeoutMs);
  }

  /** Closes the stream in order (RFC 6120 §4.4): closing tag, wait for the server's, end. Resolves at the end. */
  async close(): Promise<Ending> {
    if (!this.#closingTagSent) {
      this.#closingTagSent = true;
      this.send("</stream:stream>");
    }
    if (this.#closingTag) this.halfClose();
    const timer = this.#clock.setTimer(this.#options.timeoutMs ?? 20_000, () => this.destroy());
    const ending = await this.ended;
    timer.cancel();
    return ending;
  }

  /** Drops the connection without a word. */
  destroy(): void {
    this.#destroyed = true;
    this.#dialling?.abort();
    if (this.#transport === undefined) this.#finish({ orderly: false });
    else this.#transport.destroy();
  }

  async #secure(transport: Transport): Promise<void> {
    // What the server says next begins a stream, whether it was asked to or not.
    this.#scanner.reset();
    const { domain, certificates = anonymous, verify = false } = this.#options;
    const tls = await transport.startTls({
      role: "client",
      certificates,
      serverName: tlsNameOf(domain),
      localName: undefined,
      alpn: ["xmpp-client"],
    });
    if (!verify || certificateNames(tls, domain)) return;
    this.destroy();
    throw new Error(`the certificate is not valid for ${domain}: ${tls.chainError ?? tls.peerNames.join(", ")}`);
  }

  #binding(mechanism: ClientMechanism): Buffer | undefined {
    if (!mechanism.endsWith("-PLUS")) return undefined;
    const binding = this.tls?.exporter();
    if (binding === undefined) throw new Error("channel binding needs TLS 1.3");
    return binding;
  }

  #take(xml: string): void {
    const received = { at: this.#clock.now(), xml };
    if (this.#options.record !== false) this.received.push(received);
    if (xml.startsWith("<stream:error")) this.#streamError = CONDITION.exec(xml)?.[1] ?? "unknown";
    this.onElement?.(xml);
    this.#waits.tell(received);
  }

  #next(matches: (xml: string) => boolean, timeoutMs?: number): Promise<Received> {
    const limit = timeoutMs ?? this.#options.timeoutMs ?? 20_000;
    const name = this.jid || this.#options.domain;
    return this.#waits.next(
      ({ xml }) => matches(xml),
      limit,
      () => `${name}: nothing matched`,
    );
  }

  #answerClose(): void {
    this.#closingTag = true;
    if (this.#options.answerClose === false) return;
    if (!this.#closingTagSent) this.send("</stream:stream>");
    this.#closingTagSent = true;
    this.halfClose();
  }

  #finish({ error }: TransportEnd): void {
    this.#isOver = true;
    const broke = error !== undefined && !this.#destroyed;
    const ending: Ending = {
      streamError: this.#streamError,
      closingTag: this.#closingTag,
      how: broke ? "reset" : this.#fin ? "fin" : this.#destroyed ? "local" : "reset",
      code: error === undefined ? undefined : (codeOf(error) ?? error.message),
      at: this.#clock.now(),
    };
    this.#resolveEnded(ending);
    this.#waits.fail(() => `the connection ended while waiting: ${JSON.stringify(ending)}`);
  }
}

/** Returns an attribute of the first tag of `xml` as it is written, or undefined. */
export function attributeOf(xml: string, name: string): string | undefined {
  const tag = xml.slice(0, xml.indexOf(">") + 1);
  return new RegExp(`\\s${name}=(?:"([^"]*)"|'([^']*)')`)
    .exec(tag)
    ?.slice(1)
    .find((value) => value !== undefined);
}

function isSasl(xml: string): boolean {
  return xml.startsWith("<challenge") || xml.startsWith("<success") || xml.startsWith("<failure");
}

function textOf(xml: string): string {
  return />([^<]*)</.exec(xml)?.[1] ?? "";
}
