// A client library that is not ours, through a login, a message and a shutdown.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { PASSWORD, startServer } from "../../../src/testing/start-server.ts";

const CHILD = fileURLToPath(new URL("../../support/xmpp-client-child.mjs", import.meta.url));

describe("@xmpp/client", () => {
  it("logs in by STARTTLS, verifying the certificate, and is told of a shutdown", async () => {
    // One that may resume is told nothing, so that it does (stop-start.test.ts).
    const running = await startServer({ c2s: { sm_max: "0s" } });
    const service = `xmpp://127.0.0.1:${running.ports.c2s}`;
    const child = spawn(process.execPath, [CHILD, service, "a.test", "romeo", PASSWORD], {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: join(running.data, "certificates", "a.test.crt") },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines: string[] = [];
    try {
      const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
      for await (const line of createInterface({ input: child.stdout })) {
        lines.push(line);
        if (line === "message hello") void running.stop("moving house");
      }
      assert.equal(await exited, 0);
      assert.ok(lines.includes("roster 0") && lines.includes("online romeo@a.test/lib"), lines.join("\n"));
      assert.ok(lines.includes("error system-shutdown"), lines.join("\n"));
      assert.equal(running.report?.exitCode, 0);
    } finally {
      child.kill();
      await running.dispose();
    }
  });
});
