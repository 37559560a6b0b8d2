// Loads the certificates of the hosts and the roots that peers are checked against, and picks one by name. Not for: making
// certificates (self-signed.ts), nor for deciding what a peer's certificate proves.

import { constants, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import * as tls from "node:tls";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { domainToASCII } from "node:url";
import type { Clock } from "../util/clock.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { CertificateSource } from "./transport.ts";

/** A host and the PEM files with its certificate, followed by the intermediate ones, and its private key. */
export interface HostCertificate {
  readonly name: string;
  readonly certificate: string;
  readonly key: string;
}

export interface TlsContextsOptions {
  /** The first is the default: shown when the peer asks for no name, or for one we do not know. */
  readonly hosts: readonly HostCertificate[];
  /** PEM files with roots that are trusted beside those of Node. */
  readonly trustedRoots: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The contexts of one host. Roots of one's own make OpenSSL copy the names of all roots for every connection, which is
 * four times what a connection costs otherwise: who does not check the peer's certificate gets a context without them.
 */
interface HostContexts {
  readonly anonymous: SecureContext;
  readonly verifying: SecureContext;
}

const SOON_MS = 14 * 86_400_000;

/** The secure contexts of all hosts, for both roles. */
export class TlsContexts implements CertificateSource {
  #options: TlsContextsOptions;
  #contexts: Map<string, HostContexts>;
  #fallback: HostContexts;

  private constructor(options: TlsContextsOptions, contexts: Map<string, HostContexts>, fallback: HostContexts) {
    this.#options = options;
    this.#contexts = contexts;
    this.#fallback = fallback;
  }

  /**
   * Reads all files. Rejects with `MORENDO_CERTIFICATE_MISSING`, `_INVALID` or `_MISMATCH`, naming the host and the file;
   * what is expired, or not for the host's name, is only warned of.
   */
  static async load(options: TlsContextsOptions): Promise<TlsContexts> {
    const { contexts, fallback } = await readAll(options);
    return new TlsContexts(options, contexts, fallback);
  }

  /**
   * Reads all files again, or those of another configuration. Handshakes from now on use what was read. Rejects as `load`
   * does, and then everything stays as it was.
   */
  async reload(changes: Partial<Pick<TlsContextsOptions, "hosts" | "trustedRoots">> = {}): Promise<void> {
    const options = { ...this.#options, ...changes };
    const { contexts, fallback } = await readAll(options);
    this.#options = options;
    this.#contexts = contexts;
    this.#fallback = fallback;
  }

  contextFor(serverName: string | undefined, verifiesPeer = false): SecureContext {
    const found = serverName === undefined ? undefined : this.#contexts.get(asciiName(serverName));
    const { anonymous, verifying } = found ?? this.#fallback;
    return verifiesPeer ? verifying : anonymous;
  }
}

/** A name as TLS has it: in lower case and, where it is international, as A-labels. */
function asciiName(name: string): string {
  return domainToASCII(name) || name.toLowerCase();
}

async function readAll(
  options: TlsContextsOptions,
): Promise<{ contexts: Map<string, HostContexts>; fallback: HostContexts }> {
  const roots = await Promise.all(options.trustedRoots.map((path) => readPem(path, "a trusted root")));
  for (const [index, pem] of roots.entries())
    parseCertificate(pem, options.trustedRoots[index] ?? "", "a trusted root");
  const contexts = new Map<string, HostContexts>();
  let fallback: HostContexts | undefined;
  for (const host of options.hosts) {
    const context = await readHost(host, roots, options);
    contexts.set(asciiName(host.name), context);
    fallback ??= context;
  }
  if (fallback === undefined) throw new MorendoError("MORENDO_CERTIFICATE_MISSING", "no host has a certificate");
  return { contexts, fallback };
}

async function readHost(host: HostCertificate, roots: string[], options: TlsContextsOptions): Promise<HostContexts> {
  const [certificatePem, keyPem] = await Promise.all([
    readPem(host.certificate, `the certificate of ${host.name}`),
    readPem(host.key, `the private key of ${host.name}`),
  ]);
  const certificate = parseCertificate(certificatePem, host.certificate, `the certificate of ${host.name}`);
  const key = parseKey(keyPem, host);
  if (!certificate.checkPrivateKey(key)) {
    throw new MorendoError(
      "MORENDO_CERTIFICATE_MISMATCH",
      `the private key of ${host.name} in ${host.key} does not belong to the certificate in ${host.certificate}`,
    );
  }
  warnOf(certificate, host, options);
  try {
    const anonymous = makeContext(certificatePem, keyPem, []);
    return { anonymous, verifying: roots.length === 0 ? anonymous : makeContext(certificatePem, keyPem, roots) };
  } catch (cause) {
    throw new MorendoError(
      "MORENDO_CERTIFICATE_INVALID",
      `the certificate of ${host.name} in ${host.certificate} cannot be used: ${asError(cause).message}`,
      { cause },
    );
  }
}

/** Returns a context for both roles from PEM texts. `roots` are trusted beside those of Node. */
export function makeContext(certificate: string, key: string, roots: readonly string[]): SecureContext {
  return createSecureContext({
    cert: certificate,
    key,
    ...(roots.length > 0 ? { ca: [...defaultRoots(), ...roots] } : {}),
    minVersion: "TLSv1.2",
    honorCipherOrder: true,
    // Clients of XMPP resume streams (XEP-0198), not TLS sessions: tickets would only cost time and weaken forward secrecy.
    // With TLS 1.3 OpenSSL sends two all the same, which cannot be used.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  });
}

/** The roots Node trusts by itself; newer lines know more of them (those of the system, `NODE_EXTRA_CA_CERTS`). */
function defaultRoots(): readonly string[] {
  const { getCACertificates } = tls as { getCACertificates?: (kind: string) => readonly string[] };
  return getCACertificates?.("default") ?? rootCertificates;
}

async function readPem(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new MorendoError("MORENDO_CERTIFICATE_MISSING", `${what} cannot be read: ${asError(cause).message}`, {
      cause,
    });
  }
}

function parseCertificate(pem: string, path: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new MorendoError("MORENDO_CERTIFICATE_INVALID", `${what} in ${path} is not a PEM certificate`, { cause });
  }
}

function parseKey(pem: string, host: HostCertificate): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new MorendoError(
      "MORENDO_CERTIFICATE_INVALID",
      `the private key of ${host.name} in ${host.key} is not a PEM private key without a passphrase`,
      { cause },
    );
  }
}

function warnOf(certificate: X509Certificate, host: HostCertificate, { clock, log }: TlsContextsOptions): void {
  const left = Date.parse(certificate.validTo) - clock.wallTime();
  const fields = { host: host.name, file: host.certificate, until: certificate.validTo };
  if (left <= 0) log.warn(fields, `the certificate of ${host.name} has expired`);
  else if (left < SOON_MS) log.warn(fields, `the certificate of ${host.name} expires soon`);
  if (certificate.checkHost(host.name) === undefined) {
    log.warn(fields, `the certificate of ${host.name} is not for that name`);
  }
}
