// The files for service managers and containers: what can be checked of them without one.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { configSchema } from "../../../src/config/schema.ts";
import { splitAddress } from "../../../src/server/address.ts";
import { parseDuration } from "../../../src/util/units.ts";
import { skip } from "../../support/skip.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const UNITS = fileURLToPath(new URL("../../../config/systemd/", import.meta.url));
const CONTAINERFILE = fileURLToPath(new URL("../../../config/container/Containerfile", import.meta.url));

const config = configSchema.parse({});

describe("the units for systemd", function () {
  this.timeout(60_000);

  it("pass systemd's own check", async function () {
    if (spawnSync("systemd-analyze", ["--version"]).status !== 0) skip(this, "there is no systemd-analyze here");
    const folder = await temporaryFolder();
    const files = readdirSync(UNITS).map((name) => {
      // The check wants the program to be there.
      const text = readFileSync(join(UNITS, name), "utf8").replaceAll(/^(Exec\w+)=\S+/gm, `$1=${process.execPath}`);
      writeFileSync(join(folder.path, name), text);
      return join(folder.path, name);
    });
    assert.equal(files.length, 4);
    const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", ...files], {
      encoding: "utf8",
      env: { ...process.env, SYSTEMD_LOG_LEVEL: "warning" },
    });
    await folder.remove();
    // What other units of this machine are accused of is not our affair.
    const complaints = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("morendo"));
    assert.deepEqual({ status, complaints }, { status: 0, complaints: [] });
  });

  it("give the server the time that its defaults ask for", () => {
    const { deadline, watchdog_grace: grace } = config.shutdown;
    assert.ok(timeOf("TimeoutStopSec") > deadline + grace);
    assert.ok(timeOf("TimeoutStartSec") > config.restart.timeout);
    assert.match(readFileSync(CONTAINERFILE, "utf8"), /--stop-timeout 45 /);
    assert.ok(45_000 > deadline + grace);
  });

  it("open the ports that the server listens on, by the names that it looks for", () => {
    const found = readdirSync(UNITS)
      .filter((name) => name.endsWith(".socket"))
      .map((name) => readFileSync(join(UNITS, name), "utf8"))
      .map((text) => `${settingIn(text, "FileDescriptorName")} ${settingIn(text, "ListenStream")}`);
    const port = (address = ""): number => splitAddress(address).port;
    const { c2s, s2s } = config;
    assert.deepEqual(found.toSorted(), [
      `c2s ${port(c2s.listen[0])}`,
      `c2s-tls ${port(c2s.listen_tls[0])}`,
      `s2s ${port(s2s.listen[0])}`,
    ]);
  });
});

/** A span of time in the service unit, in milliseconds. */
function timeOf(name: string): number {
  return parseDuration(settingIn(readFileSync(join(UNITS, "morendo.service"), "utf8"), name)) ?? 0;
}

function settingIn(text: string, name: string): string {
  return new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? "";
}
