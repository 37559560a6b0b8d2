// What a service manager sees and gives: messages to NOTIFY_SOCKET and sockets by LISTEN_FDS, at starts, stops and restarts
// of either kind of the real server. systemd itself does not run here; its units are checked by systemd-analyze.

import assert from "node:assert/strict";
import { PORTS } from "../../support/addresses.ts";
import { ACCOUNTS, Conversation, canLogIn } from "../../support/conversation.ts";
import { Generations } from "../../support/generations.ts";
import { NotifyReceiver, whyNotHere } from "../../support/notify-receiver.ts";
import type { Said } from "../../support/run-command.ts";
import { skip } from "../../support/skip.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const READY = "READY=1\nSTATUS=serving a.test, b.test";

describe("the server and systemd", function () {
  this.timeout(120_000);
  let generations: Generations | undefined;
  let receiver: NotifyReceiver;
  let address: string;
  let tests = 0;
  before(function () {
    const why = whyNotHere();
    if (why !== undefined) skip(this, why);
  });
  beforeEach(async () => {
    address = `@morendo-test-${process.pid}-${++tests}`;
    receiver = await NotifyReceiver.start(address);
  });
  afterEach(async () => {
    await generations?.end();
    receiver.stop();
  });

  /** The messages that are not only for people, in order. */
  const orders = (): readonly string[] =>
    receiver.messages.map(({ text }) => text).filter((text) => !/^(STATUS|EXTEND_TIMEOUT_USEC|WATCHDOG)=/.test(text));

  it("say READY when it serves, and STOPPING and how far it is when it goes down", async () => {
    const settings = { extra: '[shutdown]\ndeadline = "20s"', c2s: 'close_timeout = "2s"' };
    generations = await Generations.start({ accounts: ACCOUNTS, settings, env: { NOTIFY_SOCKET: address } });
    await receiver.has("READY=1");
    assert.deepEqual(
      receiver.messages.map(({ text }) => text),
      ["STATUS=starting", READY],
    );
    const asleep = generations.client({ username: "romeo", resource: "asleep", answerClose: false, answerEnd: false });
    await asleep.login();
    generations.process.signal("SIGTERM");
    const exit = await generations.process.exited;
    await receiver.has("STOPPING=1");
    assert.deepEqual(orders(), [READY, "STOPPING=1"]);
    assert.ok(receiver.all("STATUS=close-sessions: 0/1, waiting for ").length > 0, JSON.stringify(receiver.messages));
    const [extension] = receiver.all("EXTEND_TIMEOUT_USEC=");
    const seconds = Number(extension?.text.split("=")[1]) / 1e6;
    assert.ok(seconds > 5 && seconds <= 30, `${seconds} s`);
    assert.ok(
      receiver.messages.every(({ at }) => at < exit.at),
      "a message came after the end",
    );
    asleep.destroy();
  });

  it("tell of the successor before the predecessor ends, which does not say that the service stops", async () => {
    generations = await Generations.start({ accounts: ACCOUNTS, env: { NOTIFY_SOCKET: address } });
    const { code, output } = await generations.restart();
    assert.equal(code, 0, output);
    const { pid } = (await generations.status()) ?? {};
    const exit = await generations.process.exited;
    const { at } = await receiver.has(`MAINPID=${pid}`);
    assert.ok(at < exit.at);
    await receiver.has("READY=1", 2);
    assert.deepEqual(orders().toSorted(), [`MAINPID=${pid}`, READY, READY]);
    assert.equal(receiver.messages.at(-1)?.text.startsWith("STATUS="), false, "the status is the successor's");
    // The next one is told of by this successor, which stops as a main process does.
    assert.equal((await generations.restart()).code, 0);
    const { pid: third = 0 } = (await generations.status()) ?? {};
    await receiver.has(`MAINPID=${third}`);
    await receiver.has("READY=1", 3);
    await generations.alone(third);
    process.kill(third, "SIGTERM");
    await generations.alone();
    assert.deepEqual(orders().slice(5), ["STOPPING=1"]);
  });

  it("tell of a restart that failed by a status only", async () => {
    generations = await Generations.start({ accounts: ACCOUNTS, env: { NOTIFY_SOCKET: address } });
    generations.configure({ module: "throw at handover" });
    assert.equal((await generations.restart()).code, 1);
    const { text } = await receiver.has("STATUS=serving a.test, b.test; the last restart failed");
    assert.match(text, /thrown on purpose/);
    assert.deepEqual(orders(), [READY]);
  });

  it("keep the main process where there is a keeper", async () => {
    const options = { accounts: ACCOUNTS, env: { NOTIFY_SOCKET: address }, args: ["--keeper"] };
    generations = await Generations.start(options);
    assert.equal((await generations.restart()).code, 0);
    await receiver.has("READY=1", 2);
    generations.process.signal("SIGTERM");
    assert.equal((await generations.process.exited).code, 0);
    await receiver.has("STOPPING=1");
    assert.deepEqual(orders(), [READY, READY, "STOPPING=1"]);
  });

  for (const args of [[], ["--keeper"]]) {
    it(`watch the event loop through restarts${args.length > 0 ? ", also below a keeper" : ""}`, async () => {
      const command = (program: readonly string[]) =>
        ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", process.execPath, ...program] as const;
      const env = { NOTIFY_SOCKET: address, WATCHDOG_USEC: "1000000" };
      generations = await Generations.start({ command, env, args });
      await receiver.has("WATCHDOG=1", 2);
      const { pid = 0 } = (await generations.status()) ?? {};
      assert.equal((await generations.restart()).code, 0);
      const { pid: successor = 0 } = (await generations.status()) ?? {};
      await generations.alone(...(args.length > 0 ? [generations.process.pid] : []), successor);
      assert.notEqual(successor, pid);
      await receiver.has("WATCHDOG=1", receiver.all("WATCHDOG=1").length + 2);
    });
  }

  it("refuse a restart when systemd could not be told of the successor", async () => {
    const folder = await temporaryFolder();
    generations = await Generations.start({ env: { NOTIFY_SOCKET: `${folder.path}/nobody` } });
    const { code, output } = await generations.restart();
    assert.equal(code, 1);
    assert.match(output, /not restarted.*systemd cannot be told of the new process/s);
    await canStillBeAsked(generations);
    await folder.remove();
  });

  it("refuse a restart where the unit does not listen to the server", async () => {
    const command = (program: readonly string[]) =>
      ["sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh", process.execPath, ...program] as const;
    generations = await Generations.start({ command });
    const { code, output } = await generations.restart();
    assert.equal(code, 1);
    assert.match(output, /Type=notify/);
    await canStillBeAsked(generations);
  });

  async function canStillBeAsked(scene: Generations): Promise<void> {
    assert.equal((await scene.status())?.pid, scene.process.pid);
  }
});

