// A client with stream management (XEP-0198) for tests: a raw client that counts what it received and what it sent, and
// acknowledges only when told to, so that a test decides what each side knows of the other.

import assert from "node:assert/strict";
import { attributeOf, type RawClient, type RawClientOptions } from "../../src/testing/raw-client.ts";

const SM = "urn:xmpp:sm:3";

/** Where sessions are to be had; `TestServer` is one. */
export interface Clients {
  client(options?: Partial<RawClientOptions>): RawClient;
}

/** What a client must know to resume. */
export interface SmIdentity {
  readonly username: string;
  readonly previd: string;
  readonly h: number;
}

/** One connection of a session with stream management. */
export class SmClient {
  readonly raw: RawClient;
  readonly username: string;
  /** The SM-ID; empty without resumption. */
  id = "";
  /** The answer to `<enable/>` or `<resume/>`. */
  answer = "";
  /** The number of stanzas received since the session was managed, over all its connections. */
  handled: number;
  /** Whether each `<r/>` is answered at once. */
  answers = true;
  #counts = false;

  private constructor(raw: RawClient, username: string, handled: number) {
    this.raw = raw;
    this.username = username;
    this.handled = handled;
    raw.onElement = (xml) => this.#note(xml);
  }

  /** Logs in, binds `resource` and enables stream management with the attributes in `enable`. */
  static async start(
    clients: Clients,
    username: string,
    resource: string,
    { enable = "resume='true'", ...options }: Partial<RawClientOptions> & { enable?: string } = {},
  ): Promise<SmClient> {
    const raw = clients.client({ username, resource, security: "direct", mechanism: "PLAIN", ...options });
    const client = new SmClient(raw, username, 0);
    await raw.connect();
    await raw.authenticate();
    await raw.bind();
    raw.send(`<enable xmlns='${SM}' ${enable}/>`);
    client.answer = (await raw.waitFor((xml) => /^<(enabled|failed)/.test(xml))).xml;
    client.id = attributeOf(client.answer, "id") ?? "";
    return client;
  }

  /** Logs in on a new connection and asks to resume; `answer` says what came of it. */
  static async resume(
    clients: Clients,
    { username, previd, h }: SmIdentity,
    options: Partial<RawClientOptions> = {},
  ): Promise<SmClient> {
    const raw = clients.client({ username, security: "direct", mechanism: "PLAIN", ...options });
    const client = new SmClient(raw, username, h);
    client.id = previd;
    await raw.connect();
    await raw.authenticate();
    raw.send(`<resume xmlns='${SM}' previd='${previd}' h='${h}'/>`);
    client.answer = (await raw.waitFor((xml) => /^<(resumed|failed|stream:error)/.test(xml))).xml;
    return client;
  }

  /** What resumes this session on another connection. */
  get identity(): SmIdentity {
    return { username: this.username, previd: this.id, h: this.handled };
  }

  /** The bodies of the messages received on this connection, in order. */
  get bodies(): string[] {
    return this.raw.received.flatMap(({ xml }) =>
      xml.startsWith("<message") ? [/<body>([^<]*)<\/body>/.exec(xml)?.[1] ?? ""] : [],
    );
  }

  /** Sends presence and waits until it came back. */
  async available(xml = "<presence/>"): Promise<this> {
    const since = this.raw.received.length;
    this.raw.presence(xml);
    await this.raw.waitFor((text) => text.startsWith("<presence") && text.includes(this.raw.jid), { since });
    return this;
  }

  message(to: string, body: string, attrs = "type='chat'"): void {
    this.raw.send(`<message to='${to}' id='${body}' ${attrs}><body>${body}</body></message>`);
  }

  acknowledge(h = this.handled): void {
    this.raw.send(`<a xmlns='${SM}' h='${h}'/>`);
  }

  /** Asks how much the server has carried. */
  async carried(): Promise<number> {
    const since = this.raw.received.length;
    this.raw.send(`<r xmlns='${SM}'/>`);
    const { xml } = await this.raw.waitFor((text) => text.startsWith("<a "), { since });
    return Number(attributeOf(xml, "h"));
  }

  /** Resolves when a message with this body has come. */
  async got(body: string): Promise<string> {
    return (await this.raw.waitFor((xml) => xml.includes(`<body>${body}</body>`))).xml;
  }

  /** Fails unless the session was resumed; returns how much the server says it has carried. */
  resumed(): number {
    assert.match(this.answer, /^<resumed/);
    assert.equal(attributeOf(this.answer, "previd"), this.id);
    return Number(attributeOf(this.answer, "h"));
  }

  #note(xml: string): void {
    if (/^<(enabled|resumed)/.test(xml)) this.#counts = true;
    if (this.#counts && /^<(message|presence|iq)[\s>/]/.test(xml)) this.handled++;
    if (xml.startsWith("<r ") && this.answers) this.acknowledge();
  }
}
