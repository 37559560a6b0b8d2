import { deepEqual, equal, ok } from "node:assert/strict";
import { PlainServer, PlainVerifier } from "../../../src/sasl/plain.ts";
import type { CredentialSource, SaslStep } from "../../../src/sasl/sasl-server.ts";
import { decoyKeys, deriveKeys, preparePassword } from "../../../src/sasl/scram-keys.ts";
import { systemRandom } from "../../../src/util/random.ts";

const SALT = { salt: Buffer.alloc(16, 3), iterations: 4096 };
const failed = (condition: string): object => ({ kind: "failure", condition });

describe("a PLAIN exchange", () => {
  const verifier = new PlainVerifier(systemRandom);
  const source: CredentialSource = {
    async credentials(name, _domain, hash) {
      const user = name.toLowerCase();
      if (user === "bad name") return undefined;
      if (user !== "user") return { user, keys: decoyKeys(hash, SALT.salt, user, 4096), known: false };
      return { user, keys: await deriveKeys(hash, "pencil", SALT), known: true };
    },
    passwordFits: (password, keys) => verifier.fits(password, keys),
  };
  const login = async (message: string | Buffer): Promise<SaslStep> =>
    await new PlainServer({ domain: "example.org", source }).step(Buffer.from(message));

  it("lets the right password in, again and again", async () => {
    for (let count = 0; count < 3; count++) deepEqual(await login("\0User\0pencil"), { kind: "success", user: "user" });
  });

  it("refuses a wrong password and an unknown name alike", async () => {
    deepEqual(await login("\0user\0pencils"), failed("not-authorized"));
    deepEqual(await login("\0nobody\0pencil"), failed("not-authorized"));
    deepEqual(await login("\0bad name\0pencil"), failed("not-authorized"));
    deepEqual(await login("\0user\0pen\u0007cil"), failed("not-authorized"));
  });

  it("lets a client act as itself and as nobody else", async () => {
    equal((await login("user@example.org\0user\0pencil")).kind, "success");
    deepEqual(await login("admin@example.org\0user\0pencil"), failed("invalid-authzid"));
    deepEqual(await login("admin@example.org\0user\0wrong"), failed("not-authorized"));
  });

  it("asks for a message when there was none, once", async () => {
    const plain = new PlainServer({ domain: "example.org", source });
    deepEqual(await plain.step(undefined), { kind: "challenge", data: Buffer.alloc(0) });
    deepEqual(await plain.step(undefined), failed("malformed-request"));
  });

  for (const message of [
    "",
    "user\0pencil",
    "\0\0pencil",
    "\0user\0",
    "\0user\0pencil\0",
    "\0user",
    "x".repeat(20_000),
  ]) {
    it(`refuses ${JSON.stringify(message.slice(0, 30))}`, async () => {
      deepEqual(await login(message), failed("malformed-request"));
    });
  }

  it("refuses what is not UTF-8", async () => {
    deepEqual(await login(Buffer.from([0, 0x75, 0, 0xff])), failed("malformed-request"));
  });
});

describe("the memory of right passwords", () => {
  it("does not outlive a change of the password", async () => {
    const verifier = new PlainVerifier(systemRandom);
    const old = await deriveKeys("SHA-256", "old", SALT);
    ok(await verifier.fits("old", old));
    ok(await verifier.fits("old", old));
    const changed = await deriveKeys("SHA-256", "new", SALT);
    ok(!(await verifier.fits("old", changed)));
    ok(await verifier.fits("new", changed));
  });

  it("does not remember wrong ones as right", async () => {
    const verifier = new PlainVerifier(systemRandom);
    const keys = await deriveKeys("SHA-256", "right", SALT);
    for (let count = 0; count < 2; count++) ok(!(await verifier.fits("wrong", keys)));
    ok(await verifier.fits("right", keys));
    ok(!(await verifier.fits("wrong", keys)));
  });

  it("can be switched off", async () => {
    const verifier = new PlainVerifier(systemRandom, 0);
    const keys = await deriveKeys("SHA-256", "right", SALT);
    for (let count = 0; count < 2; count++) ok(await verifier.fits("right", keys));
  });
});

describe("a password", () => {
  it("is prepared by SASLprep", () => {
    equal(preparePassword("I\u00ADX"), "IX");
    equal(preparePassword("\u2168"), "IX");
    equal(preparePassword("a\u00A0b"), "a b");
    for (const bad of ["", "\u0007", "\u0627\u0031", "x".repeat(1025), "\u00AD"])
      equal(preparePassword(bad), undefined);
  });
});
