// Client libraries that are not ours resume their sessions when the connection is killed under them.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { SlowProxy } from "../../../src/testing/slow-proxy.ts";
import { PASSWORD, startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { skip } from "../../support/skip.ts";
import { PYTHON, slixmppMissing } from "../../support/slixmpp.ts";
import { SmClient } from "../../support/sm-client.ts";
import { waitUntil } from "../../support/wire.ts";

const NODE_CHILD = fileURLToPath(new URL("../../support/sm-library-child.mjs", import.meta.url));
const PYTHON_CHILD = fileURLToPath(new URL("../../support/sm-library-child.py", import.meta.url));

/** Each library: why it cannot be tried here, if so, and how its user is started. */
const LIBRARIES = {
  "@xmpp/client": {
    missing: (): string | undefined => undefined,
    start: (args: readonly string[], certificate: string): ChildProcess =>
      spawn(process.execPath, [NODE_CHILD, ...args], {
        env: { ...process.env, NODE_EXTRA_CA_CERTS: certificate },
        stdio: ["pipe", "pipe", "inherit"],
      }),
  },
  slixmpp: {
    missing: slixmppMissing,
    start: (args: readonly string[], certificate: string): ChildProcess =>
      spawn(PYTHON[0], [...PYTHON.slice(1), PYTHON_CHILD, ...args, certificate], { stdio: ["pipe", "pipe", "ignore"] }),
  },
};

for (const [name, library] of Object.entries(LIBRARIES)) {
  describe(`stream management with ${name}`, () => {
    let running: TestServer;
    let proxy: SlowProxy;
    let child: ChildProcess | undefined;
    const lines: string[] = [];
    const said = (line: string): number => lines.filter((one) => one === line).length;

    before(async function () {
      const reason = library.missing();
      if (reason !== undefined) skip(this, reason);
      running = await startServer();
      proxy = await SlowProxy.start({ host: "127.0.0.1", port: running.ports.c2s });
      const { address, port } = proxy;
      const certificate = join(running.data, "certificates", "a.test.crt");
      child = library.start([address, String(port), "a.test", "juliet", PASSWORD], certificate);
      if (child.stdout === null) throw new Error("no output");
      createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
    });

    after(async () => {
      child?.kill();
      await proxy?.stop();
      await running?.dispose();
    });

    it("resumes after each break, and gets what came meanwhile once", async () => {
      const romeo = await SmClient.start(running, "romeo", "1");
      await waitUntil(() => said("online juliet@a.test/lib") === 1, `juliet to be online: ${lines.join()}`);
      // What comes after that comes after the answer to the library's `<enable/>`: it knows that it may resume.
      await waitUntil(() => running.status.resumable === 2, "two sessions that can be resumed");
      let count = 0;
      const send = (): void => romeo.message("juliet@a.test", `m${++count}`);
      send();
      await waitUntil(() => said("message m1") === 1, "the first message");
      for (let round = 1; round <= 3; round++) {
        // Some are on their way when it breaks, some come while nobody is there, some after.
        for (let index = 0; index < 5; index++) send();
        proxy.reset();
        for (let index = 0; index < 5; index++) send();
        await waitUntil(() => said("resumed") === round, `resumption ${round}: ${lines.join()}`);
        send();
        const last = `message m${count}`;
        await waitUntil(() => said(last) === 1, last);
        child?.stdin?.write(`send romeo@a.test/1 reply${round}\n`);
        await romeo.got(`reply${round}`);
      }
      const expected = Array.from({ length: count }, (_, index) => `message m${index + 1}`);
      assert.deepEqual(
        lines.filter((line) => line.startsWith("message")),
        expected,
      );
      assert.deepEqual(romeo.bodies, ["reply1", "reply2", "reply3"]);
      assert.equal(said("online juliet@a.test/lib"), 1);
      assert.equal(running.status.sessions, 2);
    }).timeout(60_000);
  });
}
