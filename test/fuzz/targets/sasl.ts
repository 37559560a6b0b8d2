// SASL from the server's side: each line of an input is one message of a client, in base64 as it comes or made so here. No
// client gets in that does not know the password.

import assert from "node:assert/strict";
import { alternativeNames } from "../../../src/net/tls-info.ts";
import { certificateNames } from "../../../src/sasl/external.ts";
import { type ClientMechanism, createMechanism } from "../../../src/sasl/mechanisms.ts";
import { decodePayload, encodePayload } from "../../../src/sasl/payload.ts";
import { PlainVerifier } from "../../../src/sasl/plain.ts";
import type { CredentialSource, SaslStep, ScramKeys } from "../../../src/sasl/sasl-server.ts";
import { decoyKeys, deriveKeys } from "../../../src/sasl/scram-keys.ts";
import { SeededRandom } from "../../../src/testing/simulation/seeded-random.ts";
import type { Target } from "../harness/target.ts";

const PASSWORD = "open sesame";
const MECHANISMS: readonly [ClientMechanism, ...ClientMechanism[]] = [
  "SCRAM-SHA-256-PLUS",
  "SCRAM-SHA-1-PLUS",
  "SCRAM-SHA-256",
  "SCRAM-SHA-1",
  "PLAIN",
];
const SALTED = { salt: Buffer.from("salt"), iterations: 1 };
const verifier = new PlainVerifier(new SeededRandom(1));
const keys: Promise<Readonly<Record<"SHA-1" | "SHA-256", ScramKeys>>> = (async () => ({
  "SHA-1": await deriveKeys("SHA-1", PASSWORD, SALTED),
  "SHA-256": await deriveKeys("SHA-256", PASSWORD, SALTED),
}))();
const source: CredentialSource = {
  credentials: async (name, _domain, hash) => {
    if (name === "romeo") return { user: name, keys: (await keys)[hash], known: true };
    return name.includes("!")
      ? undefined
      : { user: name, keys: decoyKeys(hash, Buffer.from("s"), name, 1), known: false };
  },
  passwordFits: (password, against) => verifier.fits(password, against),
};

/** All mechanisms for clients. */
export const sasl: Target = {
  name: "sasl",
  seeds: [
    "PLAIN\n\0romeo\0open sesame",
    "PLAIN\nromeo@a.test\0romeo\0open sesame",
    "PLAIN\n\nAHJvbWVvAG9wZW4gc2VzYW1l",
    "SCRAM-SHA-1\nn,,n=romeo,r=abc\nc=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "SCRAM-SHA-256\ny,a=romeo@a.test,n=romeo,r=abc,x=1\nc=eSws,r=abc,p=AAAA",
    "SCRAM-SHA-256-PLUS\np=tls-exporter,,n=romeo,r=abc\nc=cD10bHMtZXhwb3J0ZXIsLA==,r=abc,p=AAAA",
    "SCRAM-SHA-1-PLUS\np=tls-unique,,n=juliet=2C=3D,r=abc\n=\n",
  ],
  words: [
    "\n",
    "\0",
    ",",
    "=",
    "=2C",
    "=3D",
    "n,,",
    "y,,",
    "p=tls-exporter,,",
    "a=",
    "n=",
    "r=",
    "c=",
    "p=",
    "m=x,",
    "romeo",
    "juliet",
    "a.test",
    "@",
    "open sesame",
    "!",
    "biws",
    "A".repeat(2_000),
    Buffer.of(0xff),
    "\u00ad",
    "==",
  ],
  async run(input) {
    const [name = "", ...lines] = input.toString("latin1").split("\n");
    const mechanism = MECHANISMS.find((one) => one === name) ?? MECHANISMS[input.length % MECHANISMS.length] ?? "PLAIN";
    const random = new SeededRandom(input.length);
    const exchange = createMechanism(mechanism, {
      host: "a.test",
      credentials: source,
      random,
      channelBinding: Buffer.from("bound"),
      offered: MECHANISMS,
    });
    let isOver = false;
    let nonce = "";
    for (const line of lines.slice(0, 20)) {
      // What the server has said cannot be known by whoever made the input: it is filled in.
      const bytes = Buffer.from(line.replace(/r=abc/g, nonce === "" ? "r=abc" : `r=${nonce}`), "latin1");
      const payload = decodePayload(bytes.toString("latin1")) ?? bytes;
      if (payload !== "absent") assert.deepEqual(decodePayload(encodePayload(payload)), payload);
      const step: SaslStep = await exchange.step(payload === "absent" ? undefined : payload);
      if (step.kind === "challenge") {
        assert.ok(!isOver || mechanism === "PLAIN", "a challenge after the end");
        nonce = /^r=([^,]*)/.exec(step.data.toString())?.[1] ?? nonce;
      } else if (step.kind === "success") {
        assert.equal(mechanism, "PLAIN", "somebody got in without the password");
        assert.ok(Buffer.isBuffer(payload) && payload.includes(PASSWORD), "somebody got in without the password");
        assert.equal(step.user, "romeo");
      } else isOver = true;
    }
  },
};

const CHAIN = { chainTrusted: true };

/** The names in certificates, as Node's text form of them tells. */
export const certificates: Target = {
  name: "certificates",
  seeds: [
    "DNS:a.test, DNS:*.b.test, IP Address:127.0.0.1",
    'othername: XmppAddr::a.test, othername: SRVName::_xmpp-server.a.test, DNS:"a.test, DNS:evil.test"',
    'DNS:"a\\u0000.test", URI:xmpp:a.test, DirName:"CN=x, O=\\"y\\""',
    "DNS:XN--4CA.test",
  ],
  words: [
    "DNS:",
    ", ",
    '"',
    "\\",
    "othername:",
    "othername: XmppAddr:",
    "othername: SRVName:",
    "_xmpp-server.",
    "*.",
    "a.test",
    ".",
    "\\u0000",
    "URI:",
    "IP Address:",
    "xn--",
    "ä",
    "victim.test",
  ],
  run(input) {
    const text = input.toString();
    const names = alternativeNames(text);
    for (const name of names) assert.equal(name, name.toLowerCase());
    // What stands inside one quoted value never becomes a name of its own.
    const quoted = JSON.stringify(`${text}, DNS:victim.test`);
    assert.ok(!alternativeNames(`DNS:${quoted}, DNS:own.test`).includes("victim.test"), "a name out of a quoted value");
    if (certificateNames({ ...CHAIN, peerNames: names }, "victim.test")) {
      assert.match(text, /victim\.test|\*\./i, "a certificate for somebody else is taken");
    }
    assert.equal(certificateNames({ chainTrusted: false, peerNames: names }, "victim.test"), false);
  },
};
