// How `morendo plan` reads for people.

import assert from "node:assert/strict";
import { describePlan } from "../../../src/cli/commands/plan.ts";
import type { PlannedPhase, ShutdownPlan } from "../../../src/server/plan.ts";

const phase = (change: Partial<PlannedPhase> & Pick<PlannedPhase, "name">): PlannedPhase => ({
  optional: false,
  cancellable: false,
  budgetMs: 5_000,
  floorMs: 1_000,
  ceilingMs: 5_000,
  participants: [],
  ...change,
});

const PLAN: ShutdownPlan = {
  version: 1,
  state: "running",
  budgetMs: 25_000,
  delayMs: 0,
  phases: [
    phase({ name: "announce", optional: true, cancellable: true, budgetMs: 0, floorMs: 0, ceilingMs: 0 }),
    phase({ name: "stop-accepting", cancellable: true, participants: [{ name: "c2s", when: "during" }] }),
    phase({
      name: "close-sessions",
      participants: [
        { name: "muc", when: "before", limitMs: 2_000 },
        { name: "jobs", when: "before" },
        { name: "c2s", when: "during" },
        { name: "last", when: "after" },
      ],
    }),
    phase({ name: "quit" }),
  ],
  numbers: {
    sessions: 12,
    available: 10,
    resumable: 6,
    notLoggedIn: 3,
    goodbyes: { local: 20, remote: 7 },
    remote: { warm: 4, cold: 22, coldWithQueue: 1, owed: 23, coldNames: ["b.test", "c.test"] },
    stanzas: { queued: 5, unproved: 6, owed: 11 },
  },
  estimate: { atMostMs: 26_000, basis: "no earlier run to go by", phases: [] },
};

describe("the plan for people", () => {
  it("has the phases with their times and who takes part, and what there is to do", () => {
    assert.equal(
      describePlan(PLAN),
      `A stop now would have 25s:

  phase           up to    floor    ceiling  who
  announce        -        -        -        only when asked for
  stop-accepting  5s       1s       5s       c2s
  - - - from here on it cannot be cancelled - - -
  close-sessions  5s       1s       5s       before: muc (2s), jobs
                                             c2s
                                             after: last
  quit            5s       1s       5s       nobody

There is to do:
  sessions     12, of which 10 available, 6 to be resumed after a start; 3 connections that have not logged in
  goodbyes     7 to other servers, 20 here (by the rosters of who is available)
  domains      4 warm, 22 cold (1 with stanzas waiting): b.test, c.test and 20 more
  stanzas      5 waiting for other servers, 6 sent without proof so far

Estimate: no earlier run to go by
In any case it is over within 26s.`,
    );
  });

  it("says what an estimate goes by, phase by phase", () => {
    const basis = "400 ms last time, with 10 sessions; now: 20";
    const phases = [{ name: "close-sessions", fromMs: 400, toMs: 800, basis }] as const;
    const estimate = { atMostMs: 26_000, basis: "the stop of yesterday, clean", fromMs: 400, toMs: 800, phases };
    const text = describePlan({ ...PLAN, estimate });
    assert.match(text, /^Estimate: 400ms to 800ms, going by the stop of yesterday, clean$/m);
    assert.match(text, /^ {2}close-sessions {2}400ms to 800ms {4}400 ms last time, with 10 sessions; now: 20$/m);
  });
});
