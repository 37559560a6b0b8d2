// The stream features a client is offered at each step of its login (RFC 6120 §4.3.2).

import type { Jid } from "../../jid/jid.ts";
import type { TlsInfo } from "../../net/transport.ts";
import { offeredMechanisms } from "../../sasl/mechanisms.ts";
import { type Element, xml } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";
import type { C2sContext } from "./context.ts";

/** How far a connection is: its TLS state and who it logged in as. */
export interface LoginState {
  readonly tls: TlsInfo | undefined;
  readonly user: Jid | undefined;
}

/** Returns `<stream:features/>` for a connection in `state`. */
export function streamFeatures(context: C2sContext, state: LoginState): Element {
  const features = xml("stream:features");
  if (state.user !== undefined) {
    features.cnode(xml("bind", { xmlns: NS.bind }, xml("required")));
    features.cnode(xml("session", { xmlns: NS.session }, xml("optional")));
    features.cnode(xml("sm", { xmlns: NS.sm }));
    for (const feature of context.moduleFeatures()) features.cnode(feature);
  } else if (state.tls === undefined) {
    features.cnode(xml("starttls", { xmlns: NS.tls }, xml("required")));
  } else {
    addMechanisms(features, context, state.tls);
  }
  const { maxStanzaBytes: maxBytes } = state.user === undefined ? context.loginLimits : context.limits;
  // XEP-0478: so that clients need not find out by being thrown out.
  features.cnode(xml("limits", { xmlns: NS.streamLimits }, xml("max-bytes", {}, String(maxBytes))));
  return features;
}

function addMechanisms(features: Element, context: C2sContext, tls: TlsInfo): void {
  const canBind = tls.exporter() !== undefined;
  const offered = offeredMechanisms(context.config.sasl, { encrypted: true, canBind });
  features.cnode(xml("mechanisms", { xmlns: NS.sasl }, ...offered.map((name) => xml("mechanism", {}, name))));
  if (!canBind) return;
  // XEP-0440: which kinds of channel binding may be used.
  const binding = xml("channel-binding", { type: "tls-exporter" });
  features.cnode(xml("sasl-channel-binding", { xmlns: NS.saslChannelBinding }, binding));
}
