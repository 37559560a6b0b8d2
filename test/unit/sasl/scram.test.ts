import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import fc from "fast-check";
import type { CredentialSource, Credentials, SaslStep, ScramHash } from "../../../src/sasl/sasl-server.ts";
import { type ScramOptions, ScramServer } from "../../../src/sasl/scram.ts";
import { decoyKeys, deriveKeys } from "../../../src/sasl/scram-keys.ts";
import { systemRandom } from "../../../src/util/random.ts";
import { ScramClient, type ScramClientOptions, type Tampering } from "../../support/scram-client.ts";

const SECRET = Buffer.alloc(32, 7);

/** Knows one account, `user` with the password `pencil`, in whatever case its name comes. */
class OneAccount implements CredentialSource {
  salt = Buffer.from("QSXCR+Q6sek8bf92", "base64");
  password = "pencil";

  async credentials(name: string, domain: string, hash: ScramHash): Promise<Credentials | undefined> {
    const user = name.toLowerCase();
    if (user.includes(" ")) return undefined;
    if (user !== "user") return { user, keys: decoyKeys(hash, SECRET, `${user}@${domain}`, 4096), known: false };
    return { user, keys: await deriveKeys(hash, this.password, { salt: this.salt, iterations: 4096 }), known: true };
  }

  passwordFits(): Promise<boolean> {
    throw new Error("SCRAM sees no passwords");
  }
}

function server(options: Partial<ScramOptions> = {}): ScramServer {
  return new ScramServer({
    hash: "SHA-256",
    plus: false,
    plusOffered: false,
    binding: undefined,
    domain: "example.org",
    source: new OneAccount(),
    random: systemRandom,
    ...options,
  });
}

const send = async (to: ScramServer, text: string): Promise<SaslStep> => await to.step(Buffer.from(text));
const failed = (condition: string): object => ({ kind: "failure", condition });

/** Logs in and returns the last step, with what the client made of it. */
async function login(
  options: Partial<ScramClientOptions> = {},
  own: Partial<ScramOptions> = {},
  tampering: Tampering = {},
): Promise<{ step: SaslStep; proved: boolean; challenged: boolean }> {
  const hash = own.hash ?? "SHA-256";
  const client = new ScramClient({ hash, name: "user", password: "pencil", ...options });
  const scram = server(own);
  const first = await send(scram, client.first);
  if (first.kind !== "challenge") return { step: first, proved: false, challenged: false };
  const step = await send(scram, client.final(first.data.toString(), tampering));
  const proved = step.kind === "success" && client.accepts(String(step.data));
  return { step, proved, challenged: true };
}

