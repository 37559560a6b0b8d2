// `morendo config check` beyond the file itself.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { runCommand } from "../../../src/cli/program.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { systemRandom } from "../../../src/util/random.ts";
import { type CertificateFiles, TestAuthority } from "../../support/certificates.ts";

describe("morendo config check", () => {
  let folder: string;
  let a: CertificateFiles;
  let b: CertificateFiles;
  const authority = TestAuthority.create();

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "morendo-check-"));
    a = await authority.issueFiles(folder, ["a.test"]);
    b = await authority.issueFiles(folder, ["b.test"]);
  });

  after(() => rm(folder, { recursive: true }));

  async function check(text: string): Promise<{ code: number; out: string; err: string }> {
    await writeFile(join(folder, "morendo.toml"), text);
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const code = await runCommand(["config", "check"], {
      stdin: new PassThrough(),
      stdout,
      stderr,
      environment: {},
      directory: folder,
      clock: systemClock,
      random: systemRandom,
    });
    return { code, out: String(stdout.read() ?? ""), err: String(stderr.read() ?? "") };
  }

  const host = (name: string, certificate: string, key: string): string =>
    `[[hosts]]\nname = "${name}"\ncertificate = "${certificate}"\nkey = "${key}"\n`;

  it("finds certificates and keys that belong together good, and makes none where none is named", async () => {
    const { code, out, err } = await check(`${host("a.test", a.chain, a.key)}[[hosts]]\nname = "b.test"\n`);
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /good, for a\.test, b\.test/);
    assert.equal((await check("")).code, 0);
    assert.equal(existsSync(join(folder, "data")), false);
  });

  it("names every file that is not there, is none, or does not belong to the other", async () => {
    const hosts = [
      host("a.test", a.chain, b.key),
      host("b.test", "nowhere.pem", b.key),
      host("c.test", b.key, b.key),
    ].join("");
    const { code, err } = await check(`${hosts}[s2s]\ntrusted_roots = ["no-roots.pem"]\n`);
    assert.equal(code, 2);
    const lines = err.trimEnd().split("\n").slice(1);
    assert.equal(lines.length, 4, err);
    for (const line of lines) assert.match(line, /^ {2}\S+morendo\.toml: /);
    assert.match(err, /a trusted root cannot be read: .*no-roots\.pem/);
    assert.match(err, /the private key of a\.test in .* does not belong to the certificate in /);
    assert.match(err, /the certificate of b\.test cannot be read: .*nowhere\.pem/);
    assert.match(err, /the certificate of c\.test in .* is not a PEM certificate/);
  });

  it("says what is odd about a certificate, which a server starts with all the same", async () => {
    const { code, err } = await check(host("b.test", a.chain, a.key));
    assert.deepEqual([code, err], [0, "morendo: the certificate of b.test is not for that name\n"]);
  });

  it("finds a path that is too long for the control socket, beside other problems", async () => {
    const long = `/tmp/${"x".repeat(120)}.sock`;
    const { code, err } = await check(`modules = ["rooster"]\n[control]\nsocket = "${long}"\n`);
    assert.equal(code, 2);
    assert.match(err, /there is no module "rooster"/);
    assert.match(err, /control socket: .* is the most for a Unix socket/);
  });
});
