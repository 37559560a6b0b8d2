// The longer run by hand: `make fuzz TARGET=xml SECONDS=60 SEED=1`; without a target all of them, one after the other.
// What reaches new code goes into `corpus`, what a target does not stand into `found`, where a test plays it from then on.

import { fuzzByTime, keepInput } from "./harness/fuzzer.ts";
import { TARGETS } from "./targets/index.ts";

const { TARGET = "", SECONDS = "30", SEED = String(process.pid) } = process.env;
const chosen = TARGETS.filter(({ name }) => TARGET === "" || name === TARGET);
if (chosen.length === 0) throw new Error(`no such target; there are ${TARGETS.map(({ name }) => name).join(", ")}`);

let isClean = true;
for (const target of chosen) {
  const { runs, blocks, added, finds } = await fuzzByTime(target, Number(SECONDS) * 1_000, Number(SEED));
  await target.close?.();
  process.stdout.write(
    `${target.name}: ${runs} runs, ${blocks} blocks, ${added} new in the corpus, ${finds.length} found\n`,
  );
  for (const { input, error } of finds) {
    isClean = false;
    process.stdout.write(
      `  ${keepInput("found", target.name, input)}\n  ${JSON.stringify(input.toString("latin1").slice(0, 300))}\n  ${error.stack}\n`,
    );
  }
}
process.exitCode = isClean ? 0 : 1;
