// Sockets that a service manager opens: what the variables may say, and the real thing by systemd-socket-activate.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { activatedListeners } from "../../../src/handover/index.ts";
import { codeOf } from "../../../src/util/errors.ts";
import { freeAddress } from "../../support/addresses.ts";
import { ask, HandoverScene } from "../../support/handover-scene.ts";
import { NODE } from "../../support/program.ts";
import { skip } from "../../support/skip.ts";

describe("socket activation", function () {
  this.timeout(60_000);

  it("passes nothing when there is nothing, or when it is for another process", () => {
    assert.deepEqual(activatedListeners({}, 7), []);
    const environment = { LISTEN_PID: "8", LISTEN_FDS: "2", LISTEN_FDNAMES: "a:b", HOME: "/" };
    assert.deepEqual(activatedListeners(environment, 7), []);
    assert.deepEqual(environment, { HOME: "/" }, "whoever we start must not take them for its own");
  });

  it("refuses values that make no sense", () => {
    for (const wrong of [
      { LISTEN_PID: "x", LISTEN_FDS: "1" },
      { LISTEN_PID: "7", LISTEN_FDS: "-1" },
      { LISTEN_PID: "7", LISTEN_FDS: "99999" },
      { LISTEN_PID: "7", LISTEN_FDS: "2", LISTEN_FDNAMES: "c2s" },
      { LISTEN_PID: "7", LISTEN_FDS: "1000" },
    ]) {
      const isRefused = (thrown: unknown): boolean => codeOf(thrown) === "MORENDO_HANDOVER_ENVIRONMENT";
      assert.throws(() => activatedListeners({ ...wrong }, 7), isRefused, JSON.stringify(wrong));
    }
  });

  it("gives a server its listeners by name, and a restart hands them on", async function () {
    if (spawnSync("systemd-socket-activate", ["--version"]).status !== 0) skip(this, "no systemd-socket-activate here");
    const address = await freeAddress();
    const [one, two] = [`${address}:15222`, `${address}:15269`];
    const listen = ["-l", one, "-l", two];
    const setenv = ["--setenv=HANDOVER_TEST"];
    const scene = new HandoverScene({
      // Configured in the other order, and for other addresses: the names decide.
      settings: { listen: ["127.0.0.1:1", "127.0.0.1:2"] },
      command: ["systemd-socket-activate", ...listen, "--fdname=l1:l0", ...setenv, ...NODE],
    });
    try {
      const first = await askWhenThere(one);
      const { pid, addresses } = await scene.ready(1);
      assert.equal(first, `1 ${pid} 1 ping`);
      assert.deepEqual(addresses, [two, one]);
      const outcome = await scene.restart(pid);
      assert.ok(outcome.ok, JSON.stringify(outcome));
      assert.deepEqual(await scene.ready(2), { pid: outcome.pid, addresses: [two, one] });
      assert.equal(await ask(two), `2 ${outcome.pid} 2 ping`);
    } finally {
      await scene.end();
    }
  });
});

async function askWhenThere(address: string): Promise<string> {
  for (;;) {
    try {
      return await ask(address);
    } catch (thrown) {
      if (codeOf(thrown) !== "ECONNREFUSED") throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
