// What the presence ledger costs on this machine's disk: `npx tsx test/bench/ledger.ts`. Sessions that come all at once, or a few
// at a time, change their presence and go, each with directed presence to one room.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Ledger } from "../../modules/presence/ledger.ts";
import { Jid, type ModuleApi } from "../../src/module.ts";
import { LmdbStore } from "../../src/store/lmdb.ts";
import type { Write } from "../../src/store/store.ts";
import { systemClock } from "../../src/util/clock.ts";
import { silentLog } from "../../src/util/log.ts";
import { systemRandom } from "../../src/util/random.ts";
import { measured } from "./measure.ts";

const SESSIONS = 20_000;
const PACED = 1_000;
const COLLECTION = "module:presence";

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "ledger-bench-"));
const store = await LmdbStore.open({ path: folder, clock: systemClock });
let batches = 0;
const api = {
  log: silentLog,
  clock: systemClock,
  random: systemRandom,
  storage: {
    batch: (writes: readonly (readonly [Write["key"], string[] | undefined])[]) => {
      batches++;
      return store.batch(
        writes.map(([key, value]) =>
          value === undefined
            ? { op: "delete", collection: COLLECTION, key }
            : { op: "put", collection: COLLECTION, key, value },
        ),
      );
    },
    flushed: () => store.flushed(),
  },
} as unknown as ModuleApi;
const room = Jid.of("room", "rooms.example");
const sessions = Array.from({ length: SESSIONS }, (_, index) => Jid.of(`user${index}`, "a.example", "phone"));
try {
  const ledger = new Ledger(api, SESSIONS * 2);
  ledger.start();
  const memory = heap();
  await measure(`${SESSIONS} sessions come`, SESSIONS, async () => {
    for (const jid of sessions) ledger.told(jid);
    await ledger.written();
  });
  report(`memory of each: ${Math.round((heap() - memory) / SESSIONS)} bytes`);
  await measure("change their presence", SESSIONS, async () => {
    for (const jid of sessions) ledger.told(jid);
    await ledger.written();
  });
  await measure("enter a room", SESSIONS, async () => {
    for (const jid of sessions) ledger.told(jid, room);
    await ledger.written();
  });
  const entries = await store.range(COLLECTION, []);
  const size = entries.reduce((sum, entry) => sum + JSON.stringify(entry).length, 0);
  report(`on the disk: ${Math.round(size / entries.length)} characters each, key and value`);
  await measure("go, and everybody knows", SESSIONS, async () => {
    for (const jid of sessions) {
      for (const farewell of [ledger.farewell(jid, room), ledger.farewell(jid)]) farewell.end();
    }
    await ledger.written();
  });
  await measure(`${PACED} sessions come, five in each 10 ms`, PACED, async () => {
    for (let n = 0; n < PACED; n++) {
      const jid = sessions[n];
      if (jid !== undefined) ledger.told(jid);
      if (n % 5 === 4) await sleep(10);
    }
    await ledger.written();
  });
  await ledger.close();
} finally {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
}

async function measure(what: string, count: number, work: () => Promise<void>): Promise<void> {
  const before = batches;
  const { ms, processorUs } = await measured(work);
  const each = processorUs / count;
  report(
    `${what.padEnd(45)} ${ms.toFixed(0).padStart(6)} ms, ${String(batches - before).padStart(3)} batches, ${each.toFixed(1)} µs of processor time each`,
  );
}

function heap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

function report(text: string): void {
  process.stdout.write(`${text}\n`);
}
