import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { makeContext } from "../../../src/net/tls-contexts.ts";
import { RawClient } from "../../../src/testing/raw-client.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { waitUntil } from "../../support/wire.ts";

describe("a raw client", () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ c2s: { max_unread: "256KiB", stall_timeout: "20s" } });
  });
  afterEach(() => server.dispose());

  it("stops reading, so that the server feels it, and goes on", async () => {
    const [reader, writer] = [await server.login("romeo", "1"), await server.login("juliet", "1")];
    reader.stopReading();
    const count = 300;
    const body = "x".repeat(16_384);
    for (let n = 0; n < count; n++)
      writer.send(`<message to='${reader.jid}' id='m${n}'><body>${body}</body></message>`);
    await waitUntil(
      () => writer.unsent > 0 && reader.received.every(({ xml }) => !xml.includes("m299")),
      "back-pressure",
    );
    const before = reader.received.length;
    for (let turn = 0; turn < 50; turn++) await systemClock.turn();
    assert.equal(reader.received.length, before);
    reader.goOn();
    await reader.waitFor((xml) => xml.includes("id='m299'") || xml.includes('id="m299"'));
    assert.equal(writer.unsent, 0);
  });

  it("ends its side without a word and still hears what the server says", async () => {
    const client = await server.login("romeo", "1");
    client.halfClose();
    const ending = await client.ended;
    assert.deepEqual([ending.closingTag, ending.how], [true, "fin"]);
  });

  it("resets, which the server sees as a broken connection", async () => {
    const client = await server.login("romeo", "1");
    client.reset();
    const ending = await client.ended;
    assert.equal(ending.how, "local");
    await waitUntil(() => server.status.connections === 0, "the connection to be gone");
  });

  it("sends garbage, and is told what the server thinks of it", async () => {
    const client = await server.login("romeo", "1");
    client.send("<<<\u0000");
    const ending = await client.ended;
    assert.deepEqual([ending.streamError, ending.closingTag], ["not-well-formed", true]);
  });

  it("looks at the certificate when told to", async () => {
    const options = { username: "romeo", verify: true };
    await assert.rejects(server.login("romeo", "1", options), /not valid for a\.test: DEPTH_ZERO_SELF_SIGNED_CERT/);
    const root = await readFile(join(server.data, "certificates", "a.test.crt"), "utf8");
    const key = await readFile(join(server.data, "certificates", "a.test.key"), "utf8");
    const context = makeContext(root, key, [root]);
    const client = await server.login("romeo", "1", { ...options, certificates: { contextFor: () => context } });
    assert.equal(client.tls?.chainTrusted, true);
  });

  it("fails a wait when the connection ends, and when the time is over", async () => {
    const client = await server.login("romeo", "1");
    await assert.rejects(
      client.waitFor(() => false, { timeoutMs: 10 }),
      /waited 10 ms in vain: romeo@a\.test\/1/,
    );
    const waiting = assert.rejects(
      client.waitFor((xml) => xml.startsWith("<nothing")),
      /the connection ended while waiting/,
    );
    client.destroy();
    await waiting;
    await assert.rejects(RawClient.login({ host: "127.0.0.1", port: 1, domain: "a.test" }), /ECONNREFUSED/);
  });
});
