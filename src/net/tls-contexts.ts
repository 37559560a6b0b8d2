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
  /** Tells certificates apart. */
  readonly fingerprint: string;
  readonly isExpired: boolean;
}

/** All that was read at one time. */
interface Contexts {
  readonly byName: ReadonlyMap<string, HostContexts>;
  readonly fallback: HostContexts;
}

/** Certificates that have been read and are not in use yet. */
export interface PreparedCertificates {
  /** The hosts whose certificate is another one than before. */
  readonly changed: readonly string[];
  /** Handshakes from now on use what was read. */
  use(): void;
}

const SOON_MS = 14 * 86_400_000;

/** The secure contexts of all hosts, for both roles. */
export class TlsContexts implements CertificateSource {
  #options: TlsContextsOptions;
  #contexts: Contexts;

  private constructor(options: TlsContextsOptions, contexts: Contexts) {
    this.#options = options;
    this.#contexts = contexts;
  }

  /**
   * Reads all files. Rejects with `MORENDO_CERTIFICATE_MISSING`, `_INVALID` or `_MISMATCH`, naming the host and the file,
   * with a line for each file that will not do; what is expired, or not for the host's name, is only warned of.
   */
  static async load(options: TlsContextsOptions): Promise<TlsContexts> {
    return new TlsContexts(options, withFallback(await readAll(options)));
  }

  /** Reads all files and keeps nothing; there may be no host at all. Rejects and warns as `load` does. */
  static async check(options: TlsContextsOptions): Promise<void> {
    await readAll(options);
  }

  /**
   * Reads all files again, or those of another configuration; nothing changes before they are put to use. Rejects as `load`
   * does, and with `MORENDO_CERTIFICATE_EXPIRED` when a certificate that was not in use yet has expired.
   */
  async prepare(
    changes: Partial<Pick<TlsContextsOptions, "hosts" | "trustedRoots">> = {},
  ): Promise<PreparedCertificates> {
    const options = { ...this.#options, ...changes };
    const contexts = withFallback(await readAll(options));
    const changed = options.hosts.filter(({ name }) => {
      const before = this.#contexts.byName.get(asciiName(name));
      return before?.fingerprint !== contexts.byName.get(asciiName(name))?.fingerprint;
    });
    const expired = changed.filter(({ name }) => contexts.byName.get(asciiName(name))?.isExpired === true);
    if (expired.length > 0) {
      const lines = expired.map(({ name, certificate }) => `the certificate of ${name} in ${certificate} has expired`);
      throw new MorendoError("MORENDO_CERTIFICATE_EXPIRED", lines.join("\n"));
    }
    return {
      changed: changed.map(({ name }) => name),
      use: () => {
        this.#options = options;
        this.#contexts = contexts;
      },
    };
  }

  contextFor(serverName: string | undefined, verifiesPeer = false): SecureContext {
    const found = serverName === undefined ? undefined : this.#contexts.byName.get(asciiName(serverName));
    const { anonymous, verifying } = found ?? this.#contexts.fallback;
    return verifiesPeer ? verifying : anonymous;
  }
}

/** A name as TLS has it: in lower case and, where it is international, as A-labels. */
function asciiName(name: string): string {
  return domainToASCII(name) || name.toLowerCase();
}

/** Every peer gets a certificate, whatever name it asks for. */
function withFallback(byName: ReadonlyMap<string, HostContexts>): Contexts {
  const [fallback] = byName.values();
  if (fallback === undefined) throw new MorendoError("MORENDO_CERTIFICATE_MISSING", "no host has a certificate");
  return { byName, fallback };
}

async function readAll(options: TlsContextsOptions): Promise<ReadonlyMap<string, HostContexts>> {
  const roots: string[] = [];
  const faults: MorendoError[] = [];
  const noting = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (thrown) {
      if (!(thrown instanceof MorendoError)) throw thrown;
      faults.push(thrown);
    }
  };
  for (const path of options.trustedRoots) {
    await noting(async () => {
      const pem = await readPem(path, "a trusted root");
      parseCertificate(pem, path, "a trusted root");
      roots.push(pem);
    });
  }
  const byName = new Map<string, HostContexts>();
  for (const host of options.hosts) {
    await noting(async () => {
      byName.set(asciiName(host.name), await readHost(host, roots, options));
    });
  }
  const [first] = faults;
  if (first !== undefined && faults.length === 1) throw first;
  if (first !== undefined) throw new MorendoError(first.code, faults.map(({ message }) => message).join("\n"));
  return byName;
}

async function readHost(host: HostCertificate, roots: string[], options: TlsContextsOptions): Promise<HostContexts> {
  // One after the other: which of two problems is told must not depend on which file is read faster.
  const certificatePem = await readPem(host.certificate, `the certificate of ${host.name}`);
  const keyPem = await readPem(host.key, `the private key of ${host.name}`);
  const certificate = parseCertificate(certificatePem, host.certificate, `the certificate of ${host.name}`);
  const key = parseKey(keyPem, host);
  if (!certificate.checkPrivateKey(key)) {
    throw new MorendoError(
      "MORENDO_CERTIFICATE_MISMATCH",
      `the private key of ${host.name} in ${host.key} does not belong to the certificate in ${host.certificate}`,
    );
  }
  const isExpired = warnOf(certificate, host, options);
  try {
    const anonymous = makeContext(certificatePem, keyPem, []);
    const verifying = roots.length === 0 ? anonymous : makeContext(certificatePem, keyPem, roots);
    return { anonymous, verifying, fingerprint: certificate.fingerprint256, isExpired };
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

/** Warns of what is odd about a certificate, and tells whether it has expired. */
function warnOf(certificate: X509Certificate, host: HostCertificate, { clock, log }: TlsContextsOptions): boolean {
  const left = Date.parse(certificate.validTo) - clock.wallTime();
  const fields = { host: host.name, file: host.certificate, until: certificate.validTo };
  if (left <= 0) log.warn(fields, `the certificate of ${host.name} has expired`);
  else if (left < SOON_MS) log.warn(fields, `the certificate of ${host.name} expires soon`);
  if (certificate.checkHost(host.name) === undefined) {
    log.warn(fields, `the certificate of ${host.name} is not for that name`);
  }
  return left <= 0;
}
