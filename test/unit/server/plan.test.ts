// What a stop would do now: the shares of the phases, what is counted, and that nothing is estimated without a basis.

import assert from "node:assert/strict";
import { PHASES, type PhaseName } from "../../../src/server/phases.ts";
import { type PlanInput, planShutdown } from "../../../src/server/plan.ts";
import { countForPlan, type PlanNumbers, type PlanSubject } from "../../../src/server/plan-numbers.ts";
import type { RosterItem } from "../../../src/server/rosters.ts";
import type { LinkStatus } from "../../../src/server/s2s/links.ts";
import type { DrainReport, PhaseReport } from "../../../src/shutdown/report.ts";
import type { Participant, PhasePlan } from "../../../src/shutdown/types.ts";
import { ModuleHost } from "../../../src/testing/module-host.ts";
import { jid, stanza } from "../../support/stanzas.ts";

const NOTHING: PlanNumbers = {
  sessions: 0,
  available: 0,
  resumable: 0,
  notLoggedIn: 0,
  goodbyes: { local: 0, remote: 0 },
  remote: { warm: 0, cold: 0, coldWithQueue: 0, owed: 0, coldNames: [] },
  stanzas: { queued: 0, unproved: 0, owed: 0 },
};

const PLAN: readonly PhasePlan<PhaseName>[] = PHASES.map((name) =>
  name === "announce"
    ? { name, floorMs: 0, ceilingMs: 0, optional: true, isDelay: true }
    : { name, floorMs: 1_000, ceilingMs: name === "drain-s2s" ? 20_000 : 5_000 },
);

function plan(given: Partial<PlanInput> = {}) {
  return planShutdown({
    state: "running",
    plan: PLAN,
    budgetMs: 10_000,
    delayMs: 0,
    participants: () => [],
    numbers: NOTHING,
    previous: undefined,
    ...given,
  });
}

function phaseReport(name: PhaseName, durationMs: number, change: Partial<PhaseReport> = {}): PhaseReport {
  const outcome = name === "announce" ? "skipped" : "done";
  return { name, outcome, durationMs, budgetMs: 5_000, participants: [], leaseHolders: [], ...change };
}

/** A run with 10 sessions and 4 domains. */
function report(change: Partial<DrainReport> = {}, phases: Partial<Record<PhaseName, PhaseReport>> = {}): DrainReport {
  const none = { proved: 0, stored: 0, returned: 0, dropped: 0, lost: 0 };
  const totals = { ...none, evidence: { "sm-ack": 0, pong: 0, closed: 0, written: 0 } };
  const destination = (name: string) => ({ destination: name, ...totals, lostNames: [], lostUnnamed: 0 });
  const times = { announce: 0, "stop-accepting": 10, "close-sessions": 400, "server-stopping": 0, quit: 30 };
  return {
    version: 1,
    id: "run",
    cause: "stop",
    reason: "",
    trigger: "test",
    startedAt: "2026-01-01T00:00:00.000Z",
    durationMs: 1_000,
    budgetMs: 10_000,
    startupMs: 0,
    hurried: false,
    skippedToEnd: false,
    phases: PHASES.map((name) => phases[name] ?? phaseReport(name, { ...times, "drain-s2s": 800 }[name])),
    obligations: { running: totals, run: totals, destinations: ["b", "c", "d", "e"].map(destination) },
    sections: { sessions: { answered: 7, unanswered: 2, cut: 1, named: [] } },
    repeatedRequests: [],
    repeatedCount: 0,
    outcome: "clean",
    exitCode: 0,
    ...change,
  };
}

