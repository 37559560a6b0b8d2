import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { createServer } from "node:net";
import { type AttachOptions, attachToNodeXmppServer, MorendoError } from "../../../src/adapters/node-xmpp-server.ts";
import { silentLog } from "../../../src/util/log.ts";

/** As much of a node-xmpp-server server as counts before there are sessions. */
class FakeServer extends EventEmitter {
  readonly connections = new Set<FakeSession>();
}

class FakeSession extends EventEmitter {
  authenticated = true;
  jid = "someone@host.example/x";
  connection = new FakeConnection();
}

class FakeConnection extends EventEmitter {
  socket = new FakeSocket();
  parser = new EventEmitter();
  streamOpened = true;
  streamAttrs: Record<string, unknown> = {};
  sent: string[] = [];
  openStream(): void {
    this.sent.push("<stream:stream>");
    this.streamOpened = true;
  }
  closeStream(): void {
    this.sent.push("</stream:stream>");
    this.streamOpened = false;
  }
  send(text: string): void {
    this.sent.push(text);
  }
}

class FakeSocket extends EventEmitter {
  writable = true;
  destroyed = false;
  end(): void {
    this.writable = false;
  }
  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
}

class FakeRouter extends EventEmitter {
  ctxs = {};
  sent: unknown[] = [];
  send(stanza: unknown): void {
    this.sent.push(stanza);
  }
}

function attach(options: AttachOptions) {
  return attachToNodeXmppServer({ log: silentLog, watchdog: false, clientTimeout: 50, ...options });
}

describe("attachToNodeXmppServer", () => {
  it("says what is wrong with an object that is no host", () => {
    const rows: readonly (readonly [unknown, RegExp])[] = [
      [undefined, /expected an object of options/],
      [{}, /neither a server nor a router/],
      [{ server: 5 }, /^server: expected a C2S or component server .* has not an object$/],
      [{ server: {} }, /has not a method `on`$/],
      [{ server: new EventEmitter() }, /has not a Set `connections`$/],
      [{ server: [new FakeServer(), createServer()] }, /^server\[1\]: .*a Set `connections`$/],
      [
        { server: new FakeServer(), net: new EventEmitter() },
        /^net: expected a net.Server, but it has not a method `close`$/,
      ],
      [{ router: new FakeServer() }, /^router: expected a Router .*a method `send`$/],
      [{ router: Object.assign(new EventEmitter(), { send: () => undefined }) }, /an object `ctxs`$/],
    ];
    for (const [options, message] of rows) {
      assert.throws(
        () => attachToNodeXmppServer(options as AttachOptions),
        (thrown) => thrown instanceof MorendoError && message.test(thrown.message),
        String(message),
      );
    }
  });

  it("says which option makes no sense", () => {
    const server = new FakeServer();
    for (const [name, options] of Object.entries({
      deadline: { deadline: "1s" },
      hurry: { hurry: "soon" },
      clientTimeout: { clientTimeout: -1 },
      pause: { pause: Number.NaN },
      batch: { batch: 0 },
    })) {
      assert.throws(() => attach({ server, ...options }), {
        code: "MORENDO_BAD_OPTION",
        message: new RegExp(`^${name}: `),
      });
    }
    assert.equal(server.eventNames().length, 0, "nothing is attached");
  });

  it("leaves nothing on the host's objects when it is detached", async () => {
    const server = new FakeServer();
    const session = new FakeSession();
    server.connections.add(session);
    const router = new FakeRouter();
    const before = process.eventNames();
    const host = attach({ server, router, signals: true });
    assert.ok(server.listenerCount("connection") === 1 && session.listenerCount("error") === 1);
    assert.ok(process.listenerCount("SIGTERM") > 0);
    host.detach();
    for (const emitter of [server, session, session.connection, router]) assert.deepEqual(emitter.eventNames(), []);
    assert.deepEqual(process.eventNames(), before);
    assert.equal(Object.hasOwn(router, "send"), false);
  });

  it("ends a session once, however often it is asked, and waits for its answer", async () => {
    const server = new FakeServer();
    const session = new FakeSession();
    server.connections.add(session);
    const { connection } = session;
    const host = attach({ server, clientTimeout: "5s" });
    const stop = host.stop({ reason: "tea" });
    assert.equal(host.stop(), stop);
    while (connection.sent.length < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.match(
      connection.sent[0] ?? "",
      /^<stream:error><system-shutdown [^>]*\/><text [^>]*>tea<\/text><\/stream:error>$/,
    );
    assert.equal(connection.sent[1], "</stream:stream>");
    assert.equal(connection.socket.writable, true, "the socket stays open for the answer");
    connection.parser.emit("end");
    connection.socket.emit("close");
    const report = await stop;
    assert.deepEqual(report.sections.sessions, { answered: 1, unanswered: 0, cut: 0, named: [] });
    assert.equal(connection.sent.length, 2);
  });

  it("goes on when a session of the host throws", async () => {
    const server = new FakeServer();
    const broken = new FakeSession();
    broken.connection.send = () => {
      throw new Error("no such thing");
    };
    const whole = new FakeSession();
    whole.connection.closeStream = () => whole.connection.socket.destroy();
    for (const each of [broken, whole]) server.connections.add(each);
    const report = await attach({ server }).stop();
    assert.deepEqual(report.sections.sessions, {
      answered: 0,
      unanswered: 1,
      cut: 1,
      named: ["someone@host.example/x", "someone@host.example/x"],
    });
    assert.equal(broken.connection.socket.destroyed, true);
    assert.equal(report.outcome, "clean");
  });

  it("tells a session that comes while it stops", async () => {
    const server = new FakeServer();
    const host = attach({ server });
    let late: FakeSession | undefined;
    host.on("server-stopping", () => {
      late = new FakeSession();
      server.emit("connection", late);
    });
    await host.stop();
    assert.equal(late?.connection.sent.at(-1), "</stream:stream>");
  });

  it("records an owner's listener that fails, by its name, and does not stop for it", async () => {
    const host = attach({ server: new FakeServer() });
    host.on("server-stopping", async function flushDatabase(event) {
      event.waitUntil(Promise.reject(new Error("disk full")));
    });
    let wasTold = false;
    host.on("server-stopping", () => {
      wasTold = true;
    });
    const report = await host.stop();
    assert.equal(wasTold, true);
    const stopping = report.phases.find(({ name }) => name === "server-stopping");
    const [first] = stopping?.participants ?? [];
    assert.equal(first?.name, "flushDatabase");
    assert.match(first?.error ?? "", /disk full/);
    assert.equal(report.outcome, "incomplete");
  });

  it("dials nobody once the streams are closed: what is sent then is named as lost", async () => {
    const router = new FakeRouter();
    const host = attach({ router });
    const stanza = { name: "message", attrs: { from: "a@host.example", to: "b@far.example/x", id: "9" } };
    host.lifecycle.on("report", () => {
      router.send(stanza);
    });
    host.lifecycle.attach("quit", { name: "late", when: "after", run: () => router.send(stanza) });
    const report = await host.stop();
    assert.deepEqual(router.sent, []);
    assert.deepEqual(report.obligations.destinations[0]?.lostNames, ["message a@host.example -> b@far.example/x id=9"]);
  });
});
