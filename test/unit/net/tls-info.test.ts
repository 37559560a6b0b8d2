import assert from "node:assert/strict";
import { alternativeNames } from "../../../src/net/tls-info.ts";

describe("the names of a certificate", () => {
  it("are DNS names, SRV-IDs and XmppAddrs in lower case", () => {
    const text = "DNS:A.test, IP Address:127.0.0.1, othername:XmppAddr:b.test, othername:SRVName:_xmpp-server.c.test";
    assert.deepEqual(alternativeNames(text), ["a.test", "b.test", "_xmpp-server.c.test"]);
    assert.deepEqual(alternativeNames("othername: XmppAddr::b.test, othername: SRVName::_x.c.test"), [
      "b.test",
      "_x.c.test",
    ]);
  });

  it("cannot be smuggled in by a comma inside another name", () => {
    assert.deepEqual(alternativeNames('DNS:"evil.test, DNS:bank.test", DNS:a.test'), [
      "evil.test, dns:bank.test",
      "a.test",
    ]);
    assert.deepEqual(alternativeNames('URI:"http://x/?, DNS:bank.test", DNS:a.test'), ["a.test"]);
    assert.deepEqual(alternativeNames('DNS:"a\\", DNS:bank.test"'), ['a", dns:bank.test']);
  });

  it("take time that grows with their length alone", () => {
    // Half a minute once; mocha's time limit is the judge.
    const names = alternativeNames(`DNS:${"a,".repeat(200_000)}, DNS:b.test`);
    assert.equal(names.at(-1), "b.test");
  });
});
