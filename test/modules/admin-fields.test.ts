// What administrators see of a status and a report in their clients.

import assert from "node:assert/strict";
import { fieldsOf } from "../../modules/admin/fields.ts";

const shown = (result: unknown): Record<string, readonly [label: string | undefined, value: unknown]> =>
  Object.fromEntries(fieldsOf(result).map(({ name, label, value }) => [name, [label, value]]));

describe("results as fields", () => {
  it("have labels for people, and paths as names for programs", () => {
    const status = {
      state: "running",
      hibernating: 2,
      s2s: { outgoing: 1, deep: { er: 1 } },
      suspension: { timeoutMs: 500, late: ["c2s"], participants: [{ name: "c2s", step: "suspend" }] },
    };
    assert.deepEqual(shown(status), {
      state: ["State", ["running"]],
      hibernating: ["Sessions that wait for their clients", ["2"]],
      "s2s.outgoing": ["Streams to other servers", ["1"]],
      "suspension.timeoutMs": ["Suspension: timeout in milliseconds", ["500"]],
      "suspension.late": ["Suspension: late", ["c2s"]],
    });
  });

  it("show of a report what became of everything, and its phases as lines", () => {
    const report = {
      id: "x",
      outcome: "lost",
      hurried: false,
      phases: [
        { name: "close-sessions", outcome: "done", durationMs: 12.7, participants: [] },
        { name: "quit", outcome: "timed-out", durationMs: 5_000 },
      ],
      obligations: { run: { proved: 7, lost: 1, evidence: { pong: 7 } }, running: { proved: 9 } },
      sections: { eventLoop: { longestMs: 5 } },
    };
    assert.deepEqual(shown(report), {
      outcome: ["Outcome", ["lost"]],
      hurried: ["Was told to hurry", ["no"]],
      phases: ["Phases", ["close-sessions: done in 13 ms", "quit: timed-out in 5000 ms"]],
      "obligations.run.proved": ["Stanzas proved to have arrived", ["7"]],
      "obligations.run.lost": ["Stanzas lost", ["1"]],
    });
  });

  it("are bounded, and nothing where there is nothing", () => {
    assert.equal(fieldsOf(Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`f${index}`, 1]))).length, 50);
    assert.deepEqual(fieldsOf(null), []);
    assert.deepEqual(fieldsOf({ a: { b: { c: { d: 1 } } } }), []);
  });
});
