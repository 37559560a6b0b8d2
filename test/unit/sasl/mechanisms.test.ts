import { deepEqual, equal, ok } from "node:assert/strict";
import { type ClientMechanism, createMechanism, offeredMechanisms } from "../../../src/sasl/mechanisms.ts";
import { decodePayload, encodePayload } from "../../../src/sasl/payload.ts";
import type { CredentialSource } from "../../../src/sasl/sasl-server.ts";
import { deriveKeys } from "../../../src/sasl/scram-keys.ts";
import { saslExchange, type ClientMechanism as TestMechanism } from "../../../src/testing/sasl-client.ts";
import { systemRandom } from "../../../src/util/random.ts";

const ALL: readonly ClientMechanism[] = [
  "SCRAM-SHA-256-PLUS",
  "SCRAM-SHA-1-PLUS",
  "SCRAM-SHA-256",
  "SCRAM-SHA-1",
  "PLAIN",
];

describe("the mechanisms offered", () => {
  it("are all with TLS that can be bound to", () => {
    deepEqual(offeredMechanisms(ALL, { encrypted: true, canBind: true }), ALL);
  });

  it("have no -PLUS without something to bind to", () => {
    deepEqual(offeredMechanisms(ALL, { encrypted: true, canBind: false }), ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]);
  });

  it("have no PLAIN without TLS", () => {
    deepEqual(offeredMechanisms(ALL, { encrypted: false, canBind: false }), ["SCRAM-SHA-256", "SCRAM-SHA-1"]);
  });

  it("are only those of the configuration, in its order", () => {
    deepEqual(offeredMechanisms(["PLAIN", "SCRAM-SHA-1"], { encrypted: true, canBind: true }), [
      "PLAIN",
      "SCRAM-SHA-1",
    ]);
  });
});

describe("a client written apart from the server", () => {
  const channelBinding = Buffer.alloc(32, 9);
  const credentials: CredentialSource = {
    credentials: async (name, _domain, hash) => ({
      user: name,
      keys: await deriveKeys(hash, "pencil", { salt: Buffer.alloc(16, 1), iterations: 4096 }),
      known: true,
    }),
    passwordFits: async (password) => password === "pencil",
  };

  for (const mechanism of ALL) {
    it(`logs in by ${mechanism}`, async () => {
      const context = { host: "example.org", credentials, random: systemRandom, channelBinding, offered: ALL };
      const server = createMechanism(mechanism, context);
      const client = saslExchange(mechanism as TestMechanism, {
        username: "user",
        password: "pencil",
        binding: channelBinding,
      });
      const bytes = (text: string): Buffer => {
        const data = decodePayload(text);
        ok(Buffer.isBuffer(data));
        return data;
      };
      let step = await server.step(bytes(client.initial));
      if (step.kind === "challenge") step = await server.step(bytes(client.respond(encodePayload(step.data))));
      ok(step.kind === "success");
      equal(step.user, "user");
      client.verify(encodePayload(step.data));
    });
  }
});

describe("the text of a SASL element", () => {
  it("is base64, an equals sign for no bytes, or nothing", () => {
    equal(decodePayload(""), "absent");
    deepEqual(decodePayload("="), Buffer.alloc(0));
    deepEqual(decodePayload("AAE="), Buffer.from([0, 1]));
    for (const bad of ["A", "AAE", "A===", "AA=A", "AAE=\n", "AA E=", "AA-_", "=="])
      equal(decodePayload(bad), undefined, bad);
    equal(encodePayload(undefined), "");
    equal(encodePayload(Buffer.alloc(0)), "=");
    equal(encodePayload(Buffer.from([0, 1])), "AAE=");
  });
});
