// Which SASL mechanisms a client is offered, and how an exchange of one begins. The order of the configuration is kept:
// it is the server's preference.

import type { Random } from "../util/random.ts";
import { PlainServer } from "./plain.ts";
import type { CredentialSource, SaslServer, ScramHash } from "./sasl-server.ts";
import { ScramServer } from "./scram.ts";

/** The mechanisms for clients. */
export type ClientMechanism = "SCRAM-SHA-256-PLUS" | "SCRAM-SHA-1-PLUS" | "SCRAM-SHA-256" | "SCRAM-SHA-1" | "PLAIN";

/** What the connection can do. */
export interface ChannelState {
  /** The stream is inside TLS. */
  readonly encrypted: boolean;
  /** The TLS session has a value to bind to (tls-exporter on TLS 1.3). */
  readonly canBind: boolean;
}

/** What an exchange needs to know of its connection and its server. */
export interface MechanismContext {
  /** The domain the account is on. */
  readonly host: string;
  readonly credentials: CredentialSource;
  readonly random: Pick<Random, "bytes">;
  /** The tls-exporter value, if there is one. */
  readonly channelBinding: Buffer | undefined;
  /** What this connection was offered. */
  readonly offered: readonly ClientMechanism[];
}

/** Returns those of `configured` that suit the connection: PLAIN only inside TLS, -PLUS only with something to bind to. */
export function offeredMechanisms(
  configured: readonly ClientMechanism[],
  channel: ChannelState,
): readonly ClientMechanism[] {
  return configured.filter((name) => {
    if (name === "PLAIN") return channel.encrypted;
    return !name.endsWith("-PLUS") || channel.canBind;
  });
}

/** Begins an exchange of a mechanism that was offered. */
export function createMechanism(name: ClientMechanism, context: MechanismContext): SaslServer {
  const { host: domain, credentials: source, random, channelBinding: binding, offered } = context;
  if (name === "PLAIN") return new PlainServer({ domain, source });
  const hash: ScramHash = name.startsWith("SCRAM-SHA-256") ? "SHA-256" : "SHA-1";
  const plusOffered = offered.some((other) => other.endsWith("-PLUS"));
  return new ScramServer({ hash, plus: name.endsWith("-PLUS"), plusOffered, binding, domain, source, random });
}
