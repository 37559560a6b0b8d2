import assert from "node:assert/strict";
import { connect } from "node:net";
import { PASSWORD, startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { jid } from "../../support/stanzas.ts";

describe("client login", () => {
  let running: TestServer;

  before(async () => {
    running = await startServer({ hosts: [{ name: "a.test" }, { name: "b.test" }] });
  });

  after(() => running.dispose());

  for (const security of ["starttls", "direct"] as const) {
    for (const mechanism of [
      "PLAIN",
      "SCRAM-SHA-1",
      "SCRAM-SHA-256",
      "SCRAM-SHA-1-PLUS",
      "SCRAM-SHA-256-PLUS",
    ] as const) {
      it(`works with ${mechanism} over ${security}`, async () => {
        const client = await running.login("romeo", `x-${mechanism}`, { security, mechanism });
        assert.equal(client.jid, `romeo@a.test/x-${mechanism}`);
        const ending = await client.close();
        assert.deepEqual([ending.closingTag, ending.how], [true, "fin"]);
      });
    }
  }

  it("is refused with a wrong password, and the connection ends after the third time", async () => {
    const client = running.client({ username: "romeo", password: "wrong" });
    await client.connect();
    await client.startTls();
    await client.open();
    for (let attempt = 1; attempt <= 3; attempt++) {
      const since = client.received.length;
      const nothing = Buffer.from("\0romeo\0wrong").toString("base64");
      client.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${nothing}</auth>`);
      await client.waitFor((xml) => xml.includes("<not-authorized"), { since });
    }
    const ending = await client.ended;
    assert.deepEqual([ending.streamError, ending.closingTag, ending.how], ["policy-violation", true, "fin"]);
  });

  it("lets a client in that has to try until it finds a channel binding that both sides know", async () => {
    const client = running.client({ username: "romeo" });
    await client.connect();
    await client.startTls();
    await client.open();
    // As slixmpp does: a binding that TLS 1.3 does not have, and then none although there is one.
    for (const header of ["p=tls-unique,,", "y,,", "p=tls-unique,,", "y,,"]) {
      const since = client.received.length;
      const plus = header.startsWith("p") ? "-PLUS" : "";
      const first = Buffer.from(`${header}n=romeo,r=0123456789`).toString("base64");
      client.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256${plus}'>${first}</auth>`);
      await client.waitFor((xml) => xml.startsWith("<failure"), { since });
    }
    const plain = Buffer.from(`\0romeo\0${PASSWORD}`).toString("base64");
    client.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`);
    await client.waitFor((xml) => xml.startsWith("<success"));
  });

  it("offers nothing but STARTTLS without TLS, and refuses a password there", async () => {
    const client = running.client({ security: "none", username: "romeo" });
    await client.connect();
    const features = await client.open();
    assert.match(features, /<starttls[^>]*><required\/>/);
    assert.doesNotMatch(features, /mechanism/);
    client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHIAcA==</auth>");
    await client.waitFor((xml) => xml.includes("<encryption-required"));
  });

  it("refuses a mechanism that it did not offer", async () => {
    const client = running.client({ username: "romeo" });
    await client.connect();
    await client.startTls();
    await client.open();
    for (const mechanism of ["mechanism='DIGEST-MD5'", ""]) {
      client.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' ${mechanism}/>`);
      await client.waitFor((xml) => xml.includes("<invalid-mechanism"));
    }
  });

  it("ends a session whose resource is bound anew, and tells it why", async () => {
    const first = await running.login("romeo", "same");
    const second = await running.login("romeo", "same");
    const ending = await first.ended;
    assert.deepEqual([ending.streamError, ending.closingTag, ending.how], ["conflict", true, "fin"]);
    assert.equal(second.jid, "romeo@a.test/same");
    second.send("<iq type='get' id='p' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>");
    await second.waitFor((xml) => xml.includes("result"));
  });

  it("does not outlast its account: sessions end, contacts are told, and nothing can be bound", async () => {
    await running.server.accounts.create(jid("mercutio@a.test"), PASSWORD);
    const session = await running.login("mercutio", "session");
    const between = running.client({ username: "mercutio", resource: "between", security: "direct" });
    await between.connect();
    await between.authenticate();
    const friend = await running.login("romeo", "friend");
    session.presence("<presence to='romeo@a.test/friend'/>");
    await friend.waitFor((xml) => xml.startsWith("<presence"));
    await running.server.accounts.remove(jid("mercutio@a.test"));
    await friend.waitFor((xml) => xml.includes('type="unavailable"'));
    const ending = await session.ended;
    assert.deepEqual([ending.streamError, ending.closingTag, ending.how], ["not-authorized", true, "fin"]);
    await assert.rejects(between.bind(), /not-allowed/);
    await friend.close();
  });

  it("makes up a resource when the client names none", async () => {
    const client = running.client({ username: "romeo" });
    await client.connect();
    await client.startTls();
    await client.authenticate();
    client.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    const bound = await client.waitFor((xml) => xml.includes("<jid>"));
    assert.match(bound.xml, /<jid>romeo@a\.test\/.{20,}<\/jid>/);
  });

  it("knows each host by its own name", async () => {
    const client = running.client({ domain: "c.test" });
    await client.connect();
    client.send(
      "<stream:stream to='c.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    );
    assert.equal((await client.ended).streamError, "host-unknown");
    const other = running.client({ domain: "b.test" });
    await other.connect();
    await other.startTls();
    await other.open();
    assert.match(other.received[0]?.xml ?? "", /from=["']b\.test["']/);
  });

  it("knows an international host in either spelling, by SNI and by header", async () => {
    const international = await startServer({ hosts: [{ name: "a.test" }, { name: "xn--bcher-kva.example" }] });
    try {
      const client = international.client({ domain: "xn--bcher-kva.example" });
      await client.connect();
      await client.startTls();
      await client.open();
      assert.match(client.received[0]?.xml ?? "", /from=["']bücher\.example["']/);
      assert.deepEqual(client.tls?.peerNames, ["xn--bcher-kva.example"]);
    } finally {
      await international.dispose();
    }
  });

  it("refuses stanzas before there is a resource", async () => {
    const client = running.client({ username: "romeo" });
    await client.connect();
    await client.startTls();
    await client.authenticate();
    client.send("<message to='juliet@a.test'><body>early</body></message>");
    assert.equal((await client.ended).streamError, "not-authorized");
  });

  it("ends a stream that claims another sender", async () => {
    const client = await running.login("romeo", "liar");
    client.send("<message from='juliet@a.test/x' to='romeo@a.test'><body>no</body></message>");
    assert.equal((await client.ended).streamError, "invalid-from");
  });

  it("answers an HTTP request with a stream error and an orderly close", async () => {
    const socket = connect(running.ports.c2s, "127.0.0.1");
    let answer = "";
    socket.setEncoding("utf8").on("data", (text: string) => {
      answer += text;
    });
    socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    const hadError = await new Promise((resolve) => socket.on("end", () => socket.end()).on("close", resolve));
    assert.match(answer, /<stream:error>.*<\/stream:stream>$/s);
    assert.equal(hadError, false);
  });

  it("limits how many connections come from one address", async () => {
    const small = await startServer({ c2s: { max_connections_per_address: 1 } });
    try {
      await small.login("romeo", "1");
      const second = small.client({ security: "none" });
      await second.connect();
      const ending = await second.ended;
      assert.deepEqual([ending.streamError, ending.closingTag], ["policy-violation", true]);
    } finally {
      await small.dispose();
    }
  });
});
