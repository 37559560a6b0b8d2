// Signals and uncaught errors on a process that is not one.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { type Logger, listenToSignals, type StopRequest, silentLog } from "../../../src/shutdown/index.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

function setUp(callbacks: { reload?: () => void } = {}): {
  port: EventEmitter;
  clock: ManualClock;
  calls: string[];
  warnings: string[];
  off: () => void;
} {
  const port = new EventEmitter();
  const clock = new ManualClock();
  const calls: string[] = [];
  const warnings: string[] = [];
  const log: Logger = { ...silentLog, warn: (_fields, message) => void warnings.push(message) };
  const lifecycle = {
    request: undefined as StopRequest | undefined,
    stop: (request: StopRequest) => {
      lifecycle.request = request;
      calls.push(`stop ${request.trigger}${request.error === undefined ? "" : ` ${request.error.message}`}`);
      return Promise.resolve();
    },
    hurry: () => void calls.push("hurry"),
    skipToEnd: () => void calls.push("skip"),
  };
  return { port, clock, calls, warnings, off: listenToSignals({ lifecycle, clock, log, port, ...callbacks }) };
}

describe("listenToSignals", () => {
  it("stops at the first, hurries at the second, skips at the third, whichever of the two it is", async () => {
    const { port, clock, calls } = setUp();
    for (const signal of ["SIGTERM", "SIGINT", "SIGTERM", "SIGINT"]) {
      port.emit(signal);
      await clock.advance(500);
    }
    assert.deepEqual(calls, ["stop SIGTERM", "hurry", "skip", "skip"]);
  });

  it("counts a signal that arrives doubled, as under npm, once", async () => {
    const { port, clock, calls } = setUp();
    port.emit("SIGINT");
    await clock.advance(5);
    port.emit("SIGINT");
    assert.deepEqual(calls, ["stop SIGINT"]);
  });

  it("reloads at SIGHUP and says when restarting is not available", () => {
    let reloads = 0;
    const { port, warnings } = setUp({ reload: () => void reloads++ });
    port.emit("SIGHUP");
    port.emit("SIGUSR2");
    assert.equal(reloads, 1);
    assert.match(warnings[0] ?? "", /SIGUSR2 is not available/);
  });

  it("survives a reload that throws", () => {
    const { port, calls } = setUp({
      reload: () => {
        throw new Error("bad file");
      },
    });
    port.emit("SIGHUP");
    assert.deepEqual(calls, []);
  });

  it("turns uncaught errors into a stop", () => {
    const { port, calls } = setUp();
    port.emit("uncaughtException", new Error("one"));
    port.emit("unhandledRejection", "two");
    assert.deepEqual(calls, ["stop fatal error one", "stop fatal error two"]);
  });

  it("leaves nothing behind when it is taken off", () => {
    const { port, off } = setUp();
    off();
    assert.deepEqual(port.eventNames(), []);
  });
});
