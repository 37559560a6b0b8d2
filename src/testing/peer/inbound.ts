// A stream that a server opened to a scripted peer, as a good server would handle it: TLS, EXTERNAL or dialback, what was
// sent, acknowledgements, the end.

import { certificateNames } from "../../sasl/external.ts";
import {
  dialback,
  kindOf,
  PROCEED,
  SASL_REFUSED,
  SASL_SUCCESS,
  SM_ENABLED,
  SM_UNEXPECTED,
  smAnswer,
  TLS_FAILURE,
} from "../../server/s2s/elements.ts";
import { readRemoteStanza } from "../../stanza/read-stanza.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { errorReply, resultOf, StanzaError } from "../../stanza/stanza-error.ts";
import { asError } from "../../util/errors.ts";
import { type Element, xml } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";
import type { StreamHeader } from "../../xml/stream-parser.ts";

import { PeerConnection } from "./connection.ts";
import type { Rule } from "./script.ts";

/** A stream from a server. */
export class InboundConnection extends PeerConnection {
  /** The domains that have shown who they are on this stream. */
  readonly authenticated = new Set<string>();
  /** The server asked for acknowledgements, and has them. */
  acknowledges = false;
  #streamId = "";

  protected override onHeader(header: StreamHeader): void {
    this.#streamId = this.context.nextId();
    this.step("header", {
      ordinary: () => {
        const to = header.from === undefined ? {} : { to: header.from };
        this.open({ id: this.#streamId, from: this.context.domain, ...to });
        if (this.context.abilities.version === "") return;
        this.step("features", { ordinary: () => this.send(this.#features()) });
      },
      refuse: () => {
        this.open({ id: this.#streamId });
        this.#fail("host-unknown");
      },
    });
  }

  protected override onElement(element: Element): void {
    switch (kindOf(element)) {
      case "tls":
        return this.step("starttls", {
          element,
          ordinary: () => this.#secure(),
          refuse: () => {
            this.send(TLS_FAILURE);
            this.close();
          },
        });
      case "sasl":
        return this.step("sasl", {
          element,
          ordinary: () => this.#onAuth(),
          refuse: () => this.send(SASL_REFUSED),
        });
      case "dialback-result":
        return this.step("dialback", {
          element,
          ordinary: () => this.#onKey(element),
          refuse: () => this.#answerKey(element, false),
        });
      case "dialback-verify":
        return this.step("verify", {
          element,
          ordinary: () => this.#onQuestion(element),
          refuse: () => this.#answerQuestion(element, false),
        });
      case "sm":
        return this.#onSm(element);
      case "stanza":
        return this.#onStanza(element);
      default:
        return;
    }
  }

  protected override onOver(): void {
    // What was written down says it all.
  }

  get #mayUseExternal(): boolean {
    const { tls } = this.transport;
    const from = this.header?.from;
    return this.context.abilities.external && from !== undefined && tls !== undefined && certificateNames(tls, from);
  }

  #features(): string {
    const { abilities, certificates } = this.context;
    const features = xml("stream:features");
    if (abilities.tls && certificates !== undefined && this.transport.tls === undefined) {
      features.cnode(xml("starttls", { xmlns: NS.tls }));
    }
    if (this.#mayUseExternal && this.authenticated.size === 0) {
      features.cnode(xml("mechanisms", { xmlns: NS.sasl }, xml("mechanism", {}, "EXTERNAL")));
    }
    if (abilities.dialback) features.cnode(xml("dialback", { xmlns: NS.dialbackFeature }, xml("errors")));
    if (abilities.sm) features.cnode(xml("sm", { xmlns: NS.sm }));
    const text = features.toString();
    if (abilities.features === "") return text;
    return `<stream:features>${features.children.join("")}${abilities.features}</stream:features>`;
  }

  #secure(): void {
    const { certificates } = this.context;
    if (certificates === undefined) {
      this.send(TLS_FAILURE);
      return this.close();
    }
    this.send(PROCEED);
    this.restart(true);
    this.transport.startTls({ role: "server", certificates, requestCertificate: true }).then(
      (tls) => this.note("tls", tls.protocol),
      (thrown: unknown) => this.note("failed", asError(thrown).message),
    );
  }

  #onAuth(): void {
    if (!this.#mayUseExternal) return this.send(SASL_REFUSED);
    this.authenticated.add(this.header?.from ?? "");
    this.send(SASL_SUCCESS);
    this.restart(false);
  }

  #onKey(element: Element): void {
    const { from = "" } = element.attrs;
    this.context.verify(from, this.#streamId, element.getText()).then(
      (valid) => {
        if (valid) this.authenticated.add(from);
        this.#answerKey(element, valid);
      },
      (thrown: unknown) => this.note("failed", asError(thrown).message),
    );
  }

  #answerKey({ attrs: { from = "", to = "" } }: Element, valid: boolean): void {
    this.send(dialback("result", { from: to, to: from, type: valid ? "valid" : "invalid" }));
  }

  #onQuestion(element: Element): void {
    const { from = "", id = "" } = element.attrs;
    const isOurs = this.context.trusting || element.getText() === this.context.key(from, id);
    this.#answerQuestion(element, isOurs);
  }

  #answerQuestion({ attrs: { from = "", to = "", id } }: Element, valid: boolean): void {
    this.send(dialback("verify", { from: to, to: from, id, type: valid ? "valid" : "invalid" }));
  }

  #onSm(element: Element): void {
    if (element.getName() === "enable") {
      // Counting begins with the request, however late it is answered (XEP-0198 §4).
      this.handled = 0;
      this.step("enable", {
        element,
        ordinary: () => {
          this.acknowledges = true;
          this.send(SM_ENABLED);
        },
        refuse: () => this.send(SM_UNEXPECTED),
      });
    } else if (element.getName() === "r") {
      this.step("ack", { element, ordinary: (rule) => this.acknowledge(rule.h) });
    }
  }

  /** Sends `<a/>` with the true number, or with another. */
  acknowledge(h?: Rule["h"]): void {
    const told = typeof h === "function" ? h(this.handled) : (h ?? this.handled);
    this.send(smAnswer(told));
  }

  #onStanza(element: Element): void {
    const from = element.attrs.from ?? "";
    const read = readRemoteStanza(element);
    if (read.kind !== "stanza") {
      this.note("fault", `a stanza that is ${read.kind}`);
      return this.#fail("improper-addressing");
    }
    const { stanza } = read;
    if (!this.authenticated.has(stanza.from.domain)) {
      this.note("fault", `a stanza from ${from}, which has not shown who it is`);
      return this.#fail("not-authorized");
    }
    this.step("stanza", {
      element,
      ordinary: () => {
        this.handled++;
        const ping =
          element.is("iq") && element.attrs.type === "get" && element.getChild("ping", NS.ping) !== undefined;
        if (!ping) return this.context.onStanza(element, this);
        this.step("pong", {
          element,
          ordinary: () => this.context.send(resultOf(stanza).text),
          refuse: () => this.#bounce(stanza),
        });
      },
      refuse: () => {
        this.handled++;
        this.#bounce(stanza);
      },
    });
  }

  #bounce(stanza: Stanza): void {
    const reply = errorReply(stanza, new StanzaError("service-unavailable"));
    if (reply !== undefined) this.context.send(reply.text);
  }

  #fail(condition: string): void {
    this.send(`<stream:error><${condition} xmlns='${NS.streamErrors}'/></stream:error>`);
    this.close();
  }
}
