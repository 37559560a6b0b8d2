// What is worth knowing about a finished TLS handshake, read off a socket once. Not for: deciding whether a peer is who
// it says it is (sasl and s2s do that with these facts).

import type { DetailedPeerCertificate, PeerCertificate, TLSSocket } from "node:tls";
import { codeOf } from "../util/errors.ts";
import type { TlsInfo } from "./transport.ts";

const NO_NAMES: readonly string[] = [];
const NO_CONTEXT = Buffer.alloc(0);

/** The texts of one agreement, shared by all the connections that made it. */
interface Agreement {
  readonly protocol: string;
  readonly cipher: string;
}

const agreements = new Map<string, Agreement>();

function agreementOf(socket: TLSSocket): Agreement {
  const protocol = socket.getProtocol() ?? "unknown";
  const cipher = socket.getCipher().name;
  const key = `${protocol} ${cipher}`;
  let agreement = agreements.get(key);
  if (agreement === undefined) {
    agreement = { protocol, cipher };
    agreements.set(key, agreement);
  }
  return agreement;
}

/** The facts of one handshake. It keeps the socket, for the exporter, and nothing of the peer's certificate but names. */
export class TlsDetails implements TlsInfo {
  readonly alpn: string | undefined;
  readonly serverName: string | undefined;
  readonly chainTrusted: boolean;
  readonly chainError: string | undefined;
  readonly peerNames: readonly string[];
  #agreement: Agreement;
  #socket: TLSSocket;

  /** Reads the facts; the handshake must be over. `wantsPeer` tells whether a certificate was asked for. */
  constructor(socket: TLSSocket, serverName: string | undefined, wantsPeer: boolean) {
    this.#socket = socket;
    this.#agreement = agreementOf(socket);
    this.alpn = typeof socket.alpnProtocol === "string" ? socket.alpnProtocol : undefined;
    this.serverName = serverName?.toLowerCase();
    const certificate = wantsPeer ? socket.getPeerCertificate() : undefined;
    const shown = certificate !== undefined && Object.keys(certificate).length > 0;
    this.chainError = shown ? verificationError(socket) : undefined;
    this.chainTrusted = shown && this.chainError === undefined;
    this.peerNames = shown ? namesOf(certificate) : NO_NAMES;
  }

  get protocol(): string {
    return this.#agreement.protocol;
  }

  get cipher(): string {
    return this.#agreement.cipher;
  }

  exporter(): Buffer | undefined {
    // RFC 9266 §4.2: TLS 1.2 would need the extended master secret, of which Node tells nothing.
    if (this.protocol !== "TLSv1.3" || this.#socket.destroyed) return undefined;
    return this.#socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", NO_CONTEXT);
  }
}

/**
 * Returns why the peer's chain is not trusted, or undefined. Node tells it by a public property only on the dialling
 * side; for a TLSSocket made on the accepting side `verifyError` of its handle is the one source. This is the only use
 * of it, and a test holds it to every Node line.
 */
function verificationError(socket: TLSSocket): string | undefined {
  const { ssl } = socket as unknown as { ssl?: { verifyError?: () => unknown } };
  if (typeof ssl?.verifyError !== "function") return "UNKNOWN";
  const error = ssl.verifyError();
  return error === null || error === undefined ? undefined : (codeOf(error) ?? "UNKNOWN");
}

/** Returns the DNS names, SRV-IDs and XmppAddrs of a certificate, or its common name when it has no DNS name at all. */
export function namesOf(certificate: PeerCertificate | DetailedPeerCertificate): readonly string[] {
  const names = alternativeNames(certificate.subjectaltname ?? "");
  if (names.length > 0) return names;
  const common: unknown = certificate.subject?.CN;
  return typeof common === "string" ? [common.toLowerCase()] : NO_NAMES;
}

const WANTED = /^(?:DNS|othername: ?XmppAddr:?|othername: ?SRVName:?):? ?/i;

/** Splits Node's text form of subjectAltName; values with special characters come as JSON strings there. */
export function alternativeNames(text: string): string[] {
  const names: string[] = [];
  for (const entry of entriesOf(text)) {
    const prefix = WANTED.exec(entry)?.[0];
    if (prefix === undefined) continue;
    const value = entry.slice(prefix.length);
    names.push((value.startsWith('"') ? unquote(value) : value).toLowerCase());
  }
  return names;
}

/** Cuts at the commas outside quotes. One way through the text: a peer may write a long one. */
function* entriesOf(text: string): Generator<string> {
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') isQuoted = !isQuoted;
    else if (isQuoted && character === "\\") at++;
    else if (!isQuoted && character === "," && text[at + 1] === " ") {
      yield text.slice(start, at);
      start = at + 2;
    }
  }
  yield text.slice(start);
}

function unquote(value: string): string {
  try {
    return String(JSON.parse(value));
  } catch {
    // Not a name anybody can match: it stays as it is, quotes and all.
    return value;
  }
}
