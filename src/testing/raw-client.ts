// A scriptable XMPP client for tests and benchmarks: it speaks to the wire, hides nothing, and keeps what it received,
// in order and with times, and how the connection ended. Light enough that one process can hold thousands. It trusts
// the server's XML and does nothing on its own except answering a closing tag.

import { connect as connectTcp, type Socket } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { NS } from "../xml/ns.ts";
import { type ClientMechanism, saslExchange } from "./sasl-client.ts";
import { StanzaScanner } from "./stanza-scanner.ts";

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
  /** Further TLS options. Certificates are not verified unless `rejectUnauthorized` is set here. */
  readonly tls?: ConnectionOptions;
  /** `false`: elements are not kept, only given to `onElement`. */
  readonly record?: boolean;
  /** `false`: the server's closing tag is not answered, as a client that has gone to sleep. */
  readonly answerClose?: boolean;
  /** How long each wait may take, in milliseconds (20,000 unless told). */
  readonly timeoutMs?: number;
}

/** One first-level element as it arrived. */
export interface Received {
  /** Milliseconds on the clock of `performance.now()`. */
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

interface Waiter {
  readonly matches: (xml: string) => boolean;
  readonly resolve: (received: Received) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

const CONDITION = /<([a-z-]+)[^>]*xmlns=["']urn:ietf:params:xml:ns:xmpp-streams["']/;

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
  #socket: Socket | TLSSocket | undefined;
  #scanner: StanzaScanner;
  #decoder = new StringDecoder("utf8");
  #waiters = new Set<Waiter>();
  #resolveEnded: (ending: Ending) => void = () => undefined;
  #closingTagSent = false;
  #closingTag = false;
  #streamError: string | undefined;
  #fin = false;
  #code: string | undefined;
  #destroyed = false;
  #ids = 0;

  constructor(options: RawClientOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#scanner = new StanzaScanner({
      header: (xml) => this.#take(xml),
      element: (xml) => this.#take(xml),
      end: () => this.#answerClose(),
    });
  }

  /** Connects, secures the stream, logs in and binds a resource. Sends no presence. */
  static async login(options: RawClientOptions): Promise<RawClient> {
    const client = new RawClient(options);
    try {
      await client.connect();
      if (client.#security === "starttls") await client.startTls();
      await client.authenticate();
      await client.bind();
      return client;
    } catch (error) {
      client.destroy();
      throw error;
    }
  }

  get #security(): "starttls" | "direct" | "none" {
    return this.#options.security ?? "starttls";
  }

