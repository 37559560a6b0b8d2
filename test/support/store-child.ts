// A process of its own that writes into a store, to be killed or to share the store with the test. Arguments: the folder,
// what to do, and a name. It tells on its standard output how far it is, one line each.

import { LmdbStore } from "../../src/store/lmdb.ts";
import { systemClock } from "../../src/util/clock.ts";
import { codeOf } from "../../src/util/errors.ts";

const [, , path = "", task = "", name = ""] = process.argv;
const LARGE = "x".repeat(100_000);

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

const store = await LmdbStore.open({ path, clock: systemClock });
switch (task) {
  case "flush-for-ever":
    // Says what is safe only after `flushed` resolved, until somebody kills it.
    for (let number = 0; ; number++) {
      void store.put("numbers", [name, number], LARGE.slice(0, 1_000));
      void store.append("list", [name], number);
      await store.flushed();
      say(String(number));
    }
  case "write":
    for (let number = 0; number < 100; number++) {
      await store.put("numbers", [name, number], LARGE);
      await store.append("list", ["shared"], `${name} ${number}`);
    }
    break;
  case "fill":
    // Writes until it fails, then something small, then says what is there.
    try {
      for (let number = 0; ; number++) {
        await store.batch([
          { op: "put", collection: "numbers", key: [name, number], value: LARGE },
          { op: "put", collection: "marks", key: [number], value: true },
        ]);
        say(String(number));
      }
    } catch (thrown) {
      say(codeOf(thrown) ?? String(thrown));
    }
    say(await store.flushed().then(() => "flushed", String));
    say((await store.put("marks", ["small"], 1).then(() => "written", codeOf)) ?? "no code");
    break;
  default:
    throw new Error(`unknown task ${task}`);
}
await store.close();
say("closed");
