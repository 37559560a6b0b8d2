// Plays simulated runs in a process of its own: `FIRST COUNT [RULES]`. Prints one line of JSON: how many were played and
// what was wrong. With RULES, such as `limits,ghost`, it stops at the first run that breaks one of them.

import { simulate, type Violation } from "../../src/testing/simulation/simulate.ts";

/** What the child found. */
export interface Findings {
  readonly played: number;
  readonly events: number;
  readonly bad: readonly { readonly seed: number; readonly violations: readonly Violation[] }[];
}

/** More need not be told apart. */
const MAX_BAD = 200;

const [first = "1", count = "1", rules] = process.argv.slice(2);
const wanted = rules?.split(",");
const bad: { seed: number; violations: readonly Violation[] }[] = [];
let played = 0;
let events = 0;
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const result = await simulate(seed);
  played++;
  events += result.events;
  if (result.violations.length === 0) continue;
  if (bad.length < MAX_BAD) bad.push({ seed, violations: result.violations });
  if (wanted !== undefined && result.violations.some(({ rule }) => wanted.includes(rule))) break;
}
const findings: Findings = { played, events, bad };
// A mutated server may leave something that would hold the process.
process.stdout.write(`${JSON.stringify(findings)}\n`, () => process.exit());