  /** The socket that is written to: the TLS one once there is one. Throws before `connect()`. */
  get socket(): Socket {
    if (this.#socket === undefined) throw new Error("not connected");
    return this.#socket;
  }

  /** Opens the TCP connection, and TLS with `direct`. Sends nothing. */
  async connect(): Promise<void> {
    const socket = connectTcp({ host: this.#options.host, port: this.#options.port, noDelay: true });
    this.#attach(socket);
    await once(socket, "connect");
    if (this.#security === "direct") await this.#wrap(socket);
  }

  /** Opens a stream and returns the server's features. */
  async open(): Promise<string> {
    this.#scanner.reset();
    this.#decoder = new StringDecoder("utf8");
    const since = this.received.length;
    const features = this.#next((xml) => xml.startsWith("<stream:features"), { since });
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
    await this.#wrap(this.socket);
  }

  /** Opens a stream and logs in (RFC 6120 §6); afterwards the next stream is open. Throws when it is refused. */
  async authenticate(): Promise<void> {
    await this.open();
    const mechanism = this.#options.mechanism ?? "SCRAM-SHA-1";
    const { username = "", password = "" } = this.#options;
    const exchange = saslExchange(mechanism, { username, password, binding: this.#binding(mechanism) });
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

  /** Writes text as it is. Does nothing once the connection is gone. */
  send(xml: string): void {
    if (this.#socket?.writable) this.#socket.write(xml);
  }

  /** Resolves with the first element that matches, already received or yet to come; rejects at the time limit or the end. */
  waitFor(matches: (xml: string) => boolean, { timeoutMs, since = 0 }: WaitOptions = {}): Promise<Received> {
    for (let index = since; index < this.received.length; index++) {
      const received = this.received[index];
      if (received !== undefined && matches(received.xml)) return Promise.resolve(received);
    }
    return this.#next(matches, timeoutMs === undefined ? {} : { timeoutMs });
  }

  /** Closes the stream in order (RFC 6120 §4.4): closing tag, wait for the server's, end. Resolves at the end. */
  async close(): Promise<Ending> {
    if (!this.#closingTagSent) {
      this.#closingTagSent = true;
      this.send("</stream:stream>");
    }
    if (this.#closingTag) this.#socket?.end();
    const timer = setTimeout(() => this.destroy(), this.#options.timeoutMs ?? 20_000);
    const ending = await this.ended;
    clearTimeout(timer);
    return ending;
  }

  /** Drops the connection without a word. */
  destroy(): void {
    this.#destroyed = true;
    this.#socket?.destroy();
    if (this.#socket === undefined) this.#finish();
  }

  #attach(socket: Socket | TLSSocket): void {
    this.#socket = socket;
    socket.on("data", (data: Buffer) => this.#scanner.write(this.#decoder.write(data)));
    socket.on("end", () => {
      this.#fin = true;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#code ??= error.code ?? error.message;
    });
    socket.on("close", () => {
      if (this.#socket === socket) this.#finish();
    });
  }

  async #wrap(socket: Socket): Promise<void> {
    socket.removeAllListeners("data");
    const secure = connectTls({
      socket,
      servername: this.#options.domain,
      rejectUnauthorized: false,
      ALPNProtocols: ["xmpp-client"],
      ...this.#options.tls,
    });
    // What the server says next begins a stream, whether it was asked to or not.
    this.#scanner.reset();
    this.#attach(secure);
    await once(secure, "secureConnect");
  }

  #binding(mechanism: ClientMechanism): Buffer | undefined {
    if (!mechanism.endsWith("-PLUS")) return undefined;
    const socket = this.#socket;
    if (socket === undefined || !("exportKeyingMaterial" in socket)) throw new Error("channel binding needs TLS");
    return socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
  }

  #take(xml: string): void {
    const received = { at: performance.now(), xml };
    if (this.#options.record !== false) this.received.push(received);
    if (xml.startsWith("<stream:error")) this.#streamError = CONDITION.exec(xml)?.[1] ?? "unknown";
    this.onElement?.(xml);
    for (const waiter of this.#waiters) {
      if (!waiter.matches(xml)) continue;
      this.#waiters.delete(waiter);
      clearTimeout(waiter.timer);
      waiter.resolve(received);
    }
  }

  #next(matches: (xml: string) => boolean, options: WaitOptions = {}): Promise<Received> {
    return new Promise((resolve, reject) => {
      const limit = options.timeoutMs ?? this.#options.timeoutMs ?? 20_000;
      const place = new Error(`${this.jid || this.#options.domain}: nothing matched within ${limit} ms`);
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(place);
      }, limit);
      const waiter: Waiter = { matches, resolve, reject, timer };
      this.#waiters.add(waiter);
    });
  }

  #answerClose(): void {
    this.#closingTag = true;
    if (this.#options.answerClose === false) return;
    if (!this.#closingTagSent) this.send("</stream:stream>");
    this.#closingTagSent = true;
    this.#socket?.end();
  }

  #finish(): void {
    const how = this.#fin ? "fin" : this.#destroyed ? "local" : "reset";
    const ending: Ending = {
      streamError: this.#streamError,
      closingTag: this.#closingTag,
      how: this.#code === undefined || this.#destroyed ? how : "reset",
      code: this.#code,
      at: performance.now(),
    };
    this.#resolveEnded(ending);
    for (const waiter of this.#waiters) {
      clearTimeout(waiter.timer);
      waiter.reject(new Error(`the connection ended while waiting: ${JSON.stringify(ending)}`));
    }
    this.#waiters.clear();
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

function once(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
  return new Promise((resolve, reject) => {
    const closed = (): void => reject(new Error(`the connection closed before "${event}"`));
    socket.once("error", reject);
    socket.once("close", closed);
    socket.once(event, () => {
      socket.removeListener("error", reject);
      socket.removeListener("close", closed);
      resolve();
    });
  });
}
