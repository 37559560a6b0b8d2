// What clients see when the server goes down, on real sockets. The same with real peers is in test/interop.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { ClosedSessions } from "../../../src/server/c2s/closing-sessions.ts";
import type { RawClient } from "../../../src/testing/raw-client.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";

/** Collects everything a plain socket receives and how it ended. */
async function watch(socket: Socket): Promise<{ text: string; reset: boolean }> {
  let text = "";
  let reset = false;
  socket.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
  });
  socket.on("error", () => {
    reset = true;
  });
  socket.on("end", () => socket.end());
  await new Promise((resolve) => socket.on("close", resolve));
  return { text, reset };
}

describe("clients at a shutdown", () => {
  let running: TestServer;

  beforeEach(async () => {
    running = await startServer();
  });

  afterEach(() => running.dispose());

  it("get system-shutdown with the reason, the closing tag and an orderly close", async () => {
    const clients = [await running.login("romeo", "1"), await running.login("juliet", "1", { security: "direct" })];
    const report = await running.stop("moving house");
    for (const client of clients) {
      const { streamError, closingTag, how } = await client.ended;
      assert.deepEqual([streamError, closingTag, how], ["system-shutdown", true, "fin"]);
      assert.ok(client.received.some(({ xml }) => xml.includes("moving house")));
    }
    assert.equal(report.exitCode, 0);
    assert.equal((report.sections.sessions as ClosedSessions).answered, 2);
  });

  it("have what they had already sent handled, also when it is still on its way", async () => {
    const sender = await running.login("romeo", "1");
    const count = 500;
    for (let index = 0; index < count; index++) {
      sender.send(`<message to='juliet@a.test' type='chat' id='m${index}'><body>${index}</body></message>`);
    }
    // Offline storage takes a hundred; the rest comes back to the sender, or is named once it has gone.
    const report = await running.stop();
    assert.equal((await sender.ended).how, "fin");
    const returned = sender.received.filter(({ xml }) => xml.includes("service-unavailable")).length;
    assert.equal(returned + report.obligations.run.lost + report.obligations.running.lost, count - 100);
  });

  it("are told when they have not logged in: plain, in the middle of STARTTLS and in the middle of SASL", async () => {
    const silent = connect(running.ports.c2s, "127.0.0.1");
    await once(silent, "connect");
    const silentEnd = watch(silent);

    const proceeding = connect(running.ports.c2s, "127.0.0.1");
    proceeding.write(
      "<stream:stream to='a.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" +
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    );
    const proceedingEnd = watch(proceeding);

    const midSasl = running.client({ username: "romeo" });
    await midSasl.connect();
    await midSasl.startTls();
    await midSasl.open();
    const first = Buffer.from("n,,n=romeo,r=abcdefgh").toString("base64");
    midSasl.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>${first}</auth>`);
    await midSasl.waitFor((xml) => xml.startsWith("<challenge"));

    const midTls = connect(running.ports.c2sTls, "127.0.0.1");
    await once(midTls, "connect");
    const midTlsEnd = watch(midTls);

    await running.stop();
    const { text, reset } = await silentEnd;
    assert.match(text, /^<\?xml.*<stream:stream .*<system-shutdown .*<\/stream:stream>$/s);
    assert.equal(reset, false);
    const { streamError, closingTag, how } = await midSasl.ended;
    assert.deepEqual([streamError, closingTag, how], ["system-shutdown", true, "fin"]);
    // Nobody can be told anything inside a TLS session that does not come about; closing must be in order all the same.
    assert.equal((await proceedingEnd).reset, false);
    assert.equal((await midTlsEnd).reset, false);
  });

  it("do not hold up the shutdown when one of them never closes", async () => {
    const silent = await running.login("romeo", "1", { answerClose: false });
    const polite = await running.login("juliet", "1");
    silent.stopReading();
    const report = await running.stop();
    assert.equal((await polite.ended).how, "fin");
    assert.deepEqual((report.sections.sessions as ClosedSessions).named, ["romeo@a.test/1"]);
  });

  it("are told in the accept backlog, too", async () => {
    const port = running.ports.c2s;
    const sockets = Array.from({ length: 40 }, () => connect(port, "127.0.0.1"));
    const endings = sockets.map(watch);
    // The connections are complete in the kernel, but no turn of the event loop has accepted one.
    const stopped = running.stop();
    for (const { text, reset } of await Promise.all(endings)) {
      assert.equal(reset, false);
      assert.match(text, /<system-shutdown .*<\/stream:stream>$/s);
    }
    await stopped;
  });

  it("are told unavailable of each other, those that are still there", async () => {
    const watcher = await running.login("romeo", "watcher");
    const other = await running.login("romeo", "other");
    watcher.presence();
    await watcher.waitFor((xml) => xml.includes("romeo@a.test/watcher"));
    other.presence();
    await watcher.waitFor((xml) => xml.includes("romeo@a.test/other"));
    await other.close();
    await watcher.waitFor((xml) => /type=["']unavailable/.test(xml) && xml.includes("romeo@a.test/other"));
  });
});

describe("many clients at a shutdown", () => {
  it("are swept without holding the event loop for long", async () => {
    const accounts = Array.from({ length: 50 }, (_, index) => `user${index}`);
    const running = await startServer({ c2s: { max_resources: 50 } }, { accounts });
    const clients: RawClient[] = [];
    try {
      for (const account of accounts) {
        for (let resource = 0; resource < 4; resource++) {
          const client = await running.login(account, String(resource), { mechanism: "PLAIN" });
          client.presence();
          clients.push(client);
        }
      }
      const report = await running.stop();
      assert.equal(report.exitCode, 0);
      for (const client of clients) {
        const { streamError, closingTag, how } = await client.ended;
        assert.deepEqual([streamError, closingTag, how], ["system-shutdown", true, "fin"]);
      }
    } finally {
      await running.dispose();
    }
  }).timeout(120_000);
});
