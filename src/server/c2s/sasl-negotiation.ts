// One client's SASL exchange as it stands on the wire (RFC 6120 §6): `<auth/>`, challenges and responses, success or
// failure. The mechanisms themselves are in src/sasl.

import { Jid } from "../../jid/jid.ts";
import type { TlsInfo } from "../../net/transport.ts";
import { createMechanism, offeredMechanisms } from "../../sasl/mechanisms.ts";
import { decodePayload, encodePayload } from "../../sasl/payload.ts";
import type { SaslCondition, SaslServer, SaslStep } from "../../sasl/sasl-server.ts";
import { asError } from "../../util/errors.ts";
import { type Element, xml } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";
import type { C2sContext } from "./context.ts";

/** What the server says next. */
export type SaslReply =
  | { readonly outcome: "continue"; readonly element: Element }
  | { readonly outcome: "success"; readonly element: Element; readonly user: Jid }
  | {
      readonly outcome: "failure";
      readonly element: Element;
      readonly condition: SaslCondition;
      /** A password was given, or a proof of one, and it was wrong. Otherwise the two could not even agree on how to ask. */
      readonly isGuess: boolean;
    };

/** The longest base64 text a client may send in one step; the longest sensible one is a few hundred bytes. */
const MAX_TEXT = 16_384;

/** An exchange that may be under way. */
export class SaslNegotiation {
  #context: C2sContext;
  #host: string;
  #tls: TlsInfo | undefined;
  #mechanism: SaslServer | undefined;
  /** What the client says next is, or proves, a password. */
  #awaitsPassword = false;

  constructor(context: C2sContext, host: string, tls: TlsInfo | undefined) {
    this.#context = context;
    this.#host = host;
    this.#tls = tls;
  }

  /** Takes one element in the SASL namespace. */
  async receive(element: Element): Promise<SaslReply> {
    // RFC 6120 §13.8.1 and RFC 7590: no password without TLS, whatever the mechanism.
    if (this.#tls === undefined) return failure("encryption-required", true);
    switch (element.getName()) {
      case "auth":
        return this.#mechanism === undefined ? await this.#begin(element) : failure("malformed-request");
      case "response":
        return this.#mechanism === undefined ? failure("malformed-request") : await this.#continue(element);
      case "abort":
        return failure("aborted");
      default:
        return failure("malformed-request");
    }
  }

  async #begin(element: Element): Promise<SaslReply> {
    const channelBinding = this.#tls?.exporter();
    const offered = offeredMechanisms(this.#context.config.sasl, {
      encrypted: true,
      canBind: channelBinding !== undefined,
    });
    const name = offered.find((mechanism) => mechanism === element.attrs.mechanism);
    if (name === undefined) return failure("invalid-mechanism");
    this.#awaitsPassword = name === "PLAIN";
    this.#mechanism = createMechanism(name, {
      host: this.#host,
      credentials: this.#context.accounts,
      random: this.#context.random,
      channelBinding,
      offered,
    });
    return await this.#continue(element);
  }

  async #continue(element: Element): Promise<SaslReply> {
    const text = element.getText().trim();
    const data = text.length > MAX_TEXT ? undefined : decodePayload(text);
    if (data === undefined) return failure("incorrect-encoding");
    const mechanism = this.#mechanism as SaslServer;
    let step: SaslStep;
    try {
      step = await mechanism.step(data === "absent" ? undefined : data);
    } catch (thrown) {
      this.#context.log.error({ err: asError(thrown), host: this.#host }, "credentials could not be read");
      return failure("temporary-auth-failure");
    }
    switch (step.kind) {
      case "challenge":
        this.#awaitsPassword = true;
        return { outcome: "continue", element: xml("challenge", { xmlns: NS.sasl }, encodePayload(step.data)) };
      case "success": {
        const user = Jid.of(step.user, this.#host);
        return { outcome: "success", element: xml("success", { xmlns: NS.sasl }, encodePayload(step.data)), user };
      }
      case "failure":
        return failure(step.condition, this.#awaitsPassword && step.condition === "not-authorized");
    }
  }
}

function failure(condition: SaslCondition, isGuess = false): SaslReply {
  return { outcome: "failure", element: xml("failure", { xmlns: NS.sasl }, xml(condition)), condition, isGuess };
}
