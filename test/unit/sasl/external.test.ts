import { equal } from "node:assert/strict";
import { certificateNames } from "../../../src/sasl/external.ts";

const CASES: readonly (readonly [names: readonly string[], domain: string, is: boolean])[] = [
  [["example.org"], "example.org", true],
  [["EXAMPLE.org."], "example.org", true],
  [["other.org", "example.org"], "example.org", true],
  [["example.org"], "chat.example.org", false],
  [["chat.example.org"], "example.org", false],
  [[], "example.org", false],
  [["*.example.org"], "chat.example.org", true],
  [["*.example.org"], "example.org", false],
  [["*.example.org"], "a.chat.example.org", false],
  [["c*.example.org"], "chat.example.org", false],
  [["chat.*.org"], "chat.example.org", false],
  [["*"], "example.org", false],
  [["*."], "org", false],
  [["*.*.org"], "chat.example.org", false],
  [["_xmpp-server.example.org"], "example.org", true],
  [["_xmpp-client.example.org"], "example.org", false],
  [["_xmpp-server.*.example.org"], "chat.example.org", false],
  [["_xmpp-server.example.org"], "_xmpp-server.example.org", false],
  [["romeo@example.org"], "example.org", false],
  [["xn--bcher-kva.example"], "b\u00FCcher.example", true],
  [["b\u00FCcher.example"], "b\u00FCcher.example", true],
  [["*.xn--bcher-kva.example"], "chat.b\u00FCcher.example", true],
  [["b\u00FCcher.example/x"], "b\u00FCcher.example", false],
  [["example.org\0.evil.example"], "example.org", false],
  [["[::1]"], "[::1]", true],
];

describe("a peer's certificate", () => {
  for (const [peerNames, domain, is] of CASES) {
    it(`for ${JSON.stringify(peerNames)} ${is ? "names" : "does not name"} ${domain}`, () => {
      equal(certificateNames({ chainTrusted: true, peerNames }, domain), is);
    });
  }

  it("counts only when its chain is trusted", () => {
    equal(certificateNames({ chainTrusted: false, peerNames: ["example.org"] }, "example.org"), false);
    equal(certificateNames(undefined, "example.org"), false);
  });
});
