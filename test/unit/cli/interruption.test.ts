// Ctrl-C at a command that waits for the server.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { type InterruptedProcess, interruptible } from "../../../src/cli/interruption.ts";

class FakeProcess extends EventEmitter implements InterruptedProcess {
  readonly pid = 17;
  readonly killed: string[] = [];

  kill(pid: number, signal: string): void {
    this.killed.push(`${pid} ${signal}`);
  }
}

function surroundings() {
  const stderr = new PassThrough();
  const port = new FakeProcess();
  return { port, io: { stderr }, text: () => String(stderr.read() ?? "") };
}

describe("a command that is interrupted", () => {
  it("says that the server goes on, and ends as it would have anyway", async () => {
    const { port, io, text } = surroundings();
    void interruptible(io, "it goes on", new Promise<never>(() => undefined), port);
    assert.deepEqual(port.killed, []);
    port.emit("SIGINT");
    assert.deepEqual(port.killed, ["17 SIGINT"]);
    assert.equal(port.listenerCount("SIGINT"), 0, "nobody hears the signal that is to end the process");
    assert.equal(text(), "\nmorendo: it goes on\n");
  });

  it("says nothing when what it waits for is done, or fails", async () => {
    const { port, io, text } = surroundings();
    assert.equal(await interruptible(io, "it goes on", Promise.resolve(5), port), 5);
    await assert.rejects(interruptible(io, "it goes on", Promise.reject(new Error("no")), port), /no/);
    assert.equal(port.listenerCount("SIGINT"), 0);
    assert.equal(text(), "");
  });
});
