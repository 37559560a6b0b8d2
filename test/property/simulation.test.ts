// Thousands of simulated runs, each with its own clients, peers and mishaps, in two processes: every stanza accepted has
// exactly one fate, every phase keeps its limits, nothing is proved that is missing at the peer. A run that breaks a rule
// is printed with its whole history. SIMULATION_SEEDS says how many, SIMULATION_FIRST from which seed on.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { simulate } from "../../src/testing/simulation/simulate.ts";
import { NODE, runnable } from "../support/program.ts";
import type { Findings } from "../support/simulation-child.ts";

const SEEDS = Number(process.env.SIMULATION_SEEDS ?? 6_000);
const FIRST = Number(process.env.SIMULATION_FIRST ?? 1);
const CHILD = runnable(new URL("../support/simulation-child.ts", import.meta.url));
const REPLAY = runnable(new URL("../support/simulate.ts", import.meta.url));
/** Histories are long. */
const SHOWN = 2;

describe("simulated runs", function () {
  this.timeout(Math.max(60_000, SEEDS * 200));

  it("break no rule", async () => {
    const half = Math.ceil(SEEDS / 2);
    const [one, other] = await Promise.all([play(FIRST, half), play(FIRST + half, SEEDS - half)]);
    assert.equal(one.played + other.played, SEEDS);
    assert.ok(one.events + other.events > SEEDS * 100, "hardly anything happened");
    const bad = [...one.bad, ...other.bad];
    if (bad.length > 0) assert.fail(await describeBad(bad));
  });

  it("are the same for the same seed, in this process and in another", async () => {
    for (const seed of [1, 17, 120, 548, 2_091]) {
      const first = await simulate(seed, { history: true });
      const again = await simulate(seed, { history: true });
      const { stdout } = await run(REPLAY, String(seed));
      assert.ok(first.history.length > 10, `seed ${seed} has a history`);
      assert.equal(again.fingerprint, first.fingerprint, `seed ${seed} again`);
      assert.ok(stdout.includes(`history ${first.fingerprint}`), `seed ${seed} in another process`);
    }
  });

  it("go the same way whether their history is kept or not", async () => {
    for (const seed of [5, 88, 407]) {
      const [kept, unkept] = [await simulate(seed, { history: true }), await simulate(seed)];
      assert.deepEqual([unkept.events, unkept.virtualMs], [kept.events, kept.virtualMs]);
    }
  });
});

async function play(first: number, count: number): Promise<Findings> {
  const { stdout } = await run(CHILD, String(first), String(count));
  return JSON.parse(stdout) as Findings;
}

async function run(script: string, ...args: string[]): Promise<{ stdout: string }> {
  const [node, ...command] = [...NODE, script, ...args] as const;
  try {
    return await promisify(execFile)(node, command, { maxBuffer: 256 * 1024 * 1024 });
  } catch (thrown) {
    // A replay that breaks a rule says so by its exit code, too.
    const { stdout } = thrown as { stdout?: string };
    if (stdout === undefined || stdout === "") throw thrown;
    return { stdout };
  }
}

async function describeBad(bad: Findings["bad"]): Promise<string> {
  const parts = [
    `${bad.length} of ${SEEDS} runs broke a rule: seeds ${bad
      .map(({ seed }) => seed)
      .slice(0, 50)
      .join(", ")}`,
  ];
  for (const { seed, violations } of bad.slice(0, SHOWN)) {
    const { history } = await simulate(seed, { history: true });
    parts.push(
      ...history,
      ...violations.map(({ rule, what }) => `seed ${seed}: ${rule}: ${what}`),
      `to see it again: npx tsx test/support/simulate.ts ${seed}`,
    );
  }
  return parts.join("\n");
}
