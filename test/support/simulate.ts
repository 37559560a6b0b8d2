// Plays simulated runs from the command line: `npx tsx test/support/simulate.ts SEED` prints the history of one and what
// was wrong with it; `FIRST COUNT` plays many and prints only what was wrong.

import { simulate } from "../../src/testing/simulation/simulate.ts";

const [first = "1", count] = process.argv.slice(2);

if (count === undefined) await playOne(Number(first));
else await playMany(Number(first), Number(count));

async function playOne(seed: number): Promise<void> {
  const { history, violations, fingerprint } = await simulate(seed, { history: true });
  for (const line of history) print(line);
  print(`history ${fingerprint}`);
  for (const { rule, what } of violations) print(`${rule}: ${what}`);
  process.exitCode = violations.length === 0 ? 0 : 1;
}

async function playMany(from: number, total: number): Promise<void> {
  const started = performance.now();
  let bad = 0;
  let events = 0;
  for (let seed = from; seed < from + total; seed++) {
    const result = await simulate(seed);
    events += result.events;
    if (result.violations.length === 0) continue;
    bad++;
    for (const { rule, what } of result.violations) print(`seed ${seed}: ${rule}: ${what}`);
  }
  const ms = performance.now() - started;
  print(
    `${total} seeds, ${bad} with violations, ${(ms / total).toFixed(1)} ms each, ${Math.round(events / total)} events each`,
  );
  process.exitCode = bad === 0 ? 0 : 1;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
