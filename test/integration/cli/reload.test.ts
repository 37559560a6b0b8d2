// `morendo reload` and SIGHUP on a real process: the file is read anew, what is wrong with it is told, the log is opened anew,
// and systemd hears of it. What a reload does to clients: test/integration/reload.

import assert from "node:assert/strict";
import { appendFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ServerProcess } from "../../support/child.ts";
import { NotifyReceiver, whyNotHere } from "../../support/notify-receiver.ts";
import { skip } from "../../support/skip.ts";
import { waitUntil } from "../../support/wire.ts";
import { folderWithConfig, morendo, startServer } from "./command.ts";

describe("morendo reload", function () {
  this.timeout(120_000);
  let folder: string;
  let file: string;
  let server: ServerProcess | undefined;
  let receiver: NotifyReceiver | undefined;

  beforeEach(() => {
    ({ folder } = folderWithConfig());
    file = join(folder, "morendo.toml");
  });

  afterEach(async () => {
    await server?.stop();
    server = undefined;
    receiver?.stop();
    delete process.env.NOTIFY_SOCKET;
    rmSync(folder, { recursive: true, force: true });
  });

  it("says what is in force and what needs a restart, and refuses a bad file with everything that is wrong", async () => {
    server = await startServer(folder);
    assert.match((await morendo(folder, ["reload"])).stdout, /nothing has changed/);
    const good = readFileSync(file, "utf8");
    appendFileSync(
      file,
      `\n[auth]\niterations = 5000\n[control]\nsocket = "data/./control.sock"\n[restart]\ntimeout = "2m"\n`,
    );
    const reloaded = await morendo(folder, ["reload", "--json"]);
    assert.equal(reloaded.code, 0, reloaded.stderr);
    const { applied, restart } = JSON.parse(reloaded.stdout) as { applied: string[]; restart: string[] };
    assert.deepEqual([applied, restart], [["auth.iterations", "restart.timeout"], []]);
    // Wrong for the command already, and then for the server only.
    writeFileSync(file, `${good}\n[auth]\niterations = 3\n`);
    const bad = await morendo(folder, ["reload"]);
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /auth\.iterations: expected at least 4096/);
    writeFileSync(file, `${good}\n[module.offline]\nmax_messages = "many"\n[module.roster]\nmax_itmes = 3\n`);
    const worse = await morendo(folder, ["reload"]);
    assert.equal(worse.code, 2);
    assert.match(worse.stderr, /not reloaded, everything is as before/);
    assert.match(worse.stderr, /module\.roster\.max_itmes.*\n.*module\.offline\.max_messages/);
    server.signal("SIGTERM");
    assert.equal((await server.exited).code, 0);
    const none = await morendo(folder, ["reload"]);
    assert.equal(none.code, 1, none.stderr);
  });

  it("opens the log file anew, by SIGHUP too, so that it can be moved away, and takes another level", async () => {
    const log = join(folder, "morendo.log");
    appendFileSync(file, `\n[log]\nfile = "morendo.log"\n`);
    server = await startServer(folder);
    renameSync(log, `${log}.1`);
    server.signal("SIGHUP");
    await waitUntil(() => existsSync(log) && readFileSync(log, "utf8").includes('"trigger":"SIGHUP"'), "the new log");
    assert.match(readFileSync(`${log}.1`, "utf8"), /"msg":"signal"/);
    assert.doesNotMatch(readFileSync(log, "utf8"), /"level":20/);
    writeFileSync(file, readFileSync(file, "utf8").replace("[log]", `[log]\nlevel = "debug"`));
    assert.equal((await morendo(folder, ["reload"])).code, 0);
    await morendo(folder, ["status"]);
    assert.match(readFileSync(log, "utf8"), /"level":20.*"operation":"status"/);
    writeFileSync(file, readFileSync(file, "utf8").replace("morendo.log", "morendo.toml/x.log"));
    const refused = await morendo(folder, ["reload"]);
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, /the log file .*x\.log cannot be opened: .*\(option log\.file\)/);
  });

  it("tells systemd when it begins and that the service goes on, also when it was refused", async function () {
    const reason = whyNotHere();
    if (reason !== undefined) skip(this, reason);
    receiver = await NotifyReceiver.start(join(folder, "notify"));
    process.env.NOTIFY_SOCKET = receiver.address;
    server = await startServer(folder);
    await receiver.has("READY=1");
    assert.equal((await morendo(folder, ["reload"])).code, 0);
    await receiver.has("READY=1", 2);
    assert.match((await receiver.has("RELOADING=1")).text, /^RELOADING=1\nMONOTONIC_USEC=\d+$/);
    appendFileSync(file, `\n[module.offline]\nmax_messages = "many"\n`);
    assert.equal((await morendo(folder, ["reload"])).code, 2);
    const again = await receiver.has("READY=1", 3);
    assert.match(again.text, /STATUS=serving localhost; the last reload failed: .*max_messages/);
    const order = receiver.messages.map(({ text }) => text.split("=", 1)[0]).filter((kind) => kind !== "STATUS");
    assert.deepEqual(
      order.filter((kind) => kind === "READY" || kind === "RELOADING"),
      ["READY", "RELOADING", "READY", "RELOADING", "READY"],
    );
  });
});
