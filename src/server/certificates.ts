// The certificates of the hosts: which file belongs to which, made on the first start where the configuration names none;
// read at the start, and anew at each reload. Not for: what is made of what was read (net/tls-contexts.ts).

import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { domainToASCII } from "node:url";
import type { LiveConfig } from "../config/changes.ts";
import type { Config } from "../config/schema.ts";
import { makeSelfSigned } from "../net/self-signed.ts";
import { type HostCertificate, TlsContexts } from "../net/tls-contexts.ts";
import type { CertificateSource } from "../net/transport.ts";
import type { Clock } from "../util/clock.ts";
import { codeOf, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import type { ReloadPart } from "./reloading.ts";

/** What is needed to make a certificate. */
interface Tools {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Reads the certificates that the configuration names. A host without `certificate` and `key` gets a self-signed one in
 * `data/certificates`, once. Rejects with `MORENDO_CERTIFICATE_MISSING` when only one of the two is configured, and like
 * `TlsContexts.load`.
 */
export async function loadCertificates(config: Config, tools: Tools): Promise<TlsContexts> {
  const hosts = await certificateFiles(config, tools);
  return await TlsContexts.load({ hosts, trustedRoots: config.s2s.trusted_roots, ...tools });
}

/**
 * Reads the certificates, keys and trusted roots that the configuration names, and makes none. Rejects like `loadCertificates`,
 * with a line for each file that will not do; what a start only warns of is warned of.
 */
export async function checkCertificates(config: Config, tools: Pick<Tools, "clock" | "log">): Promise<void> {
  const hosts = config.hosts.flatMap((host) => configuredFiles(host) ?? []);
  await TlsContexts.check({ hosts, trustedRoots: config.s2s.trusted_roots, ...tools });
}

/** The part of a reload that is about certificates. Those that a program brought along stay as they are. */
export class CertificateReload implements ReloadPart {
  #live: LiveConfig;
  #certificates: CertificateSource;
  #tools: Tools;
  #changed: readonly string[] = [];

  constructor({ live, certificates, ...tools }: Tools & { live: LiveConfig; certificates: CertificateSource }) {
    this.#live = live;
    this.#certificates = certificates;
    this.#tools = tools;
  }

  /** The hosts whose certificate the last preparation found to be another one. */
  get changed(): readonly string[] {
    return this.#changed;
  }

  async prepare(next: Config): Promise<() => void> {
    const certificates = this.#certificates;
    if (!(certificates instanceof TlsContexts)) return () => undefined;
    const { current } = this.#live;
    const hosts = await certificateFiles({ data: current.data, hosts: this.#live.hostsWith(next) }, this.#tools);
    const prepared = await certificates.prepare({ hosts, trustedRoots: next.s2s.trusted_roots });
    this.#changed = prepared.changed;
    return () => prepared.use();
  }
}

async function certificateFiles(config: Pick<Config, "data" | "hosts">, tools: Tools): Promise<HostCertificate[]> {
  const files: HostCertificate[] = [];
  for (const host of config.hosts)
    files.push(configuredFiles(host) ?? (await ownCertificate(host.name, config.data, tools)));
  return files;
}

function configuredFiles({ name, certificate, key }: Config["hosts"][number]): HostCertificate | undefined {
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate !== undefined && key !== undefined) return { name, certificate, key };
  throw new MorendoError("MORENDO_CERTIFICATE_MISSING", `host ${name} needs both certificate and key, or neither`);
}

async function ownCertificate(name: string, data: string, tools: Tools): Promise<HostCertificate> {
  const folder = join(data, "certificates");
  // Certificates have international names as A-labels.
  const ascii = domainToASCII(name) || name;
  const file = join(folder, ascii.replaceAll(/[^A-Za-z0-9.-]/g, "_"));
  const host = { name, certificate: `${file}.crt`, key: `${file}.key` };
  if ((await isThere(host.certificate)) && (await isThere(host.key))) return host;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const pair = await makeSelfSigned([ascii], tools);
  // The key first: a certificate without its key would look complete after a crash in between.
  await write(host.key, pair.key, 0o600);
  await write(host.certificate, pair.certificate, 0o644);
  tools.log.info({ host: name, file: host.certificate }, "made a self-signed certificate");
  return host;
}

async function isThere(file: string): Promise<boolean> {
  try {
    await readFile(file);
    return true;
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return false;
    throw thrown;
  }
}

async function write(file: string, text: string, mode: number): Promise<void> {
  const handle = await open(file, "w", mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
