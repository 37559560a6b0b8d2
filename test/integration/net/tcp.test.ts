import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { systemClock } from "../../../src/util/clock.ts";
import { codeOf } from "../../../src/util/errors.ts";
import { Door, network, partInNoise, plainPair, Recorder, readAll, until } from "./support.ts";

describe("a plain TCP transport", () => {
  it("sends the texts of one turn in order and as one piece", async () => {
    const { transport, socket } = await plainPair();
    const chunks: string[] = [];
    socket.on("data", (chunk: Buffer) => void chunks.push(chunk.toString()));
    for (const text of ["a", "é", "c"]) transport.write(text);
    assert.equal(transport.buffered, 3);
    await until(() => chunks.length > 0);
    transport.write("d");
    await until(() => chunks.length > 1);
    assert.deepEqual(chunks, ["aéc", "d"]);
    transport.destroy();
    socket.destroy();
  });

  it("keeps the order of bytes when the reader is slow, also between the halves of a character", async () => {
    const { transport, reader, socket } = await plainPair();
    socket.pause();
    let expected = "";
    let wasFull = false;
    for (let index = 0; index < 400; index++) {
      const text = `${index}😀`.repeat(5_000);
      expected += text;
      wasFull = !transport.write(text) || wasFull;
      if (index % 50 === 0) await systemClock.turn();
    }
    assert.ok(wasFull);
    transport.end();
    const reading = readAll(socket);
    socket.resume();
    const received = await reading;
    assert.ok(received.toString() === expected, "the bytes differ");
    socket.end();
    await until(() => reader.ends.length > 0);
    assert.deepEqual(reader.ends, [{ orderly: true }]);
  });

  it("says when there is room again, once for each time it was full", async () => {
    const { transport, reader, socket } = await plainPair();
    assert.equal(transport.write("x".repeat(64 * 1024)), true);
    assert.equal(transport.write("x"), false);
    assert.equal(transport.write("x"), false);
    assert.equal(reader.drains, 0);
    socket.resume();
    await until(() => reader.drains > 0);
    assert.equal(transport.buffered, 0);
    await systemClock.sleep(10);
    assert.equal(reader.drains, 1);
    transport.destroy();
    socket.destroy();
  });

  it("keeps what came before there was a reader", async () => {
    const door = await Door.open();
    const socket = connect({ host: "127.0.0.1", port: door.listener.port });
    socket.write("early");
    socket.end(" bird");
    const { transport } = await door.next();
    await systemClock.sleep(20);
    const reader = new Recorder();
    transport.setReader(reader);
    assert.deepEqual(reader.calls, []);
    await until(() => reader.calls.includes("end"));
    assert.equal(reader.text, "early bird");
    transport.end();
    await until(() => reader.ends.length > 0);
    await door.listener.close();
  });

  it("does not read while it is paused", async () => {
    const { transport, reader, socket } = await plainPair();
    transport.pause();
    socket.write("x".repeat(4_000_000));
    await systemClock.sleep(30);
    assert.equal(reader.bytes.length, 0);
    assert.ok(socket.writableLength > 0, "the peer feels no back-pressure");
    transport.resume();
    await until(() => reader.bytes.length === 4_000_000);
    transport.destroy();
    socket.destroy();
  });

  it("can write after the peer has closed its side, and closes in order", async () => {
    const { transport, reader, socket } = await plainPair();
    socket.end("question");
    await until(() => reader.calls.includes("end"));
    assert.deepEqual(reader.calls, ["data", "end"]);
    transport.write("answer");
    transport.end();
    assert.equal((await readAll(socket)).toString(), "answer");
    await until(() => reader.ends.length > 0);
    assert.deepEqual(reader.calls, ["data", "end", "close"]);
    assert.deepEqual(reader.ends, [{ orderly: true }]);
  });

  it("goes on reading after its own end until the peer closes too", async () => {
    const { transport, reader, socket } = await plainPair();
    transport.write("bye");
    transport.end();
    assert.equal((await readAll(socket)).toString(), "bye");
    socket.write("still here");
    await until(() => reader.text === "still here");
    assert.deepEqual(reader.ends, []);
    socket.end();
    await until(() => reader.ends.length > 0);
    assert.deepEqual(reader.calls, ["data", "end", "close"]);
  });

  it("lets a peer that never stops sending read everything, and no reset", async () => {
    await partInNoise(await plainPair());
  });

  it("discards what comes when it was ended without ever having had a reader", async () => {
    const door = await Door.open();
    const socket = connect({ host: "127.0.0.1", port: door.listener.port });
    socket.write("x".repeat(1_000_000));
    const { transport } = await door.next();
    transport.write("no room");
    transport.end();
    assert.equal((await readAll(socket)).toString(), "no room");
    await once(socket, "close");
    await door.listener.close();
  });

  it("tells a broken connection as one close with the error", async () => {
    const { transport, reader, socket } = await plainPair();
    socket.resetAndDestroy();
    await until(() => reader.ends.length > 0);
    transport.write("into the void");
    transport.destroy();
    await systemClock.sleep(10);
    assert.equal(reader.ends.length, 1);
    assert.equal(reader.ends[0]?.orderly, false);
    assert.equal(codeOf(reader.ends[0]?.error), "ECONNRESET");
    assert.deepEqual(reader.calls, ["close"]);
  });

  it("tells the error it was destroyed with, and a late reader too", async () => {
    const { transport, reader, socket } = await plainPair();
    const error = new Error("enough");
    transport.destroy(error);
    await until(() => reader.ends.length > 0);
    assert.deepEqual(reader.ends, [{ orderly: false, error }]);
    const late = new Recorder();
    transport.setReader(late);
    assert.deepEqual(late.calls, []);
    await until(() => late.ends.length > 0);
    assert.deepEqual(late.ends, [{ orderly: false, error }]);
    assert.equal(transport.remoteAddress, "127.0.0.1");
    socket.destroy();
  });
});

