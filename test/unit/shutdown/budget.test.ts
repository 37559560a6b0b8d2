// The rules of the shared deadline, as properties over arbitrary plans and phases that take arbitrary times.

import assert from "node:assert/strict";
import fc from "fast-check";
import { Budget } from "../../../src/shutdown/budget.ts";
import type { PhasePlan } from "../../../src/shutdown/types.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

const ms = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });

/** A plan whose ceilings are not below its floors, with the time each phase would take. */
const phases = fc.array(fc.record({ floorMs: ms(3_000), extraMs: ms(20_000), wantsMs: ms(30_000) }), {
  minLength: 1,
  maxLength: 7,
});

function planOf(list: readonly { floorMs: number; extraMs: number }[]): PhasePlan[] {
  return list.map(({ floorMs, extraMs }, index) => ({ name: `p${index}`, floorMs, ceilingMs: floorMs + extraMs }));
}

const EPSILON = 1e-6;

describe("Budget", () => {
  it("never lets the phases together pass the deadline, save the last by its floor", async () => {
    await fc.assert(
      fc.asyncProperty(phases, ms(40_000), async (list, totalMs) => {
        const clock = new ManualClock();
        const plan = planOf(list);
        const budget = new Budget({ clock, totalMs, plan });
        for (const [index, phase] of plan.entries()) {
          const share = budget.share(phase.name);
          const isLast = index === plan.length - 1;
          assert.ok(share >= 0 && share <= phase.ceilingMs);
          if (!isLast) assert.ok(clock.now() + share <= totalMs + EPSILON);
          else assert.ok(clock.now() + share <= totalMs + phase.floorMs + EPSILON);
          if (isLast) assert.ok(share >= phase.floorMs);
          await clock.advance(Math.min(share, list[index]?.wantsMs ?? 0));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("gives every phase its floor whatever the others take, when the floors fit", async () => {
    await fc.assert(
      fc.asyncProperty(phases, ms(20_000), async (list, spareMs) => {
        const clock = new ManualClock();
        const plan = planOf(list);
        const totalMs = spareMs + plan.reduce((sum, { floorMs }) => sum + floorMs, 0);
        const budget = new Budget({ clock, totalMs, plan });
        for (const [index, phase] of plan.entries()) {
          const share = budget.share(phase.name);
          assert.ok(share >= phase.floorMs - EPSILON);
          await clock.advance(Math.min(share, list[index]?.wantsMs ?? 0));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("shrinks all floors in proportion when they do not fit, so that nobody starves", () => {
    const clock = new ManualClock();
    const plan = [
      { name: "a", floorMs: 3_000, ceilingMs: 9_000 },
      { name: "b", floorMs: 1_000, ceilingMs: 9_000 },
    ];
    const budget = new Budget({ clock, totalMs: 2_000, plan });
    assert.equal(budget.share("a"), 1_500);
  });

  it("lets unused time flow on to the next phase", async () => {
    const clock = new ManualClock();
    const plan = ["a", "b", "c"].map((name) => ({ name, floorMs: 1_000, ceilingMs: 20_000 }));
    const budget = new Budget({ clock, totalMs: 10_000, plan });
    assert.equal(budget.share("a"), 8_000);
    await clock.advance(500);
    assert.equal(budget.share("b"), 8_500);
    await clock.advance(8_500);
    assert.equal(budget.share("c"), 1_000);
  });

  it("can shrink and never grow", () => {
    const clock = new ManualClock();
    const budget = new Budget({ clock, totalMs: 10_000, plan: [{ name: "a", floorMs: 0, ceilingMs: 20_000 }] });
    budget.shrink(2_000);
    assert.equal(budget.remaining(), 2_000);
    budget.shrink(5_000);
    assert.equal(budget.remaining(), 2_000);
  });
});
