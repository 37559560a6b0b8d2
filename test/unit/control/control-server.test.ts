import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { type ControlClient, connectControl } from "../../../src/control/control-client.ts";
import { ControlServer, type ControlServerOptions } from "../../../src/control/control-server.ts";
import { MAX_REQUEST_LENGTH } from "../../../src/control/protocol.ts";
import { change, failed, noArguments, type Operation, read } from "../../../src/operations/operation.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { MorendoError } from "../../../src/util/errors.ts";
import { silentLog } from "../../../src/util/log.ts";
import { skip } from "../../support/skip.ts";

describe("ControlServer", () => {
  let folder: string;
  let path: string;
  const servers: ControlServer[] = [];
  const clients: ControlClient[] = [];
  const sockets: Socket[] = [];
  const waiting: (() => void)[] = [];

  const table: Readonly<Record<string, Operation>> = {
    status: read(noArguments, () => ({ pid: 4711 })),
    add: read(z.strictObject({ a: z.number(), b: z.number() }), ({ a, b }) => a + b),
    fail: change(noArguments, () => {
      throw new MorendoError("MORENDO_TEST", "on purpose");
    }),
    wait: change(noArguments, async (_args, call) => {
      call.emit("waiting", { for: "release" });
      await new Promise<void>((resolve) => waiting.push(resolve));
      return "released";
    }),
  };

  /** As `Operations` does it: its own tests are in test/unit/operations. */
  const performing = (operations = table): ControlServerOptions["operations"] => ({
    perform: async (name, args, call) =>
      (Object.hasOwn(operations, name) ? await operations[name]?.run(args, call) : undefined) ??
      failed("MORENDO_UNKNOWN_ACTION", `there is no action "${name}"`),
  });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "morendo-control-"));
    path = join(folder, "c.sock");
  });
  afterEach(async () => {
    for (const release of waiting.splice(0)) release();
    for (const client of clients.splice(0)) client.close();
    for (const socket of sockets.splice(0)) socket.destroy();
    for (const server of servers.splice(0)) await server.close(50);
    rmSync(folder, { recursive: true });
  });

  async function started(at = path, clock = systemClock): Promise<ControlServer> {
    const server = new ControlServer({ path: at, operations: performing(), clock, log: silentLog });
    servers.push(server);
    await server.start();
    return server;
  }

  async function client(): Promise<ControlClient> {
    const connected = await connectControl({ path, clock: systemClock, timeoutMs: 10_000 });
    clients.push(connected);
    return connected;
  }

  /** Writes raw text and returns everything that comes back until the server closes or `lines` lines came. */
  async function raw(text: string, lines = 1): Promise<string[]> {
    const socket = connect(path);
    sockets.push(socket);
    socket.write(text);
    let received = "";
    for await (const chunk of socket) {
      received += String(chunk);
      if (received.split("\n").length > lines) break;
    }
    return received.split("\n").slice(0, -1);
  }

  const code = (expected: string) => (thrown: unknown) => thrown instanceof MorendoError && thrown.code === expected;

  it("answers a request with the action's result", async () => {
    await started();
    assert.equal(await (await client()).request("add", { a: 2, b: 3 }), 5);
  });

  it("is open to its owner only", async () => {
    await started();
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it("lets a successor take its place without a moment in which nobody answers", async () => {
    const predecessor = await started();
    const connected = await client();
    const pending = connected.request("wait");
    const successor = new ControlServer({
      path,
      operations: performing({ ...table, status: read(noArguments, () => ({ pid: 4712 })) }),
      clock: systemClock,
      log: silentLog,
    });
    servers.push(successor);
    await successor.prepare();
    assert.deepEqual(await (await client()).request("status"), { pid: 4711 });
    await successor.publish();
    assert.deepEqual(await (await client()).request("status"), { pid: 4712 });
    assert.deepEqual(await connected.request("status"), { pid: 4711 }, "who was connected stays so");
    const closed = predecessor.close(10_000);
    for (const release of waiting.splice(0)) release();
    assert.equal(await pending, "released");
    await closed;
    assert.deepEqual(await (await client()).request("status"), { pid: 4712 });
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it("with a successor keeps the path until the successor has it", async () => {
    const predecessor = await started();
    const successor = new ControlServer({ path, operations: performing(), clock: systemClock, log: silentLog });
    servers.push(successor);
    await successor.prepare();
    const closed = predecessor.close(1_000, { hasSuccessor: true });
    for (let round = 0; round < 5; round++) {
      assert.deepEqual(await (await client()).request("status"), { pid: 4711 });
    }
    await successor.publish();
    await closed;
    assert.deepEqual(await (await client()).request("status"), { pid: 4711 });
  });

  it("answers a request that comes while it closes on a connection that had asked nothing", async () => {
    const server = await started();
    const connected = await client();
    const closed = server.close();
    assert.deepEqual(await connected.request("status"), { pid: 4711 });
    await closed;
  });

  it("leaves the predecessor's socket alone when it is closed before it was published", async () => {
    await started();
    const successor = new ControlServer({ path, operations: performing(), clock: systemClock, log: silentLog });
    await successor.prepare();
    await successor.close();
    assert.deepEqual(await (await client()).request("status"), { pid: 4711 });
    assert.deepEqual(readdirSync(folder), ["c.sock"]);
  });

  it("hands on what an action throws, with its code", async () => {
    await started();
    await assert.rejects((await client()).request("fail"), code("MORENDO_TEST"));
  });

  it("passes on that an operation is unknown, also one that every object has", async () => {
    await started();
    const connected = await client();
    await assert.rejects(connected.request("destroy"), /no action "destroy"/);
    await assert.rejects(connected.request("constructor"), code("MORENDO_UNKNOWN_ACTION"));
    await assert.rejects(connected.request("__proto__"), code("MORENDO_UNKNOWN_ACTION"));
  });

  it("refuses arguments of the wrong shape and names them", async () => {
    await started();
    const connected = await client();
    await assert.rejects(connected.request("add", { a: 1 }), /b: /);
    await assert.rejects(connected.request("add", { a: 1, b: 2, c: 3 }), code("MORENDO_BAD_ARGUMENTS"));
    await assert.rejects(connected.request("status", { x: 1 }), code("MORENDO_BAD_ARGUMENTS"));
  });

  it("answers lines that are no requests, and goes on", async () => {
    await started();
    const answers = await raw('nonsense\n[1]\n{"id":"x","action":"status"}\n{"id":1}\n{"id":2,"action":"status"}\n', 5);
    const codes = answers.map((line) => (JSON.parse(line) as { error?: { code: string } }).error?.code ?? "ok");
    assert.deepEqual(codes, [...Array(4).fill("MORENDO_BAD_REQUEST"), "ok"]);
  });

  it("closes after a line that is too long", async () => {
    await started();
    const answers = await raw("x".repeat(MAX_REQUEST_LENGTH + 1), 2);
    assert.equal(answers.length, 1);
    assert.match(answers[0] ?? "", /MORENDO_BAD_REQUEST/);
  });

  it("takes requests in pieces of one byte and several at once", async () => {
    await started();
    const socket = connect(path);
    sockets.push(socket);
    for (const byte of Buffer.from('{"id":1,"action":"status"}\n{"id":2,"action":"status"}\n')) {
      socket.write(Buffer.of(byte));
    }
    let received = "";
    while (received.split("\n").length < 3) {
      const [chunk] = (await once(socket, "data")) as [Buffer];
      received += String(chunk);
    }
    assert.match(received, /"id":1.*\n.*"id":2/);
  });

  it("sends events before the response and answers other requests meanwhile", async () => {
    await started();
    const connected = await client();
    const events: unknown[] = [];
    let told: () => void = () => undefined;
    const hasBegun = new Promise<void>((resolve) => {
      told = resolve;
    });
    const result = connected.request("wait", {}, (event, data) => {
      events.push([event, data]);
      told();
    });
    await hasBegun;
    assert.deepEqual(await connected.request("status"), { pid: 4711 });
    waiting.shift()?.();
    assert.equal(await result, "released");
    assert.deepEqual(events, [["waiting", { for: "release" }]]);
  });

  it("bounds the requests of one connection", async () => {
    await started();
    const connected = await client();
    const begun = Array.from({ length: 8 }, () => connected.request("wait"));
    await assert.rejects(connected.request("status"), code("MORENDO_BUSY"));
    for (const release of waiting.splice(0)) release();
    assert.equal((await Promise.all(begun)).length, 8);
    assert.deepEqual(await connected.request("status"), { pid: 4711 });
  });

  it("closes a connection on which nothing is asked", async () => {
    const clock = new ManualClock();
    await started(path, clock);
    const socket = connect(path);
    sockets.push(socket);
    socket.write('{"id":1,"action":"status"}\n');
    await once(socket, "data");
    await clock.advance(29_000);
    assert.equal(socket.readableEnded, false);
    const ended = once(socket, "end");
    await clock.advance(2_000);
    await ended;
  });

  it("ends the requests under way before it closes, and removes the socket", async () => {
    const server = await started();
    const connected = await client();
    let told: () => void = () => undefined;
    const hasBegun = new Promise<void>((resolve) => {
      told = resolve;
    });
    const result = connected.request("wait", {}, () => told());
    await hasBegun;
    const closed = server.close(10_000);
    waiting.shift()?.();
    assert.equal(await result, "released");
    await closed;
    assert.throws(() => statSync(path), /ENOENT/);
    await assert.rejects(connectControl({ path, clock: systemClock }), code("MORENDO_NOT_RUNNING"));
  });

  it("does not wait for ever for a request that does not end", async () => {
    const server = await started();
    const connected = await client();
    const lost = assert.rejects(connected.request("wait"), code("MORENDO_CONTROL_LOST"));
    await connected.request("status");
    await server.close(20);
    await lost;
  });

  it("refuses to start beside a live server, and names its pid", async () => {
    await started();
    await assert.rejects(started(), /running already \(pid 4711\)/);
    assert.deepEqual(await (await client()).request("status"), { pid: 4711 });
  });

  it("takes the place of a server that died", async () => {
    const dead = createServer();
    dead.listen(join(folder, "dead.sock"));
    await once(dead, "listening");
    // A killed server leaves its socket; a link survives the close that removes the original name.
    const { linkSync } = await import("node:fs");
    linkSync(join(folder, "dead.sock"), path);
    await new Promise((resolve) => dead.close(resolve));
    assert.ok(statSync(path).isSocket());
    await started();
    assert.deepEqual(await (await client()).request("status"), { pid: 4711 });
  });

  it("leaves a file alone that is not a socket", async () => {
    writeFileSync(path, "precious");
    await assert.rejects(started(), code("MORENDO_CONTROL_PATH"));
    assert.ok(statSync(path).isFile());
  });

  it("refuses a path that is too long, naming the option", async () => {
    await assert.rejects(started(join(folder, "x".repeat(120))), /set `socket` in \[control\]/);
  });

  it("refuses a folder that others may write to, and one that is not there", async () => {
    await assert.rejects(started(join(folder, "none", "c.sock")), /is not there/);
    chmodSync(folder, 0o777);
    await assert.rejects(started(), /others may write/);
    chmodSync(folder, 0o700);
  });
});

describe("connectControl", () => {
  it("says that nobody runs when there is no socket", async () => {
    await assert.rejects(connectControl({ path: "/nonexistent/morendo.sock", clock: systemClock }), /is not running/);
  });

  describe("to a socket that is not to be trusted", () => {
    let folder: string;
    let path: string;
    let server: Server;

    beforeEach(async () => {
      folder = mkdtempSync(join(tmpdir(), "morendo-test-"));
      path = join(folder, "control.sock");
      server = createServer((socket) => socket.destroy()).listen(path);
      await once(server, "listening");
    });

    afterEach(() => {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    });

    it("says nothing when others may write to it", async () => {
      chmodSync(path, 0o666);
      await assert.rejects(connectControl({ path, clock: systemClock }), {
        code: "MORENDO_CONTROL_DENIED",
        message: `others may write to ${path} (mode 666): it has to be mode 600`,
      });
    });

    it("says nothing when it is somebody else's", async function () {
      if (process.geteuid?.() !== 0) return skip(this, "only root can give a file to another user");
      chmodSync(path, 0o600);
      chownSync(path, 12_345, 12_345);
      await assert.rejects(connectControl({ path, clock: systemClock }), {
        code: "MORENDO_CONTROL_DENIED",
        message: /belongs to another user \(uid 12345\)/,
      });
      // The folder is that user's as well: a server that runs under another name, which root may speak to.
      chownSync(folder, 12_345, 12_345);
      (await connectControl({ path, clock: systemClock })).close();
    });
  });
});