// Listens where it is told to, and starts a program with these sockets as systemd does; again whenever the program has ended
// and a line comes on standard input. Node would accept the connections that are to wait.
const MANAGER = `
import os, socket, subprocess, sys
split = sys.argv.index("--")
names = []
for at, spec in enumerate(sys.argv[1:split]):
    name, host, port = spec.split("|")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, int(port)))
    s.listen(128)
    os.dup2(s.fileno(), 20 + at)
    s.close()
    names.append(name)
for at in range(len(names)): os.dup2(20 + at, 3 + at)
env = dict(os.environ, LISTEN_FDS=str(len(names)), LISTEN_FDNAMES=":".join(names))
fds = tuple(range(3, 3 + len(names)))
while True:
    subprocess.Popen(["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *sys.argv[split + 1:]], env=env, pass_fds=fds).wait()
    if sys.stdin.readline() == "": break
`;

describe("the server and the sockets of systemd", function () {
  this.timeout(120_000);
  let generations: Generations | undefined;
  before(function () {
    const why = whyNotHere();
    if (why !== undefined) skip(this, why);
  });
  afterEach(() => generations?.end());

  it("serve on them, and go on doing so after a restart of either kind", async () => {
    const command = (program: readonly string[], address: string) => {
      const places = [
        `c2s-tls|${address}|${PORTS.c2sTls}`,
        `s2s|${address}|${PORTS.s2s}`,
        `c2s|${address}|${PORTS.c2s}`,
      ];
      return ["python3", "-c", MANAGER, ...places, "--", process.execPath, ...program] as const;
    };
    generations = await Generations.start({ accounts: ACCOUNTS, command });
    const { listening, pid } = (await generations.status()) ?? {};
    assert.equal(listening?.length, 3);
    const talk = await Conversation.begin(generations);
    await talk.say();

    for (let time = 1; time <= 2; time++) {
      const said: Said = await generations.restart();
      assert.equal(said.code, 0, said.output);
      await talk.resume();
      await talk.say();
    }
    talk.complete();
    assert.deepEqual((await generations.status())?.listening, listening);
    await talk.end();

    // A successor is nobody's child by now; the manager has seen its first server end, and waits for a word.
    assert.equal((await generations.command("stop")).code, 0);
    await generations.alone(generations.process.pid);
    const patient = generations.client({
      username: "juliet",
      resource: "patient",
      security: "starttls",
      port: PORTS.c2s,
    });
    // It waits in the backlog of a socket that only the manager has open.
    await patient.connect();
    generations.process.tell("again");
    await patient.startTls();
    await patient.authenticate();
    await patient.bind();
    await canLogIn(generations);
    assert.notEqual((await generations.status())?.pid, pid);
    await patient.close();
  });
});
