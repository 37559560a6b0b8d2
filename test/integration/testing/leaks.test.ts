import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, watch } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { TcpNetwork } from "../../../src/net/tcp.ts";
import { ServerWatch } from "../../../src/testing/leaks/server-watch.ts";
import { assertNothingLeft, LeakError, type LeftoverKind, takeStock } from "../../../src/testing/leaks/stock.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { startServer } from "../../../src/testing/start-server.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { silentLog } from "../../../src/util/log.ts";
import { skip } from "../../support/skip.ts";
import { type TemporaryFolder, temporaryFolder } from "../../support/temporary-folder.ts";

type End = () => unknown;

async function listening(): Promise<Server> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

describe("the leak check", () => {
  let folder: TemporaryFolder;
  before(async () => {
    folder = await temporaryFolder();
  });
  after(() => folder.remove());

  const onLinux = process.platform === "linux";
  const plants: [what: string, kind: LeftoverKind, pattern: RegExp, plant: () => Promise<End> | End, here?: boolean][] =
    [
      [
        "a listening socket",
        "handle",
        /server 127\.0\.0\.1:\d+/,
        async () => {
          const server = await listening();
          return () => server.close();
        },
      ],
      [
        "a connection",
        "handle",
        /TCP connection 127\.0\.0\.1:\d+ - 127\.0\.0\.1:\d+/,
        async () => {
          const server = await listening();
          const address = server.address();
          const socket = connect(typeof address === "object" ? (address?.port ?? 0) : 0, "127.0.0.1");
          const [[accepted]] = await Promise.all([once(server, "connection"), once(socket, "connect")]);
          server.close();
          return () => {
            socket.destroy();
            accepted.destroy();
          };
        },
      ],
      [
        "a socket that does not hold the event loop",
        "socket",
        /TCP 127\.0\.0\.1:\d+ \(listening\)/,
        async () => {
          const server = await listening();
          server.unref();
          return () => server.close();
        },
        onLinux,
      ],
      [
        "a timer",
        "timer",
        /setTimeout of 600000 ms\n.*leaks\.test\.ts/,
        () => {
          const timer = setTimeout(() => undefined, 600_000);
          return () => clearTimeout(timer);
        },
      ],
      [
        "a watcher of files",
        "handle",
        /FSWatcher|FSEventWrap|FSEvent/,
        () => {
          const watcher = watch(folder.path);
          return () => watcher.close();
        },
      ],
      [
        "a listener on the process",
        "listener",
        /on process "SIGUSR2": goodbye/,
        () => {
          const goodbye = (): void => undefined;
          process.on("SIGUSR2", goodbye);
          return () => process.off("SIGUSR2", goodbye);
        },
      ],
      [
        "a listener on an AbortSignal",
        "listener",
        /1 on an AbortSignal\n.*leaks\.test\.ts/,
        () => {
          const controller = new AbortController();
          const stop = (): void => undefined;
          controller.signal.addEventListener("abort", stop);
          return () => controller.signal.removeEventListener("abort", stop);
        },
      ],
      [
        "an open file",
        "file",
        /open\.txt/,
        () => {
          const fd = openSync(join(folder.path, "open.txt"), "w");
          return () => closeSync(fd);
        },
        onLinux,
      ],
      [
        "a worker thread",
        "worker",
        /thread \d+/,
        async () => {
          const worker = new Worker("setInterval(() => undefined, 1000)", { eval: true });
          await once(worker, "online");
          return () => worker.terminate();
        },
      ],
      [
        "a child process",
        "child process",
        /\d+ \(.*sleep 600\)/,
        async () => {
          const child = spawn("sleep", ["600"], { stdio: "ignore" });
          await once(child, "spawn");
          return async () => {
            child.kill("SIGKILL");
            await once(child, "exit");
          };
        },
        onLinux,
      ],
    ];

  for (const [what, kind, pattern, plant, isHere = true] of plants) {
    it(`finds ${what}, and is content once it is gone`, async function () {
      if (!isHere) skip(this, "only Linux tells what a process has open");
      const stock = takeStock();
      const end = await plant();
      await assert.rejects(assertNothingLeft({ leftovers: () => stock.leftovers() }, { graceMs: 50 }), (thrown) => {
        assert.ok(thrown instanceof LeakError);
        assert.ok(
          thrown.leftovers.some((left) => left.kind === kind && pattern.test(`${left.what}\n${left.madeAt ?? ""}`)),
          thrown.message,
        );
        return true;
      });
      await end();
      await assertNothingLeft(stock);
    });
  }

  it("takes an AbortSignal that has aborted for done with", async () => {
    const stock = takeStock();
    const controller = new AbortController();
    controller.signal.addEventListener("abort", () => undefined);
    controller.abort();
    await assertNothingLeft(stock);
  });

  it("finds nothing of a server with clients, other servers and modules, whatever they do, after its end", async () => {
    const stock = takeStock();
    {
      await using good = await ScriptedPeer.start({ domain: "good.test" });
      await using mute = await ScriptedPeer.start({ domain: "mute.test", script: { header: "ignore", end: "ignore" } });
      await using server = await startServer(
        { shutdown: { deadline: "8s" }, c2s: { close_timeout: "500ms" } },
        { store: "lmdb", peers: [good, mute] },
      );
      const romeo = await server.login("romeo", "1");
      const juliet = await server.login("juliet", "1", { security: "direct", answerClose: false });
      const idle = server.client();
      await idle.connect();
      for (const client of [romeo, juliet]) client.presence();
      romeo.send("<message to='x@good.test' id='m1'><body>hi</body></message>");
      romeo.send("<message to='x@mute.test' id='m2'><body>hi</body></message>");
      good.send("<message from='x@good.test' to='romeo@a.test' id='m3'><body>hi</body></message>");
      await good.until(({ stanzas, sent }) => stanzas.length === 1 && sent[0]?.written === true, "both ways");
      juliet.stopReading();
      const report = await server.stop();
      assert.ok(report.obligations.run.proved + report.obligations.running.proved >= 1);
    }
    await assertNothingLeft(stock);
  });
});

