// Listening sockets that change hands: named, claimed, and let go of. That nobody is reset on the way is shown with two
// processes in test/integration/handover.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { fstatSync, openSync } from "node:fs";
import { connect } from "node:net";
import { InheritedListeners, listenerName } from "../../../src/net/inherited.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { Door, network, until } from "./support.ts";

const here = { host: "127.0.0.1", port: 5222 };

describe("inherited listeners", () => {
  it("are named by what they are for and where they were to listen", () => {
    assert.equal(listenerName({ ...here, purpose: "c2s" }), "c2s 127.0.0.1:5222");
    assert.equal(listenerName({ host: "::1", port: 0, purpose: "s2s" }), "s2s [::1]:0");
    assert.equal(listenerName(here), "tcp 127.0.0.1:5222");
  });

  it("are claimed once each: by purpose and address, or else by the purpose that a service manager knows", () => {
    const inherited = new InheritedListeners([
      { name: "c2s", fd: 90 },
      { name: "c2s 127.0.0.1:5222", fd: 91 },
      { name: "s2s 127.0.0.1:5222", fd: 92 },
    ]);
    const c2s = { ...here, purpose: "c2s" };
    assert.equal(inherited.claim({ ...here, purpose: "http" }), undefined);
    assert.equal(inherited.claim(here), undefined);
    assert.deepEqual(inherited.claim(c2s), { fd: 91, isAsAsked: true });
    assert.deepEqual(inherited.claim(c2s), { fd: 90, isAsAsked: false });
    assert.equal(inherited.claim(c2s), undefined);
  });

  it("are closed when nobody has claimed them, and told by name", async () => {
    const file = openSync("/dev/null", "r");
    const inherited = new InheritedListeners([{ name: "c2s 127.0.0.1:5222", fd: file }]);
    assert.deepEqual(await inherited.closeUnclaimed(), ["c2s 127.0.0.1:5222"]);
    assert.throws(() => fstatSync(file), /EBADF/);
    assert.deepEqual(await inherited.closeUnclaimed(), []);
  });

  it("are copies of the same socket in another process", async () => {
    const { listener } = await Door.open();
    const fd = listener.passable?.fd;
    assert.ok(fd !== undefined);
    const program =
      "require('node:net').createServer().listen({fd: 3}, function () { console.log(this.address().port); this.close(); })";
    const { stdout } = spawnSync(process.execPath, ["-e", program], {
      stdio: ["ignore", "pipe", "inherit", fd],
      encoding: "utf8",
    });
    assert.equal(stdout.trim(), String(listener.port));
    await listener.close();
  });
});

describe("a listener that is passed on", () => {
  it("tells its descriptor while it is open", async () => {
    const { listener } = await Door.open();
    assert.ok((listener.passable?.fd ?? -1) > 2);
    assert.equal(typeof listener.passable?.handle, "object");
    await listener.close();
    assert.equal(listener.passable?.fd, undefined);
    assert.equal(listener.passable?.handle, undefined);
  });

  it("is closed by release, which reports those whom it has accepted while paused, and close does nothing then", async () => {
    const door = await Door.open();
    const { listener } = door;
    listener.pause();
    const socket = connect({ host: "127.0.0.1", port: listener.port });
    await once(socket, "connect");
    await systemClock.sleep(20);
    assert.equal(door.count, 0);
    listener.passable?.release();
    await until(() => door.count === 1);
    (await door.next()).transport.destroy();
    await listener.close();
    listener.passable?.release();
    const refused = connect({ host: "127.0.0.1", port: listener.port });
    const [error] = (await once(refused, "error")) as [NodeJS.ErrnoException];
    assert.equal(error.code, "ECONNREFUSED");
    socket.destroy();
  });

  it("has the name of what it was asked for", async () => {
    const listener = await network.listen({ host: "127.0.0.1", port: 0, purpose: "c2s" }, () => undefined);
    assert.equal(listener.passable?.name, "c2s 127.0.0.1:0");
    await listener.close();
  });
});
