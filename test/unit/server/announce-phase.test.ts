// When an announced delay ends because nobody is left.

import assert from "node:assert/strict";
import { type AnnouncePhaseOptions, announcePhase } from "../../../src/server/announce-phase.ts";
import type { PhaseName } from "../../../src/server/phases.ts";
import type { PhaseContext } from "../../../src/shutdown/types.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

/** A server with that many sessions, so many of which wait for their clients. */
function scene(counts: { size: number; hibernating: number }) {
  const clock = new ManualClock();
  const ended: string[] = [];
  const options = {
    clock,
    lifecycle: { endDelay: (why: string) => void ended.push(why) },
    sessions: {
      get size() {
        return counts.size;
      },
      all: () => [],
    },
    c2s: {
      get hibernating() {
        return counts.hibernating;
      },
      isHibernating: () => true,
    },
  } as unknown as AnnouncePhaseOptions;
  const controller = new AbortController();
  const context = { signal: controller.signal, announcement: "Moving house", progress: () => undefined };
  const run = Promise.resolve(announcePhase(options).run(context as unknown as PhaseContext<PhaseName>));
  return { clock, ended, run };
}

describe("an announced delay", () => {
  it("ends at once where nobody is connected and no session waits", async () => {
    const { ended, run } = scene({ size: 0, hibernating: 0 });
    await run;
    assert.deepEqual(ended, ["nobody is left"]);
  });

  it("gives clients half a minute to come back where nobody is connected yet", async () => {
    const counts = { size: 2, hibernating: 2 };
    const { clock, ended, run } = scene(counts);
    await clock.advance(29_000);
    assert.deepEqual(ended, []);
    await clock.advance(2_000);
    await run;
    assert.deepEqual(ended, ["nobody is left"]);
  });

  it("ends as soon as all have left once they were back", async () => {
    const counts = { size: 2, hibernating: 2 };
    const { clock, ended, run } = scene(counts);
    await clock.advance(1_000);
    counts.hibernating = 1;
    await clock.advance(60_000);
    assert.deepEqual(ended, []);
    counts.hibernating = 2;
    await clock.advance(1_000);
    await run;
    assert.deepEqual(ended, ["nobody is left"]);
  });
});
