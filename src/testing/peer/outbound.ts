// A stream that a scripted peer opens to a server: to send stanzas, or to ask about a dialback key. It goes through TLS and
// EXTERNAL or dialback as a good server does, unless the script says otherwise.

import { tlsNameOf } from "../../net/dial.ts";
import type { Transport } from "../../net/transport.ts";
import {
  dialback,
  externalAuth,
  kindOf,
  SM_ENABLE,
  SM_REQUEST,
  STARTTLS,
  smAnswer,
} from "../../server/s2s/elements.ts";
import { parseH } from "../../stream/acks.ts";
import { asError } from "../../util/errors.ts";
import type { Element } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";
import type { StreamHeader } from "../../xml/stream-parser.ts";
import { PeerConnection, type PeerContext } from "./connection.ts";

/** A stanza of the peer's own and what became of it. */
export interface SentStanza {
  readonly xml: string;
  /** It was written to a stream. */
  written: boolean;
  /** The server acknowledged it (XEP-0198). */
  acknowledged: boolean;
}

/** What a stream is opened for. */
export type OutboundPurpose =
  | { readonly kind: "send" }
  | {
      readonly kind: "verify";
      readonly streamId: string;
      readonly key: string;
      /** Told once: whether the key is good; false as well when that could not be found out. */
      readonly done: (valid: boolean) => void;
    };

/** A stream to a server. */
export class OutboundConnection extends PeerConnection {
  /** The domain at the other end. */
  readonly remote: string;
  /** Stanzas can be written. */
  ready = false;
  /** The server has agreed to acknowledge. */
  acknowledged = false;
  /** What was written, in order. */
  readonly sent: SentStanza[] = [];
  #purpose: OutboundPurpose;
  #queue: SentStanza[];
  #authenticated = false;
  #enabled = false;

  /** `queue` is what waits for a stream to `remote`; it is written from as soon as that may be. */
  constructor(
    context: PeerContext,
    transport: Transport,
    options: { number: number; remote: string; purpose: OutboundPurpose; queue: SentStanza[] },
  ) {
    super(context, transport, { number: options.number, side: "out" });
    this.remote = options.remote;
    this.#purpose = options.purpose;
    this.#queue = options.queue;
  }

  protected override begin(): void {
    super.begin();
    this.#open();
  }

  /** Writes what waits, if it may. */
  flush(): void {
    if (!this.ready || this.over) return;
    let wrote = false;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const stanza = next;
      this.step("stanza", {
        ordinary: () => {
          stanza.written = true;
          this.sent.push(stanza);
          this.send(stanza.xml);
        },
      });
      wrote = true;
    }
    if (wrote && this.#enabled) this.send(SM_REQUEST);
  }

  protected override onHeader(header: StreamHeader): void {
    const isModern = header.version !== undefined && !header.version.startsWith("0.");
    if (!isModern) this.#prove();
  }

  protected override onElement(element: Element): void {
    switch (kindOf(element)) {
      case "features":
        return this.step("features", { element, ordinary: () => this.#onFeatures(element) });
      case "tls":
        return element.getName() === "proceed" ? this.#secure() : undefined;
      case "sasl":
        return this.#onSasl(element);
      case "dialback-result":
        if (element.attrs.type === "valid") this.#isReady(false);
        return;
      case "dialback-verify":
        return this.#verified(element.attrs.type === "valid");
      case "sm":
        return this.#onSm(element);
      default:
        return;
    }
  }

  protected override onOver(): void {
    this.ready = false;
    if (this.#purpose.kind === "verify") this.#purpose.done(false);
  }

  #open(): void {
    this.step("header", { ordinary: () => this.open({ from: this.context.domain, to: this.remote }) });
  }

  #onFeatures(features: Element): void {
    const { abilities, certificates } = this.context;
    const has = (name: string, ns: string): boolean => features.getChild(name, ns) !== undefined;
    if (this.#authenticated) return this.#isReady(has("sm", NS.sm));
    if (abilities.tls && certificates !== undefined && this.transport.tls === undefined && has("starttls", NS.tls)) {
      return this.step("starttls", { ordinary: () => this.send(STARTTLS), refuse: () => this.#prove() });
    }
    const mechanisms = features.getChild("mechanisms", NS.sasl)?.getChildren("mechanism") ?? [];
    const offered = mechanisms.some((mechanism) => mechanism.getText() === "EXTERNAL");
    if (this.#purpose.kind === "verify" || !offered || !abilities.external) return this.#prove();
    this.step("sasl", {
      ordinary: () => this.send(externalAuth(this.context.domain)),
      refuse: () => this.#prove(),
    });
  }

  #secure(): void {
    const { certificates, domain } = this.context;
    if (certificates === undefined) return;
    this.restart(true);
    const serverName = tlsNameOf(this.remote);
    this.transport.startTls({ role: "client", certificates, serverName, localName: domain }).then(
      (tls) => {
        this.note("tls", tls.protocol);
        this.#open();
      },
      (thrown: unknown) => this.note("failed", asError(thrown).message),
    );
  }

  /** Shows our key, or asks about another's. */
  #prove(): void {
    const { domain } = this.context;
    const purpose = this.#purpose;
    const attrs = { from: domain, to: this.remote };
    if (purpose.kind === "verify") {
      const ask = (key: string): void => this.send(dialback("verify", { ...attrs, id: purpose.streamId }, key));
      return this.step("verify", { ordinary: () => ask(purpose.key), refuse: () => this.#verified(false) });
    }
    const show = (key: string): void => this.send(dialback("result", attrs, key));
    this.step("dialback", {
      ordinary: () => show(this.context.key(this.remote, this.header?.id ?? "")),
      refuse: () => show("not a key of ours"),
    });
  }

  #onSasl(element: Element): void {
    if (element.getName() !== "success") return this.#prove();
    this.#authenticated = true;
    this.restart(false);
    this.#open();
  }

  #verified(valid: boolean): void {
    if (this.#purpose.kind !== "verify") return;
    this.#purpose.done(valid);
    this.close();
  }

  #isReady(offersSm: boolean): void {
    this.ready = true;
    if (offersSm && this.context.abilities.sm) {
      this.step("enable", {
        ordinary: () => {
          this.#enabled = true;
          this.send(SM_ENABLE);
        },
      });
    }
    this.note("connected", `authenticated to ${this.remote}`);
    this.flush();
  }

  #onSm(element: Element): void {
    switch (element.getName()) {
      case "enabled":
        this.acknowledged = true;
        return;
      case "failed":
        this.#enabled = false;
        return;
      case "a": {
        const h = parseH(element.attrs.h) ?? 0;
        for (const stanza of this.sent.slice(0, h)) stanza.acknowledged = true;
        return;
      }
      case "r":
        return this.step("ack", { element, ordinary: () => this.send(smAnswer(0)) });
    }
  }
}
