import assert from "node:assert/strict";
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TokenFailures } from "../../../../src/control/http/failures.ts";
import { hostCheck } from "../../../../src/control/http/host-check.ts";
import { ownTokenFile, Tokens } from "../../../../src/control/http/tokens.ts";
import { ManualClock } from "../../../../src/testing/manual-clock.ts";
import { systemRandom } from "../../../../src/util/random.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

const random = systemRandom;
const SECRET = "a-token-of-at-least-24-characters";

describe("tokens", () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(() => folder.remove());

  it("there is one with all rights from the first start on, for its owner only, and it stays", async () => {
    const data = folder.path;
    await Tokens.load({ data, tokens: [], random });
    const file = ownTokenFile(data);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const token = readFileSync(file, "utf8").trim();
    assert.ok(token.length >= 43);
    const again = await Tokens.load({ data, tokens: [], random });
    assert.equal(again.find(token)?.name, "operator");
    assert.equal(again.find(token)?.may("stop"), true);
    for (const wrong of ["", token.slice(1), `${token}x`, token.toUpperCase()])
      assert.equal(again.find(wrong), undefined, wrong);
  });

  it("further ones have the rights that the configuration names", async () => {
    const file = join(folder.path, "prometheus.token");
    writeFileSync(file, `${SECRET}-2\n`, { mode: 0o640 });
    const tokens = await Tokens.load({
      data: folder.path,
      random,
      tokens: [
        { name: "watcher", token: SECRET, allow: ["status", "watch"] },
        { name: "prometheus", token_file: file, allow: ["metrics"] },
      ],
    });
    const watcher = tokens.find(SECRET);
    assert.equal(watcher?.name, "watcher");
    assert.deepEqual(
      ["status", "watch", "stop", "metrics"].map((right) => watcher?.may(right)),
      [true, true, false, false],
    );
    assert.equal(tokens.find(`${SECRET}-2`)?.may("metrics"), true);
  });

  it("a file that others can read, or that holds no token, or is not there, is refused by name", async () => {
    const data = folder.path;
    const own = ownTokenFile(data);
    await Tokens.load({ data, tokens: [], random });
    for (const mode of [0o644, 0o640, 0o604]) {
      chmodSync(own, mode);
      await assert.rejects(Tokens.load({ data, tokens: [], random }), {
        code: "MORENDO_HTTP_TOKEN",
        message: /http-token can be read by others/,
      });
    }
    chmodSync(own, 0o600);
    for (const text of ["", "short", `${SECRET} and more`, "x".repeat(2_000)]) {
      writeFileSync(own, text);
      await assert.rejects(Tokens.load({ data, tokens: [], random }), { code: "MORENDO_HTTP_TOKEN" }, text);
    }
    const missing = [{ name: "a", token_file: join(data, "nowhere"), allow: [] }];
    writeFileSync(own, SECRET);
    await assert.rejects(Tokens.load({ data, tokens: missing, random }), /nowhere cannot be read/);
  });
});

describe("wrong tokens", () => {
  it("are counted for each address, and too many have to wait a minute", async () => {
    const clock = new ManualClock();
    const failures = new TokenFailures(clock);
    for (let attempt = 0; attempt < 10; attempt++) assert.equal(failures.add("192.0.2.1"), 0);
    await clock.advance(20_000);
    assert.equal(failures.add("192.0.2.1"), 40);
    assert.equal(failures.add("192.0.2.2"), 0);
    await clock.advance(40_000);
    assert.equal(failures.add("192.0.2.1"), 0);
    assert.equal(failures.total, 13);
  });

  it("count together when they come from the network of one user", () => {
    const failures = new TokenFailures(new ManualClock());
    for (let attempt = 0; attempt < 10; attempt++) failures.add(`2001:db8::${attempt}`);
    assert.ok(failures.add("2001:db8::ffff") > 0);
  });
});

describe("the check of Host", () => {
  const isKnown = hostCheck(["Admin.example.org"]);

  it("takes addresses and the names it was told", () => {
    for (const host of [
      "localhost",
      "localhost:5280",
      "127.0.0.1:5280",
      "[::1]:5280",
      "[::1]",
      "192.0.2.7",
      "admin.example.org",
      "ADMIN.example.org:80",
    ])
      assert.ok(isKnown(host), host);
    // HTTP/1.0, which no browser speaks.
    assert.ok(isKnown(undefined));
  });

  it("takes no other name, so that none can be made to point here", () => {
    for (const host of [
      "evil.example",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "",
      "a@localhost",
      "localhost:1:2",
      "local host",
      "::1",
      "0x7f.1",
      "admin.example.org.",
    ])
      assert.ok(!isKnown(host), host);
  });
});
