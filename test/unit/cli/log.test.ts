import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { makeLog, shortLine } from "../../../src/cli/log.ts";

/** A terminal that remembers what was written to it. */
function terminal(): { stdout: Writable & { isTTY: true }; text(): string } {
  let text = "";
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  return { stdout: Object.assign(stdout, { isTTY: true as const }), text: () => text };
}

describe("the log on a terminal", () => {
  it("is short lines for people", () => {
    const line = shortLine({ level: 40, time: Date.UTC(2026, 0, 1), msg: "a peer left", peer: "b.test", after: 3 });
    assert.match(line, /^\d\d:\d\d:\d\d warning: a peer left \(peer: b\.test, after: 3\)$/);
    assert.match(shortLine({ level: 30, time: 0, msg: "ready" }), /^\d\d:\d\d:\d\d ready$/);
  });

  it("shows control characters instead of obeying them", () => {
    assert.match(shortLine({ level: 30, time: 0, msg: "x\u001b[2Jy\n" }), / x\\x1b\[2Jy\\x0a$/);
  });

  it("keeps warnings back while something else is on the screen, but not errors", () => {
    const { stdout, text } = terminal();
    const { log, hold } = makeLog({ level: "info", file: undefined }, { stdout });
    const release = hold();
    log.info({}, "an info");
    log.warn({}, "a warning");
    log.error({}, "an error");
    assert.match(text(), /an error/);
    assert.doesNotMatch(text(), /a warning/);
    release();
    assert.match(text(), /a warning/);
    assert.doesNotMatch(text(), /an info/);
    log.info({}, "later");
    assert.match(text(), /later/);
  });

  it("leaves out what is below the level", () => {
    const { stdout, text } = terminal();
    makeLog({ level: "warn", file: undefined }, { stdout }).log.info({}, "an info");
    assert.equal(text(), "");
  });
});