describe("a SCRAM exchange", () => {
  it("is the one of RFC 5802 §5", async () => {
    const nonce = "3rfcNHYJY1ZVvWVs7j";
    const scram = server({ hash: "SHA-1", random: { bytes: () => Buffer.from(nonce, "base64") } });
    const challenge = await send(scram, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    // The nonce of the example is no base64 of whole bytes, so that only its beginning can be made again.
    ok(challenge.kind === "challenge");
    ok(challenge.data.toString().startsWith("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs"));
    ok(challenge.data.toString().endsWith(",s=QSXCR+Q6sek8bf92,i=4096"));
  });

  for (const [hash, vector] of Object.entries({
    "SHA-1": {
      client: "n=user,r=fyko+d2lbbFgONRv9qkxdawL",
      server: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
      final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
      salt: "QSXCR+Q6sek8bf92",
      proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
      signature: "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    },
    "SHA-256": {
      client: "n=user,r=rOprNGfwEbeRWgbNEkqO",
      server: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
      salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
      proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
      signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    },
  })) {
    it(`computes what RFC ${hash === "SHA-1" ? "5802 §5" : "7677 §3"} computes`, async () => {
      const { proofFits, serverSignature } = await import("../../../src/sasl/scram-keys.ts");
      const keys = await deriveKeys(hash as ScramHash, "pencil", {
        salt: Buffer.from(vector.salt, "base64"),
        iterations: 4096,
      });
      const authMessage = `${vector.client},${vector.server},${vector.final}`;
      ok(proofFits(hash as ScramHash, keys, authMessage, Buffer.from(vector.proof, "base64")));
      ok(!proofFits(hash as ScramHash, keys, `${authMessage}x`, Buffer.from(vector.proof, "base64")));
      equal(serverSignature(hash as ScramHash, keys, authMessage).toString("base64"), vector.signature);
    });

    it(`with ${hash} lets the right password in and proves the server to the client`, async () => {
      const { step, proved } = await login({}, { hash: hash as ScramHash });
      equal(step.kind, "success");
      ok(proved);
      deepEqual((await login({ password: "pencils" }, { hash: hash as ScramHash })).step, failed("not-authorized"));
    });
  }

  it("lets a client in that waited to be asked", async () => {
    const scram = server();
    deepEqual(await scram.step(undefined), { kind: "challenge", data: Buffer.alloc(0) });
    const client = new ScramClient({ hash: "SHA-256", name: "USER", password: "pencil" });
    const first = await send(scram, client.first);
    ok(first.kind === "challenge");
    const step = await send(scram, client.final(first.data.toString()));
    ok(step.kind === "success");
    equal(step.user, "user", "in its prepared form");
  });

  it("asks only once for a first message", async () => {
    const scram = server();
    await scram.step(undefined);
    deepEqual(await scram.step(undefined), failed("malformed-request"));
    deepEqual(await send(scram, "n,,n=user,r=abc"), failed("malformed-request"), "and is over");
  });

  it("goes the same way for a name without an account", async () => {
    const first = async (name: string): Promise<string> => {
      const step = await send(server(), `n,,n=${name},r=abc`);
      ok(step.kind === "challenge");
      return step.data.toString().replace(/^r=[^,]+,/, "");
    };
    equal(await first("nobody"), await first("nobody"));
    equal(await first("nobody"), await first("NoBody"), "as real accounts have one salt whatever the case");
    notEqual(await first("nobody"), await first("nobody2"));
    equal((await first("nobody")).length > "s=,i=4096".length, true);
    const { step, challenged } = await login({ name: "nobody" });
    ok(challenged);
    deepEqual(step, failed("not-authorized"));
  });

  it("refuses a proof over the decoy keys themselves", async () => {
    // Whoever learned the decoy keys could not log in either: there is no account.
    const source = new OneAccount();
    const keys = await deriveKeys("SHA-256", "x", { salt: source.salt, iterations: 4096 });
    source.credentials = async () => ({ user: "ghost", keys, known: false });
    deepEqual((await login({ name: "ghost", password: "x" }, { source })).step, failed("not-authorized"));
  });

  it("refuses a name that cannot be one", async () => {
    deepEqual((await login({ name: "us er" })).step, failed("not-authorized"));
  });

  it("fails when the keys cannot be read", async () => {
    const source = new OneAccount();
    source.credentials = () => Promise.reject(new Error("the disk is gone"));
    await rejects(login({}, { source }), /the disk is gone/);
  });

  it("lets a client act as itself and as nobody else", async () => {
    for (const authzid of ["user", "user@example.org", "user@EXAMPLE.org"]) {
      equal((await login({ gs2Header: `n,a=${authzid},` })).step.kind, "success", authzid);
    }
    for (const authzid of ["admin", "admin@example.org", "user@evil.example", "example.org", "@example.org"]) {
      deepEqual((await login({ gs2Header: `n,a=${authzid},` })).step, failed("invalid-authzid"), authzid);
    }
  });

  it("undoes the escapes in a name", async () => {
    const asked: string[] = [];
    const source = new OneAccount();
    source.credentials = async (name) => {
      asked.push(name);
      return undefined;
    };
    await login({ name: "a,b=c" }, { source });
    deepEqual(asked, ["a,b=c"]);
  });

  describe("with channel binding", () => {
    const binding = Buffer.alloc(32, 1);
    const plus = { plus: true, plusOffered: true, binding } as const;
    const gs2Header = "p=tls-exporter,,";

    it("lets a client in that is bound to this channel", async () => {
      const { step, proved } = await login({ gs2Header, binding }, plus);
      equal(step.kind, "success");
      ok(proved);
    });

    it("refuses one that is bound to another channel", async () => {
      const other = Buffer.alloc(32, 2);
      deepEqual((await login({ gs2Header, binding: other }, plus)).step, failed("not-authorized"));
      deepEqual((await login({ gs2Header }, plus)).step, failed("not-authorized"));
    });

    it("refuses one that does not bind, or to something else", async () => {
      for (const header of ["n,,", "y,,", "p=tls-unique,,"]) {
        const { step, challenged } = await login({ gs2Header: header, binding }, plus);
        deepEqual(step, failed("not-authorized"), header);
        ok(!challenged);
      }
    });

    it("refuses binding where the mechanism has none", async () => {
      deepEqual(
        (await login({ gs2Header, binding }, { plusOffered: true, binding })).step,
        failed("malformed-request"),
      );
    });

    it("notices that the offer was taken out on the way", async () => {
      deepEqual((await login({ gs2Header: "y,," }, { plusOffered: true, binding })).step, failed("not-authorized"));
      equal((await login({ gs2Header: "y,," })).step.kind, "success", "when nothing was offered");
      equal((await login({ gs2Header: "n,," }, { plusOffered: true, binding })).step.kind, "success");
    });

    it("refuses a header that is not the one the exchange began with", async () => {
      const tampered = { channelBinding: Buffer.from("y,,").toString("base64") };
      deepEqual((await login({}, {}, tampered)).step, failed("not-authorized"));
    });
  });

  it("refuses what was tampered with in the last message", async () => {
    deepEqual((await login({}, {}, { nonce: "fyko" })).step, failed("not-authorized"));
    deepEqual((await login({}, {}, { proof: "AAAA" })).step, failed("not-authorized"));
    deepEqual((await login({}, {}, { proof: "A" })).step, failed("malformed-request"));
    deepEqual((await login({}, {}, { channelBinding: "biw" })).step, failed("malformed-request"));
    equal((await login({}, {}, { extension: ",x=ignored" })).step.kind, "success", "optional extensions do no harm");
  });

  it("is over after a failure and after a success", async () => {
    const scram = server();
    const client = new ScramClient({ hash: "SHA-256", name: "user", password: "pencil" });
    const first = await send(scram, client.first);
    ok(first.kind === "challenge");
    const final = client.final(first.data.toString());
    equal((await send(scram, final)).kind, "success");
    deepEqual(await send(scram, final), failed("malformed-request"));
  });

  for (const message of [
    "",
    "n",
    "n,,",
    "n,,n=user",
    "n,,n=,r=abc",
    "n,,n=user,r=",
    "n,,r=abc,n=user",
    "n,,m=x,n=user,r=abc",
    "n,,n=us=er,r=abc",
    "n,,n=user,r=a\u00E9",
    "n,,n=user,r=abc,",
    "n,,n=user,r=abc,xx",
    "n,user,n=user,r=abc",
    "x,,n=user,r=abc",
    "p=,,n=user,r=abc",
    "n,,n=us\0er,r=abc",
    `n,,n=${"a".repeat(20_000)},r=abc`,
  ]) {
    it(`refuses ${JSON.stringify(message.slice(0, 40))} as a first message`, async () => {
      deepEqual(await send(server(), message), failed("malformed-request"));
    });
  }

  it("refuses what is not UTF-8", async () => {
    deepEqual(await server().step(Buffer.from([0x6e, 0x2c, 0x2c, 0xff])), failed("malformed-request"));
  });

  it("answers every message whatever it is", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 3 }), async (messages) => {
        const scram = server();
        await send(scram, "n,,n=user,r=abc");
        for (const message of messages) equal((await scram.step(Buffer.from(message))).kind, "failure");
      }),
      { numRuns: 50 },
    );
  });
});
