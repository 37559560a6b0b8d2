// Every parser against what is kept of earlier runs, and then against a number of new inputs that the seed decides: a run
// is repeatable. The longer run is `make fuzz`.

import { type Find, fuzzByCount, keptInputs, tryInput } from "../fuzz/harness/fuzzer.ts";
import { TARGETS } from "../fuzz/targets/index.ts";

const SEED = Number(process.env.FUZZ_SEED ?? 1);
const RUNS = Number(process.env.FUZZ_RUNS ?? 1_000);

function told({ input, error }: Find): Error {
  return new Error(`does not stand ${JSON.stringify(input.toString("latin1").slice(0, 2_000))}`, { cause: error });
}

describe("Whatever is read from the network or a disk", () => {
  for (const target of TARGETS) {
    after(() => target.close?.());

    for (const [name, input] of keptInputs("found", target.name)) {
      it(`${target.name} stands ${name}, which it once did not`, async () => {
        const error = await tryInput(target, input);
        if (error !== undefined) throw told({ input, error });
      });
    }

    it(`${target.name} stands its corpus and inputs made from it`, async () => {
      const find = await fuzzByCount(target, RUNS, SEED);
      if (find !== undefined) throw told(find);
    }).timeout(120_000);
  }
});