describe("dialling", () => {
  it("connects and knows both addresses", async () => {
    const door = await Door.open();
    const transport = await network.dial({ host: "127.0.0.1", port: door.listener.port });
    const { transport: other } = await door.next();
    assert.equal(transport.remotePort, door.listener.port);
    assert.equal(other.remotePort, transport.localPort);
    assert.equal(other.localPort, transport.remotePort);
    assert.equal(other.remoteAddress, "127.0.0.1");
    transport.destroy();
    other.destroy();
    await door.listener.close();
  });

  it("rejects with the system's error when refused, and when aborted", async () => {
    const door = await Door.open();
    const { port } = door.listener;
    await door.listener.close();
    await assert.rejects(network.dial({ host: "127.0.0.1", port }), { code: "ECONNREFUSED" });
    const controller = new AbortController();
    const dialling = network.dial({ host: "127.0.0.1", port, signal: controller.signal });
    controller.abort();
    await assert.rejects(dialling, { name: "AbortError" });
    await assert.rejects(network.dial({ host: "127.0.0.1", port, signal: controller.signal }), { name: "AbortError" });
  });
});

describe("a listener", () => {
  it("names the address when the port is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    await assert.rejects(Door.open({ port }), (error: Error) => {
      assert.equal(codeOf(error), "MORENDO_PORT_TAKEN");
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port}`));
      return true;
    });
    other.close();
  });

  it("says that an address is not one of this machine", async () => {
    await assert.rejects(Door.open({ host: "203.0.113.1" }), { code: "MORENDO_LISTEN_FAILED" });
  });

  it("takes in everybody who waits in the backlog before it closes", async () => {
    const door = await Door.open();
    const clients = connectFromOutside(door.listener.port, 50);
    // The event loop stands still while another process connects: all 50 are in the kernel's backlog now.
    blockUntilConnected(clients.ready);
    assert.equal(door.count, 0);
    const closing = door.listener.close();
    assert.equal(door.listener.close(), closing);
    await closing;
    assert.equal(door.count, 50);
    for (let index = 0; index < 50; index++) {
      const { transport } = await door.next();
      transport.write("welcome");
      transport.end();
    }
    assert.deepEqual(await clients.result, { welcomed: 50, broken: 0 });
    await assert.rejects(network.dial({ host: "127.0.0.1", port: door.listener.port }), { code: "ECONNREFUSED" });
  });

  it("holds connections while paused, and reports them when it goes on or closes", async () => {
    const door = await Door.open();
    door.listener.pause();
    const sockets = [1, 2, 3].map(() => connect({ host: "127.0.0.1", port: door.listener.port }));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    await systemClock.sleep(20);
    assert.equal(door.count, 0);
    door.listener.resume();
    assert.equal(door.count, 3);
    door.listener.pause();
    const last = connect({ host: "127.0.0.1", port: door.listener.port });
    last.write("hello");
    await once(last, "connect");
    await door.listener.close();
    assert.equal(door.count, 4);
    for (let index = 0; index < 3; index++) (await door.next()).transport.destroy();
    const reader = new Recorder();
    const { transport } = await door.next();
    transport.setReader(reader);
    await until(() => reader.text === "hello");
    transport.destroy();
    for (const socket of [...sockets, last]) socket.destroy();
  });

  it("survives running out of file descriptors, and accepts again when there are some", async function () {
    this.timeout(60_000);
    const child = spawn("sh", ["-c", `ulimit -n 64; exec "${process.execPath}" --import=tsx "$0"`, scarce], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    await until(() => output.includes("port "));
    const port = Number(/port (\d+)/.exec(output)?.[1]);
    let greeted = 0;
    let closed = 0;
    const visit = (): Socket => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.on("data", () => greeted++);
      socket.on("error", () => undefined);
      return socket.on("close", () => closed++);
    };
    const sockets = Array.from({ length: 80 }, visit);
    await until(() => greeted + closed >= 80);
    assert.ok(greeted > 0 && closed > 0, `${greeted} greeted, ${closed} turned away`);
    for (const socket of sockets) socket.end();
    await until(() => closed === 80);
    const before = greeted;
    const late = visit();
    await until(() => greeted > before);
    late.end();
    child.stdin.end();
    const [code] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
    assert.equal(code, 0);
  });
});

const scarce = new URL("scarce-child.ts", import.meta.url).pathname;

interface OutsideClients {
  readonly ready: SharedArrayBuffer;
  readonly result: Promise<{ welcomed: number; broken: number }>;
}

/** Connects `count` clients from a worker thread: they get on while this thread's event loop stands still. */
function connectFromOutside(port: number, count: number): OutsideClients {
  const ready = new SharedArrayBuffer(4);
  const worker = new Worker(
    `const { workerData, parentPort } = require("node:worker_threads");
     const { connect } = require("node:net");
     const ready = new Int32Array(workerData.ready);
     let connected = 0, welcomed = 0, broken = 0, left = workerData.count;
     for (let index = 0; index < workerData.count; index++) {
       let text = "";
       const socket = connect({ host: "127.0.0.1", port: workerData.port }, () => {
         socket.write("hello");
         if (++connected === workerData.count) { Atomics.store(ready, 0, 1); Atomics.notify(ready, 0); }
       });
       socket.on("data", (chunk) => { text += chunk; });
       socket.on("error", () => { broken++; });
       socket.on("close", () => {
         if (text === "welcome") welcomed++;
         if (--left === 0) parentPort.postMessage({ welcomed, broken });
       });
     }`,
    { eval: true, workerData: { port, count, ready } },
  );
  const result = new Promise<{ welcomed: number; broken: number }>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  return { ready, result };
}

function blockUntilConnected(ready: SharedArrayBuffer): void {
  assert.notEqual(Atomics.wait(new Int32Array(ready), 0, 0, 10_000), "timed-out");
}