describe("planShutdown", () => {
  it("lists the phases in their order, with what each may use at the most", () => {
    const { phases } = plan();
    assert.deepEqual(
      phases.map(({ name }) => name),
      PHASES,
    );
    assert.deepEqual(
      phases.map(({ budgetMs }) => budgetMs),
      // The deadline less the floors of those that follow, and no more than the ceiling.
      [0, 5_000, 5_000, 5_000, 9_000, 5_000],
    );
    assert.deepEqual(
      phases.map(({ optional }) => optional),
      [true, false, false, false, false, false],
    );
    assert.deepEqual(
      phases.map(({ cancellable }) => cancellable),
      [true, true, false, false, false, false],
    );
  });

  it("lists who takes part: before, during, after, with their limits", () => {
    const run = (): void => undefined;
    const participants: Participant<PhaseName>[] = [
      { name: "late", when: "after", run },
      { name: "c2s", run },
      { name: "last-message", when: "before", timeoutMs: 5_000, run },
    ];
    const { phases } = plan({ participants: (name) => (name === "close-sessions" ? participants : []) });
    assert.deepEqual(phases[2]?.participants, [
      { name: "last-message", when: "before", limitMs: 5_000 },
      { name: "c2s", when: "during" },
      { name: "late", when: "after" },
    ]);
  });

  it("gives only the bounds when there was no run before", () => {
    assert.deepEqual(plan().estimate, { atMostMs: 11_000, basis: "no earlier run to go by", phases: [] });
  });

  it("goes by the last run: what a phase took, and the pace for what it goes through one by one", () => {
    const numbers = { ...NOTHING, sessions: 20, remote: { ...NOTHING.remote, owed: 2 } };
    const { estimate } = plan({ numbers, previous: report() });
    assert.equal(estimate.basis, "the stop of 2026-01-01T00:00:00.000Z, clean");
    assert.deepEqual(
      estimate.phases.map(({ name, fromMs, toMs }) => [name, fromMs, toMs]),
      [
        ["stop-accepting", 10, 10],
        // Twice as many sessions, half as many domains.
        ["close-sessions", 400, 800],
        ["server-stopping", 0, 0],
        ["drain-s2s", 400, 800],
        ["quit", 30, 30],
      ],
    );
    assert.deepEqual([estimate.fromMs, estimate.toMs], [840, 1_640]);
    assert.equal(estimate.phases[1]?.basis, "400 ms last time, with 10 sessions; now: 20");
  });

  it("names a bound instead of a number where the last run had nothing of the kind", () => {
    const numbers = { ...NOTHING, sessions: 20 };
    const previous = report({ sections: {} });
    const { estimate } = plan({ numbers, previous });
    const phase = estimate.phases[1];
    assert.deepEqual([phase?.fromMs, phase?.toMs], [0, 5_000]);
    assert.equal(phase?.basis, "its bound: there was no session last time, now: 20");
  });

  it("names a bound for a phase that was cut off last time", () => {
    const cut = { "drain-s2s": phaseReport("drain-s2s", 9_000, { outcome: "timed-out", skipped: "out of time" }) };
    const { estimate } = plan({ previous: report({}, cut) });
    const phase = estimate.phases[3];
    assert.deepEqual([phase?.fromMs, phase?.toMs], [0, 9_000]);
    assert.match(phase?.basis ?? "", /cut off after 9000 ms/);
  });

  it("never estimates more than the bounds allow", () => {
    const { estimate } = plan({ numbers: { ...NOTHING, sessions: 1_000_000 }, previous: report() });
    assert.equal(estimate.phases[1]?.toMs, 5_000);
    assert.ok((estimate.toMs ?? Number.NaN) <= estimate.atMostMs);
  });

  for (const [what, change] of Object.entries({
    "was told to hurry": { hurried: true },
    "was told to skip to its end": { skippedToEnd: true },
    "was made by a fault": { error: "boom" },
    "was of another kind": { cause: "suspend" },
    "was cancelled": { outcome: "cancelled" },
  } satisfies Record<string, Partial<DrainReport>>)) {
    it(`does not go by a run that ${what}`, () => {
      const { estimate } = plan({ previous: report(change) });
      assert.equal(estimate.toMs, undefined);
      assert.match(estimate.basis, new RegExp(`^no earlier run to go by: the .* ${what}$`));
    });
  }
});

describe("countForPlan", () => {
  const link = (remote: string, state: LinkStatus["state"], queued = 0, unproved = 0): LinkStatus => {
    return { local: "a.test", remote, state, queued, unproved };
  };

  async function subject(links: readonly LinkStatus[]): Promise<PlanSubject & { readonly host: ModuleHost }> {
    const host = new ModuleHost();
    const { sessions, rosters, clock } = host;
    const counts = { notLoggedIn: 3, resumable: 1, owed: 9 };
    return { hosts: new Set(["a.test"]), sessions, rosters, ...counts, isToldOf: () => true, links, clock, host };
  }

  const contact = (address: string, subscription: RosterItem["subscription"]): RosterItem => {
    return { jid: address, groups: [], subscription };
  };

  it("counts sessions, goodbyes, warm and cold domains", async () => {
    const links = [link("warm.test", "open", 0, 2), link("queue.test", "backing-off", 5), link("old.test", "idle")];
    const asked = await subject(links);
    const romeo = jid("romeo@a.test");
    await asked.host.rosters.importItems(romeo, [
      contact("juliet@a.test", "both"),
      contact("w@warm.test", "from"),
      contact("c@cold.test", "both"),
      contact("d@cold.test", "from"),
      // They do not see romeo: nobody has to tell them.
      contact("x@elsewhere.test", "to"),
      contact("y@elsewhere.test", "none"),
    ]);
    const presence = stanza("presence", { from: "romeo@a.test/x" });
    for (const resource of ["x", "y"]) asked.host.bind(`romeo@a.test/${resource}`).presence = presence;
    asked.host.bind("romeo@a.test/silent");
    assert.deepEqual(await countForPlan(asked), {
      sessions: 3,
      available: 2,
      resumable: 1,
      notLoggedIn: 3,
      goodbyes: { local: 2, remote: 6 },
      remote: { warm: 1, cold: 2, coldWithQueue: 1, owed: 3, coldNames: ["queue.test", "cold.test"] },
      stanzas: { queued: 5, unproved: 2, owed: 9 },
    });
  });

  it("counts no goodbyes of sessions of which contacts hear nothing", async () => {
    const asked = await subject([]);
    await asked.host.rosters.importItems(jid("romeo@a.test"), [
      contact("juliet@a.test", "both"),
      contact("c@b.test", "from"),
    ]);
    for (const resource of ["kept", "ending"]) {
      asked.host.bind(`romeo@a.test/${resource}`).presence = stanza("presence", { from: `romeo@a.test/${resource}` });
    }
    const { available, goodbyes } = await countForPlan({
      ...asked,
      isToldOf: (session) => session.jid.resource !== "kept",
    });
    assert.deepEqual([available, goodbyes], [2, { local: 1, remote: 1 }]);
  });

  it("counts a domain once, however many of our hosts speak to it", async () => {
    const links = [link("b.test", "open"), { ...link("b.test", "open"), local: "two.test" }];
    const { remote } = await countForPlan(await subject(links));
    assert.deepEqual([remote.warm, remote.cold], [1, 0]);
  });

  it("names no more than twenty cold domains, and counts all", async () => {
    const links = Array.from({ length: 30 }, (_, index) => link(`b${index}.test`, "dialling", 1));
    const { remote } = await countForPlan(await subject(links));
    assert.deepEqual([remote.cold, remote.coldNames.length], [30, 20]);
  });
});