describe("the watch over one server", () => {
  let watching: ServerWatch;
  let folder: TemporaryFolder;

  beforeEach(async () => {
    folder = await temporaryFolder();
    const network = new TcpNetwork({ clock: systemClock, log: silentLog });
    watching = new ServerWatch({ clock: systemClock, network, folder: folder.path });
  });
  afterEach(async () => {
    watching.close();
    assert.deepEqual(watching.leftovers(), []);
    await folder.remove();
  });

  it("names a timer and who set it", () => {
    const timer = watching.clock.setTimer(60_000, () => undefined);
    assert.match(watching.leftovers()[0]?.what ?? "", /of 60000 ms/);
    assert.match(watching.leftovers()[0]?.madeAt ?? "", /leaks\.test\.ts/);
    timer.cancel();
  });

  it("names a listener of the server's own code on a signal that never aborts", async () => {
    const controller = new AbortController();
    const asleep = watching.clock.sleep(60_000, controller.signal);
    const listener = watching.leftovers().find(({ kind }) => kind === "listener");
    assert.equal(listener?.what, "1 on an AbortSignal");
    assert.match(listener?.madeAt ?? "", /src\/util\/clock\.ts/);
    controller.abort();
    await asleep;
  });

  it("names a listener, and both ends of a connection", async () => {
    let accepted: { destroy(): void } | undefined;
    const listener = await watching.network.listen({ host: "127.0.0.1", port: 0 }, ({ transport }) => {
      accepted = transport;
    });
    const dialled = await watching.network.dial({ host: "127.0.0.1", port: listener.port });
    while (accepted === undefined) await systemClock.turn();
    const left = watching.leftovers().map(({ what }) => what);
    assert.equal(left.length, 3, left.join());
    assert.ok(left.includes(`listener 127.0.0.1:${listener.port}`));
    assert.ok(left.some((what) => what.endsWith(` to 127.0.0.1:${listener.port}`)));
    dialled.destroy();
    accepted.destroy();
    await listener.close();
  });

  it("names an open file in the server's folder, and none elsewhere", function () {
    if (process.platform !== "linux") skip(this, "only Linux tells what a process has open");
    const file = join(folder.path, "store");
    const fds = [openSync(file, "w"), openSync("/etc/hostname", "r")];
    assert.deepEqual(
      watching.leftovers().map(({ what }) => what),
      [file],
    );
    for (const fd of fds) closeSync(fd);
  });

  it("leaves the test's own timers, sockets and listeners alone", async () => {
    const server = await listening();
    const controller = new AbortController();
    controller.signal.addEventListener("abort", () => undefined);
    assert.deepEqual(watching.leftovers(), []);
    server.close();
  });
});
