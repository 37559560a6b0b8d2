import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeSelfSigned } from "../../../src/net/self-signed.ts";
import { TlsContexts } from "../../../src/net/tls-contexts.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { type Logger, silentLog } from "../../../src/util/log.ts";
import { systemRandom } from "../../../src/util/random.ts";
import { type CertificateFiles, TestAuthority } from "../../support/certificates.ts";

describe("the certificates of the hosts", () => {
  let folder: string;
  let a: CertificateFiles;
  let b: CertificateFiles;
  let warnings: string[];
  let log: Logger;
  const authority = TestAuthority.create();

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "morendo-tls-"));
    a = await authority.issueFiles(folder, ["a.test"]);
    b = await authority.issueFiles(folder, ["b.test"]);
  });

  beforeEach(() => {
    warnings = [];
    log = { ...silentLog, warn: (_, message) => void warnings.push(message) };
  });

  after(() => rm(folder, { recursive: true }));

  const load = (hosts: { name: string; certificate: string; key: string }[], trustedRoots: string[] = []) =>
    TlsContexts.load({ hosts, trustedRoots, clock: systemClock, log });

  it("are chosen by name, whatever its case, and else the first", async () => {
    const contexts = await load([
      { name: "a.test", certificate: a.chain, key: a.key },
      { name: "b.test", certificate: b.chain, key: b.key },
    ]);
    assert.notEqual(contexts.contextFor("a.test"), contexts.contextFor("b.test"));
    assert.equal(contexts.contextFor("B.test"), contexts.contextFor("b.test"));
    assert.equal(contexts.contextFor("c.test"), contexts.contextFor("a.test"));
    assert.equal(contexts.contextFor(undefined), contexts.contextFor("a.test"));
    assert.deepEqual(warnings, []);
  });

  it("are read again by reload, all or none", async () => {
    const contexts = await load([{ name: "a.test", certificate: a.chain, key: a.key }]);
    const before = contexts.contextFor("a.test");
    (await contexts.prepare()).use();
    const after = contexts.contextFor("a.test");
    assert.notEqual(after, before);
    await assert.rejects(contexts.prepare({ trustedRoots: [join(folder, "nowhere.pem")] }), {
      code: "MORENDO_CERTIFICATE_MISSING",
    });
    assert.equal(contexts.contextFor("a.test"), after);
  });

  it("are refused with the name of the host and the file when missing, broken or mismatched", async () => {
    const missing = join(folder, "missing.crt");
    await assert.rejects(load([{ name: "a.test", certificate: missing, key: a.key }]), (error: Error) => {
      assert.match(error.message, /a\.test.*missing\.crt/);
      return (error as Error & { code: string }).code === "MORENDO_CERTIFICATE_MISSING";
    });
    const broken = join(folder, "broken.crt");
    await writeFile(broken, "not a certificate");
    await assert.rejects(load([{ name: "a.test", certificate: broken, key: a.key }]), {
      code: "MORENDO_CERTIFICATE_INVALID",
    });
    await assert.rejects(load([{ name: "a.test", certificate: a.chain, key: broken }]), {
      code: "MORENDO_CERTIFICATE_INVALID",
    });
    await assert.rejects(load([{ name: "a.test", certificate: a.chain, key: b.key }]), {
      code: "MORENDO_CERTIFICATE_MISMATCH",
    });
    await assert.rejects(load([]), { code: "MORENDO_CERTIFICATE_MISSING" });
  });

  it("are only warned of when expired or for another name", async () => {
    const old = await authority.issueFiles(folder, ["old.test"], { notAfter: new Date(Date.now() - 1_000) });
    await load([
      { name: "old.test", certificate: old.chain, key: old.key },
      { name: "b.test", certificate: a.chain, key: a.key },
    ]);
    assert.deepEqual(warnings, [
      "the certificate of old.test has expired",
      "the certificate of b.test is not for that name",
    ]);
  });

  it("can be made on the spot, for several names and ten years", async () => {
    const pair = await makeSelfSigned(["c.test", "d.test"], { clock: systemClock, random: systemRandom });
    const certificate = new X509Certificate(pair.certificate);
    assert.equal(certificate.subjectAltName, "DNS:c.test, DNS:d.test");
    assert.ok(certificate.verify(certificate.publicKey));
    assert.ok(Date.parse(certificate.validTo) - Date.now() > 9.9 * 365 * 86_400_000);
    const files = { name: "c.test", certificate: join(folder, "c.crt"), key: join(folder, "c.key") };
    await writeFile(files.certificate, pair.certificate);
    await writeFile(files.key, pair.key);
    await load([files]);
    assert.deepEqual(warnings, []);
  });
});
