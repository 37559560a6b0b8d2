import assert from "node:assert/strict";
import { once } from "node:events";
import { appendFileSync, existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { DrainReport } from "../../../src/shutdown/report.ts";
import { ServerProcess } from "../../support/child.ts";
import { skip } from "../../support/skip.ts";
import { waitUntil } from "../../support/wire.ts";
import { COMMAND, folderWithConfig, morendo, startServer } from "./command.ts";

/** How many Unix sockets in `folder` are open, those included that wait to be taken in. */
function openSockets(folder: string): number {
  return readFileSync("/proc/net/unix", "utf8").split(`${folder}/`).length - 1;
}

describe("morendo start", function () {
  this.timeout(120_000);
  let folder: string;
  let server: ServerProcess | undefined;
  beforeEach(() => {
    ({ folder } = folderWithConfig());
  });
  afterEach(async () => {
    await server?.stop();
    server = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  const report = (): DrainReport =>
    JSON.parse(readFileSync(join(folder, "data/last-drain.json"), "utf8")) as DrainReport;

  it("makes what is missing at the first start, and not again", async () => {
    server = await startServer(folder);
    await server.until(() => server?.log.includes("password") === true, "first account");
    const password = /password {2}(\S+)/.exec(server.log)?.[1] ?? "";
    assert.ok(password.length >= 20);
    assert.match(server.log, /JID {7}admin@localhost/);
    assert.equal(statSync(join(folder, "data")).mode & 0o777, 0o700);
    assert.ok(existsSync(join(folder, "data/certificates/localhost.key")));
    assert.equal(statSync(join(folder, "data/certificates/localhost.key")).mode & 0o077, 0);
    assert.equal(statSync(join(folder, "data/control.sock")).mode & 0o777, 0o600);
    const key = readFileSync(join(folder, "data/certificates/localhost.key"), "utf8");
    server.signal("SIGTERM");
    assert.equal((await server.exited).code, 0);
    assert.ok(!existsSync(join(folder, "data/control.sock")));

    server = await startServer(folder);
    server.signal("SIGTERM");
    assert.equal((await server.exited).code, 0);
    assert.doesNotMatch(server.log, /no account yet/);
    assert.equal(readFileSync(join(folder, "data/certificates/localhost.key"), "utf8"), key);
  });

  it("ends by itself at SIGTERM with a summary, a report and exit code 0", async () => {
    server = await startServer(folder);
    server.signal("SIGTERM");
    assert.deepEqual({ ...(await server.exited), at: 0 }, { code: 0, signal: null, at: 0 });
    assert.match(server.log, /stop \(SIGTERM: received SIGTERM\): clean, exit code 0/);
    assert.doesNotMatch(server.log, /still holds the event loop/);
    assert.equal(report().trigger, "SIGTERM");
    assert.equal(report().exitCode, 0);
  });

  it("survives SIGTERM during the start", async () => {
    server = new ServerProcess("morendo", folder, [...COMMAND, "start"]);
    await server.until(() => existsSync(join(folder, "data/control.sock")), "control socket");
    server.signal("SIGTERM");
    const { code, signal } = await server.exited;
    assert.ok(code === 0 || signal === "SIGTERM", `code ${code}, signal ${signal}: ${server.log}`);
    assert.ok(!existsSync(join(folder, "data/control.sock")) || signal === "SIGTERM");
  });

  it("answers status, and stop ends it with the outcome of its run", async () => {
    server = await startServer(folder);
    const status = await morendo(folder, ["status"]);
    assert.equal(status.code, 0);
    assert.match(status.stdout, new RegExp(`running \\(pid ${server.pid}\\)`));
    assert.match(status.stdout, /listening {2}c2s 127\.0\.0\.1:\d+/);
    const stopped = await morendo(folder, ["stop", "--reason", "a new machine"]);
    assert.equal(stopped.code, 0, stopped.stderr);
    assert.match(stopped.stdout, /stop \(control socket: a new machine\): clean, exit code 0/);
    assert.equal((await server.exited).code, 0);
    assert.equal(report().reason, "a new machine");
  });

  it("can be asked and stopped when the configuration has been spoiled since, which is told", async () => {
    server = await startServer(folder);
    appendFileSync(join(folder, "morendo.toml"), '[log]\nlevel = "loud"\n[nope]\n');
    for (const [args, code] of [
      [["status"], 0],
      [["cancel"], 1],
      [["stop", "--reason", "all the same"], 0],
    ] as const) {
      const done = await morendo(folder, args);
      assert.equal(done.code, code, done.stderr);
      assert.match(done.stderr, /log\.level: expected one of .*received "loud"\n.*nope: there is no such option/);
      assert.equal(done.stderr.split("no server would start").length, 2, done.stderr);
    }
    assert.equal((await server.exited).code, 0);
    assert.equal(report().reason, "all the same");
  });

  it("prints the report as JSON when asked", async () => {
    server = await startServer(folder);
    const stopped = await morendo(folder, ["stop", "--json"]);
    assert.equal((JSON.parse(stopped.stdout) as DrainReport).outcome, "clean");
    await server.exited;
  });

  it("refuses to run twice, and names the pid of the other", async () => {
    server = await startServer(folder);
    const second = await morendo(folder, ["start"]);
    assert.equal(second.code, 1);
    assert.match(second.stderr, new RegExp(`running already \\(pid ${server.pid}\\)`));
    assert.equal((await morendo(folder, ["status"])).code, 0);
  });

  it("refuses a data folder that another one has, by whatever control socket that is asked", async () => {
    server = await startServer(folder);
    process.env.MORENDO_CONTROL__SOCKET = join(folder, "other.sock");
    try {
      for (const command of [["start"], ["user", "list"]]) {
        const { code, stderr } = await morendo(folder, command);
        assert.equal(code, 1, stderr);
        assert.match(stderr, new RegExp(`data is in use by another Morendo \\(pid ${server.pid}\\)`));
      }
    } finally {
      delete process.env.MORENDO_CONTROL__SOCKET;
    }
    assert.ok(!existsSync(join(folder, "other.sock")));
  });

  it("takes the place of one that was killed", async () => {
    server = await startServer(folder);
    server.signal("SIGKILL");
    await server.exited;
    assert.ok(existsSync(join(folder, "data/control.sock")));
    server = await startServer(folder);
    assert.equal((await morendo(folder, ["status"])).code, 0);
  });

  it("manages accounts of the running server", async () => {
    server = await startServer(folder);
    assert.equal((await morendo(folder, ["user", "add", "juliet@localhost"], "secret\n")).code, 0);
    const bad = await morendo(folder, ["user", "add", "juliet@elsewhere"], "secret\n");
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /elsewhere is not served here/);
    const lines = Array.from({ length: 50 }, (_, index) =>
      JSON.stringify({ jid: `u${index}@localhost`, password: "p" }),
    );
    const imported = await morendo(folder, ["user", "import"], lines.join("\n"));
    assert.match(imported.stdout, /imported 50 accounts/);
    const list = (await morendo(folder, ["user", "list", "localhost"])).stdout.trim().split("\n");
    assert.equal(list.length, 52);
    assert.ok(list.includes("juliet@localhost") && list.includes("admin@localhost") && list.includes("u49@localhost"));
  });

  it("names the port that is taken and the option to change", async () => {
    const other = createServer();
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    const bound = other.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    rmSync(folder, { recursive: true });
    for (const option of ["c2s.listen", "c2s.listen_tls", "s2s.listen"]) {
      ({ folder } = folderWithConfig());
      const variable = `MORENDO_${option.toUpperCase().replace(".", "__")}`;
      process.env[variable] = `127.0.0.1:${port}`;
      try {
        const { code, stderr } = await morendo(folder, ["start"]);
        assert.equal(code, 1, stderr);
        const last = stderr.trim().split("\n").at(-1) ?? "";
        assert.match(
          last,
          new RegExp(`^morendo: .*127\\.0\\.0\\.1:${port} .*option (is )?${option.replace(".", "\\.")}\\b`),
        );
      } finally {
        delete process.env[variable];
        rmSync(folder, { recursive: true });
      }
    }
    other.close();
    ({ folder } = folderWithConfig());
  });

  it("exits with 137 from stop when the server is killed before it reports", async function () {
    if (process.platform !== "linux") skip(this, "only Linux tells which sockets are open");
    server = await startServer(folder);
    server.signal("SIGSTOP");
    const connections = openSockets(join(folder, "data"));
    const stopping = morendo(folder, ["stop"]);
    // It is taken in by the kernel, and waits there for the server.
    await waitUntil(() => openSockets(join(folder, "data")) > connections, "the command at the control socket");
    server.signal("SIGKILL");
    const stopped = await stopping;
    assert.equal(stopped.code, 137);
    assert.match(stopped.stderr, /gone before it could report/);
  });
});
