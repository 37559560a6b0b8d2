// What a service manager receives, by way of the real program `systemd-notify` and a receiver in Python.

import assert from "node:assert/strict";
import { join } from "node:path";
import { SystemdNotifier } from "../../../src/control/systemd-notify.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { silentLog } from "../../../src/util/log.ts";
import { NotifyReceiver, whyNotHere } from "../../support/notify-receiver.ts";
import { skip } from "../../support/skip.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

describe("the systemd notifier and a service manager", function () {
  this.timeout(60_000);
  let receiver: NotifyReceiver | undefined;
  afterEach(() => receiver?.stop());

  before(function () {
    const reason = whyNotHere();
    if (reason !== undefined) skip(this, reason);
  });

  for (const kind of ["a path", "an abstract address"]) {
    it(`sends everything in order to ${kind}`, async () => {
      const folder = await temporaryFolder();
      const address = kind === "a path" ? join(folder.path, "notify") : `@morendo-test-${process.pid}`;
      receiver = await NotifyReceiver.start(address);
      const environment = { ...process.env, NOTIFY_SOCKET: address };
      const notifier = new SystemdNotifier({ environment, clock: systemClock, log: silentLog });
      notifier.ready("serving");
      notifier.reloading();
      notifier.mainPid(4711);
      notifier.extendTimeout(1_500);
      notifier.stopping();
      await notifier.flush();
      await receiver.has("STOPPING=1");
      const messages = receiver.messages.map(({ text }) => text);
      assert.match(messages[1] ?? "", /^RELOADING=1\nMONOTONIC_USEC=\d+$/);
      assert.deepEqual(
        messages.filter((_, index) => index !== 1),
        ["READY=1\nSTATUS=serving", "MAINPID=4711", "EXTEND_TIMEOUT_USEC=1500000", "STOPPING=1"],
      );
      await folder.remove();
    });
  }
});
