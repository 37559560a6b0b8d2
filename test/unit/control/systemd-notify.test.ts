import assert from "node:assert/strict";
import { SystemdNotifier } from "../../../src/control/systemd-notify.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { silentLog } from "../../../src/util/log.ts";

function setUp(fails = false): {
  clock: ManualClock;
  sent: string[];
  warnings: string[];
  notifier: SystemdNotifier;
  release: () => void;
} {
  const clock = new ManualClock();
  const sent: string[] = [];
  const warnings: string[] = [];
  let waiting: (() => void)[] = [];
  const notifier = new SystemdNotifier({
    environment: { NOTIFY_SOCKET: "@somewhere" },
    clock,
    log: { ...silentLog, warn: (_fields, message) => void warnings.push(message) },
    send: async (message) => {
      sent.push(message);
      if (fails) throw new Error("nobody listens");
      await new Promise<void>((resolve) => waiting.push(resolve));
    },
  });
  const release = (): void => {
    const ready = waiting;
    waiting = [];
    for (const resolve of ready) resolve();
  };
  return { clock, sent, warnings, notifier, release };
}

describe("the systemd notifier", () => {
  it("sends one message at a time, in order", async () => {
    const { clock, sent, notifier, release } = setUp();
    notifier.ready("serving example.org");
    notifier.mainPid(4711);
    assert.deepEqual(sent, ["READY=1\nSTATUS=serving example.org"]);
    release();
    await clock.advance(0);
    assert.deepEqual(sent.slice(1), ["MAINPID=4711"]);
    release();
    await clock.advance(0);
    assert.equal(clock.pendingTimers, 0);
  });

  it("sends the latest status only, and twice a second at most, without holding up the rest", async () => {
    const { clock, sent, notifier, release } = setUp();
    for (let index = 0; index < 90; index++) {
      notifier.status(`drained ${index}`);
      release();
      await clock.advance(20);
    }
    notifier.stopping();
    release();
    await clock.advance(0);
    const texts = sent.filter((message) => message.startsWith("STATUS="));
    assert.ok(texts.length >= 2 && texts.length <= 5, `${texts.length} statuses in 1.8 s`);
    assert.ok(sent.includes("STOPPING=1"), "the rest does not wait");
    const flushed = notifier.flush();
    for (let round = 0; round < 3; round++) {
      release();
      await clock.advance(0);
    }
    await flushed;
    assert.equal(sent.at(-1), "STATUS=drained 89");
    assert.equal(clock.pendingTimers, 0);
  });

  it("keeps a status on one line: a second one would be another assignment", async () => {
    const { sent, notifier } = setUp();
    notifier.status("oh\nMAINPID=1");
    assert.deepEqual(sent, ["STATUS=oh MAINPID=1"]);
  });

  it("complains once, and goes on", async () => {
    const { clock, sent, warnings, notifier } = setUp(true);
    notifier.ready();
    notifier.mainPid(1);
    await notifier.flush();
    await clock.advance(0);
    assert.equal(sent.length, 2);
    assert.equal(warnings.length, 1);
  });

  it("does nothing where nobody listens", async () => {
    const sent: string[] = [];
    const notifier = new SystemdNotifier({
      environment: {},
      clock: new ManualClock(),
      log: silentLog,
      send: async (message) => void sent.push(message),
    });
    notifier.ready();
    await notifier.flush();
    assert.equal(notifier.isHeard, false);
    assert.deepEqual(sent, []);
  });
});
