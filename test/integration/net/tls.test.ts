import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from "node:tls";
import type { TlsContexts } from "../../../src/net/tls-contexts.ts";
import type { TlsServerOptions, Transport } from "../../../src/net/transport.ts";
import { systemClock } from "../../../src/util/clock.ts";
import {
  authority,
  Door,
  network,
  partInNoise,
  plainPair,
  Recorder,
  readAll,
  testCertificates,
  until,
} from "./support.ts";

describe("a TLS transport", () => {
  let certificates: TlsContexts;
  let server: TlsServerOptions;

  before(async () => {
    certificates = await testCertificates();
    server = { role: "server", certificates, requestCertificate: false, alpn: ["xmpp-client"] };
  });

  /** Our transport on the accepting side of direct TLS, Node's own client on the other. */
  async function directPair(
    options: ConnectionOptions = {},
    tls: TlsServerOptions = server,
  ): Promise<{ transport: Transport; reader: Recorder; socket: TLSSocket }> {
    const door = await Door.open({ tls });
    const socket = tlsConnect({
      port: door.listener.port,
      host: "127.0.0.1",
      servername: "a.test",
      ca: [authority.root],
      ...options,
    });
    const secure = once(socket, "secureConnect");
    const { transport, ready } = await door.next();
    const reader = new Recorder();
    transport.setReader(reader);
    await Promise.all([ready, secure]);
    await door.listener.close();
    return { transport, reader, socket };
  }

  it("shows the certificate of the host that was asked for by SNI", async () => {
    for (const [asked, shown] of [
      ["a.test", "a.test"],
      ["b.test", "b.test"],
      ["zz.test", "a.test"],
    ] as const) {
      const { transport, socket } = await directPair({ servername: asked, checkServerIdentity: () => undefined });
      assert.equal(socket.getPeerCertificate().subject.CN, shown);
      assert.equal(socket.authorized, true);
      assert.equal(transport.tls?.serverName, asked);
      transport.destroy();
      socket.destroy();
    }
  });

  it("agrees on protocols by ALPN and never on less than TLS 1.2", async () => {
    const { transport, socket } = await directPair({ ALPNProtocols: ["xmpp-client"] });
    assert.equal(socket.alpnProtocol, "xmpp-client");
    assert.equal(transport.tls?.alpn, "xmpp-client");
    assert.equal(transport.tls?.protocol, "TLSv1.3");
    transport.destroy();
    socket.destroy();
    const door = await Door.open({ tls: server });
    const old = tlsConnect({
      port: door.listener.port,
      minVersion: "TLSv1.1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
      rejectUnauthorized: false,
    });
    old.on("error", () => undefined);
    const { ready } = await door.next();
    await assert.rejects(ready, { code: "MORENDO_TLS_FAILED" });
    await door.listener.close();
  });

  it("derives the same channel binding on both ends with TLS 1.3, and none with TLS 1.2", async () => {
    const { transport, socket } = await directPair();
    assert.deepEqual(
      transport.tls?.exporter(),
      socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0)),
    );
    transport.destroy();
    socket.destroy();
    const older = await directPair({ maxVersion: "TLSv1.2" });
    assert.equal(older.transport.tls?.protocol, "TLSv1.2");
    assert.equal(older.transport.tls?.exporter(), undefined);
    older.transport.destroy();
    older.socket.destroy();
  });

  it("resumes no TLS sessions, whatever the client remembers", async () => {
    for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
      const first = await directPair({ maxVersion });
      let session: Buffer | undefined = first.socket.getSession();
      first.socket.on("session", (latest: Buffer) => {
        session = latest;
      });
      first.socket.resume();
      first.transport.end();
      await once(first.socket, "end");
      const second = await directPair({ maxVersion, ...(session === undefined ? {} : { session }) });
      assert.equal(second.socket.isSessionReused(), false);
      second.transport.destroy();
      second.socket.destroy();
    }
  });

  it("upgrades a plain connection on both sides, after what was written before", async () => {
    const door = await Door.open();
    const dialled = await network.dial({ host: "127.0.0.1", port: door.listener.port });
    const { transport: accepted } = await door.next();
    const [outer, inner] = [new Recorder(), new Recorder()];
    dialled.setReader(outer);
    accepted.setReader(inner);
    accepted.write("proceed ".repeat(100_000));
    const serverSide = accepted.startTls({ ...server, requestCertificate: true });
    assert.equal(accepted.handshaking, true);
    accepted.write("inside");
    await until(() => outer.bytes.length === 800_000);
    const clientSide = dialled.startTls({ role: "client", certificates, serverName: "b.test", localName: "a.test" });
    const [ours, theirs] = await Promise.all([serverSide, clientSide]);
    assert.equal(accepted.handshaking, false);
    assert.equal(theirs.chainTrusted, true);
    assert.deepEqual(theirs.peerNames, ["b.test"]);
    assert.equal(ours.chainTrusted, true);
    assert.deepEqual(ours.peerNames, ["a.test", "*.a.test", "a.test", "_xmpp-server.a.test"]);
    assert.deepEqual(ours.exporter(), theirs.exporter());
    await until(() => outer.bytes.length === 800_006);
    assert.ok(outer.text.endsWith("proceed inside"));
    dialled.write("both ways");
    dialled.end();
    await until(() => inner.calls.includes("end"));
    assert.equal(inner.text, "both ways");
    accepted.end();
    await until(() => inner.ends.length > 0 && outer.ends.length > 0);
    assert.deepEqual([inner.ends, outer.ends], [[{ orderly: true }], [{ orderly: true }]]);
    await door.listener.close();
  });

  it("tells an unknown root, and a peer without a certificate, apart from a trusted one", async () => {
    const { TestAuthority } = await import("../../support/certificates.ts");
    const stranger = TestAuthority.create("A stranger").issue(["c.test"]);
    const asking = { ...server, requestCertificate: true };
    const strange = await directPair({ cert: stranger.chain, key: stranger.key }, asking);
    assert.equal(strange.transport.tls?.chainTrusted, false);
    assert.match(strange.transport.tls?.chainError ?? "", /SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO/);
    assert.deepEqual(strange.transport.tls?.peerNames, ["c.test"]);
    const expired = authority.issue(["d.test"], { notAfter: new Date(Date.now() - 1_000) });
    const late = await directPair({ cert: expired.chain, key: expired.key }, asking);
    assert.equal(late.transport.tls?.chainTrusted, false);
    assert.equal(late.transport.tls?.chainError, "CERT_HAS_EXPIRED");
    const silent = await directPair({}, asking);
    assert.equal(silent.transport.tls?.chainTrusted, false);
    assert.equal(silent.transport.tls?.chainError, undefined);
    assert.deepEqual(silent.transport.tls?.peerNames, []);
    for (const { transport, socket } of [strange, late, silent]) {
      transport.destroy();
      socket.destroy();
    }
  });

  it("keeps data that came with the end of the handshake for those who awaited it", async () => {
    const door = await Door.open({ tls: server });
    const socket = tlsConnect({
      port: door.listener.port,
      host: "127.0.0.1",
      ca: [authority.root],
      servername: "a.test",
    });
    socket.write("first");
    const { transport, ready } = await door.next();
    const [before, after] = [new Recorder(), new Recorder()];
    transport.setReader(before);
    await ready;
    await Promise.resolve();
    transport.setReader(after);
    await until(() => after.text === "first");
    assert.equal(before.text, "");
    transport.destroy();
    socket.destroy();
    await door.listener.close();
  });

  it("goes on reading after its own end, and lets a peer that never stops sending read everything", async () => {
    const pair = await directPair({});
    // Node's client would close at once when we do, unless it may stay half open.
    pair.socket.allowHalfOpen = true;
    await partInNoise(pair);
  });

  it("ends in order when the peer's side ends first", async () => {
    const { transport, reader, socket } = await directPair();
    socket.allowHalfOpen = true;
    const received = readAll(socket);
    socket.end("question");
    await until(() => reader.calls.includes("end"));
    transport.write("answer");
    transport.end();
    assert.equal((await received).toString(), "answer");
    await until(() => reader.ends.length > 0);
    assert.deepEqual(reader.calls, ["data", "end", "close"]);
    assert.deepEqual(reader.ends, [{ orderly: true }]);
  });

  it("sends what was written during the handshake, and ends after it when told to", async () => {
    const door = await Door.open({ tls: server });
    const socket = tlsConnect({
      port: door.listener.port,
      host: "127.0.0.1",
      ca: [authority.root],
      servername: "a.test",
    });
    const { transport } = await door.next();
    transport.setReader(new Recorder());
    transport.write("going down");
    transport.end();
    assert.equal((await readAll(socket)).toString(), "going down");
    await door.listener.close();
  });

  describe("whose handshake fails", () => {
    const failing = async (misbehave: (socket: Socket) => void): Promise<Recorder> => {
      const door = await Door.open({ tls: server });
      const socket = connect({ port: door.listener.port, host: "127.0.0.1", allowHalfOpen: true });
      socket.on("error", () => undefined).resume();
      const { transport, ready } = await door.next();
      const reader = new Recorder();
      transport.setReader(reader);
      misbehave(socket);
      await assert.rejects(ready, { code: "MORENDO_TLS_FAILED" });
      await until(() => reader.ends.length > 0);
      await systemClock.turn();
      assert.deepEqual(reader.calls, ["close"]);
      assert.equal(reader.ends[0]?.orderly, false);
      assert.equal(transport.tls, undefined);
      assert.equal(transport.handshaking, false);
      socket.destroy();
      await door.listener.close();
      return reader;
    };

    it("by garbage is closed once, with the reason", async () => {
      const reader = await failing((socket) => void socket.write("<stream:stream>".repeat(100)));
      assert.match(reader.ends[0]?.error?.message ?? "", /wrong version|http request|packet length|unexpected/i);
    });

    it("by a close in the middle is closed too", async () => {
      await failing((socket) => void socket.end(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])));
    });

    it("by a reset in the middle is closed too", async () => {
      await failing((socket) => {
        socket.write(Buffer.from([0x16, 0x03, 0x01]), () => socket.resetAndDestroy());
      });
    });

    it("by never going on is closed when it is destroyed", async () => {
      const door = await Door.open({ tls: server });
      const socket = connect({ port: door.listener.port, host: "127.0.0.1" });
      socket.on("error", () => undefined);
      const { transport, ready } = await door.next();
      const reader = new Recorder();
      transport.setReader(reader);
      assert.equal(transport.handshaking, true);
      transport.destroy(new Error("too slow"));
      await assert.rejects(ready, /too slow/);
      await until(() => reader.ends.length > 0);
      assert.equal(reader.ends[0]?.error?.message, "too slow");
      socket.destroy();
      await door.listener.close();
    });

    it("harms nobody who does not wait for it", async () => {
      const { transport, reader, socket } = await plainPair();
      transport.startTls(server).catch(() => undefined);
      await assert.rejects(transport.startTls(server), { code: "MORENDO_TLS_STATE" });
      socket.write("not TLS");
      socket.on("error", () => undefined).resume();
      await until(() => reader.ends.length > 0);
      await assert.rejects(transport.startTls(server), { code: "MORENDO_TLS_CLOSED" });
      socket.destroy();
    });

    it("when the dialling side is answered in plain text is closed too", async () => {
      const door = await Door.open();
      const dialled = await network.dial({ host: "127.0.0.1", port: door.listener.port });
      const { transport } = await door.next();
      transport.write("HTTP/1.1 400 Bad Request\r\n\r\n");
      const reader = new Recorder();
      dialled.setReader(reader);
      const options = { role: "client", certificates, serverName: "a.test", localName: undefined } as const;
      await assert.rejects(dialled.startTls(options), { code: "MORENDO_TLS_FAILED" });
      await until(() => reader.ends.length > 0);
      transport.destroy();
      await door.listener.close();
    });
  });
});
