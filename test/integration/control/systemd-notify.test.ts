// What a service manager receives, by way of the real program `systemd-notify` and a receiver in Python.

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { SystemdNotifier } from "../../../src/control/systemd-notify.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { silentLog } from "../../../src/util/log.ts";
import { skip } from "../../support/skip.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

// Prints each message as a line of JSON; closes the descriptors that come along, as systemd does (BARRIER=1). Ends after a minute.
const RECEIVER = `
import json, os, signal, socket, sys
signal.alarm(60)
address = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\\0" + address[1:] if address.startswith("@") else address)
print("ready", flush=True)
while True:
    message, fds, flags, sender = socket.recv_fds(s, 8192, 8)
    for fd in fds: os.close(fd)
    print(json.dumps(message.decode()), flush=True)
`;

describe("the systemd notifier and a service manager", function () {
  this.timeout(60_000);
  let receiver: ChildProcess | undefined;
  afterEach(() => receiver?.kill("SIGKILL"));

  before(function () {
    for (const program of ["python3", "systemd-notify"]) {
      if (spawnSync(program, ["--version"]).status !== 0) skip(this, `there is no ${program} here`);
    }
  });

  for (const kind of ["a path", "an abstract address"]) {
    it(`sends everything in order to ${kind}`, async () => {
      const folder = await temporaryFolder();
      const address = kind === "a path" ? join(folder.path, "notify") : `@morendo-test-${process.pid}`;
      receiver = spawn("python3", ["-c", RECEIVER, address], { stdio: ["ignore", "pipe", "inherit"] });
      let output = "";
      const has = async (text: string): Promise<void> => {
        while (!output.includes(text)) await systemClock.sleep(5);
      };
      receiver.stdout?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
      await has("ready");
      const environment = { ...process.env, NOTIFY_SOCKET: address };
      const notifier = new SystemdNotifier({ environment, clock: systemClock, log: silentLog });
      notifier.ready("serving");
      notifier.reloading();
      notifier.mainPid(4711);
      notifier.extendTimeout(1_500);
      notifier.stopping();
      await notifier.flush();
      await has("STOPPING=1");
      const messages = output
        .split("\n")
        .slice(1)
        .filter((line) => line !== "")
        .map((line) => (JSON.parse(line) as string).trim())
        .filter((message) => message !== "BARRIER=1");
      assert.match(messages[1] ?? "", /^RELOADING=1\nMONOTONIC_USEC=\d+$/);
      assert.deepEqual(
        messages.filter((_, index) => index !== 1),
        ["READY=1\nSTATUS=serving", "MAINPID=4711", "EXTEND_TIMEOUT_USEC=1500000", "STOPPING=1"],
      );
      await folder.remove();
    });
  }
});
