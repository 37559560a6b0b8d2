// A certification authority for tests: issues certificates for host names, as PEM texts and as files that Prosody and
// ejabberd can read too. Nothing here is secret or lasting.

import { generateKeyPairSync, type KeyPairKeyObjectResult, randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { signCertificate } from "../../src/net/certificate.ts";

const DAY_MS = 86_400_000;

/** An issued certificate as PEM texts. */
export interface IssuedCertificate {
  /** The certificate of the host alone. */
  readonly certificate: string;
  /** The certificate followed by that of the authority. */
  readonly chain: string;
  readonly key: string;
}

/** Where the files of an issued certificate are. */
export interface CertificateFiles {
  readonly certificate: string;
  readonly chain: string;
  readonly key: string;
  /** Key, certificate and authority in one file, as ejabberd likes it. */
  readonly bundle: string;
  /** The root of the authority. */
  readonly root: string;
}

export interface IssueOptions {
  /** When the certificate ends; a year from now unless told. */
  readonly notAfter?: Date;
  /** XmppAddr names (RFC 6120 §13.7.1.4) to add. */
  readonly xmppAddresses?: readonly string[];
  /** SRV-IDs (RFC 4985) to add, such as `_xmpp-server.a.test`. */
  readonly srvNames?: readonly string[];
}

/** A root of trust that lives as long as the test. */
export class TestAuthority {
  /** The root certificate as PEM. */
  readonly root: string;
  #name: string;
  #keys: KeyPairKeyObjectResult;

  private constructor(name: string) {
    this.#name = name;
    this.#keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.root = signCertificate({
      subject: name,
      issuer: name,
      serialNumber: randomBytes(16),
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + 3_650 * DAY_MS),
      publicKey: this.#keys.publicKey,
      issuerPublicKey: this.#keys.publicKey,
      signingKey: this.#keys.privateKey,
      isAuthority: true,
      dnsNames: [],
    });
  }

  /** Makes an authority with a fresh key. */
  static create(name = "Morendo test authority"): TestAuthority {
    return new TestAuthority(name);
  }

  /** Issues a certificate for DNS `names`, the first of which is its common name. */
  issue(names: readonly string[], options: IssueOptions = {}): IssuedCertificate {
    const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const notAfter = options.notAfter ?? new Date(Date.now() + 365 * DAY_MS);
    const certificate = signCertificate({
      ...options,
      subject: names[0] ?? "unnamed",
      issuer: this.#name,
      serialNumber: randomBytes(16),
      notBefore: new Date(Math.min(Date.now(), notAfter.getTime()) - DAY_MS),
      notAfter,
      publicKey: keys.publicKey,
      issuerPublicKey: this.#keys.publicKey,
      signingKey: this.#keys.privateKey,
      isAuthority: false,
      dnsNames: names,
    });
    const key = keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    return { certificate, chain: certificate + this.root, key };
  }

  /** Issues a certificate and writes it into `directory`, in files named after the first name, beside `root.pem`. */
  async issueFiles(directory: string, names: readonly string[], options?: IssueOptions): Promise<CertificateFiles> {
    const issued = this.issue(names, options);
    const base = (names[0] ?? "unnamed").replaceAll("*", "_");
    const files: CertificateFiles = {
      certificate: join(directory, `${base}.crt`),
      chain: join(directory, `${base}.chain.crt`),
      key: join(directory, `${base}.key`),
      bundle: join(directory, `${base}.pem`),
      root: join(directory, "root.pem"),
    };
    await mkdir(directory, { recursive: true });
    await Promise.all([
      writeFile(files.certificate, issued.certificate),
      writeFile(files.chain, issued.chain),
      writeFile(files.key, issued.key, { mode: 0o600 }),
      writeFile(files.bundle, issued.key + issued.chain, { mode: 0o600 }),
      writeFile(files.root, this.root),
    ]);
    return files;
  }
}
