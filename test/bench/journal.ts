// What the journal of s2s costs on this machine's disk: `npx tsx test/bench/journal.ts`. Writing down what has no proof at the
// end of a stop, taking it up at the next start, and what each message waits for with `journal_before_ack`.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configSchema } from "../../src/config/schema.ts";
import { Fates, type Owed } from "../../src/server/s2s/fates.ts";
import { Journal } from "../../src/server/s2s/journal.ts";
import { LmdbStore } from "../../src/store/lmdb.ts";
import { systemClock } from "../../src/util/clock.ts";
import { silentLog } from "../../src/util/log.ts";
import { TimerWheel } from "../../src/util/timer-wheel.ts";
import { chat } from "../support/stanzas.ts";
import { measured } from "./measure.ts";

const STANZAS = 10_000;
const ONE_BY_ONE = 1_000;
const SENDERS = 50;
const BODY = "What's in a name? That which we call a rose ".repeat(4);

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "journal-bench-"));
const store = await LmdbStore.open({ path: folder, clock: systemClock });
try {
  const { journal, fates } = await open();
  await measure(`${STANZAS} stanzas written down`, STANZAS, async () => {
    for (let n = 0; n < STANZAS; n++) void journal.lane("a.test", "b.test").add(owed(fates, n));
    await journal.settled();
  });
  journal.close();
  const next = await open();
  const lane = next.journal.lane("a.test", "b.test");
  await measure("found at the next start", STANZAS, () => next.journal.load());
  const taken: Owed[] = [];
  await measure("read, to be sent", STANZAS, async () => {
    while (lane.hasReady) taken.push(...(await lane.take()));
  });
  await measure("proved and deleted", STANZAS, async () => {
    for (const each of taken) next.fates.prove(each, "sm-ack");
    await next.journal.settled();
  });
  await measure("before the acknowledgement, one sender", ONE_BY_ONE, async () => {
    for (let n = 0; n < ONE_BY_ONE; n++) await lane.log(owed(next.fates, n));
  });
  await measure(`before the acknowledgement, ${SENDERS} senders at once`, ONE_BY_ONE * 5, async () => {
    const sender = async (): Promise<void> => {
      for (let n = 0; n < (ONE_BY_ONE * 5) / SENDERS; n++) await lane.log(owed(next.fates, n));
    };
    await Promise.all(Array.from({ length: SENDERS }, sender));
  });
  next.journal.close();
} finally {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
}

async function open(): Promise<{ readonly journal: Journal; readonly fates: Fates }> {
  const fates = new Fates({
    obligations: { settle: () => undefined },
    returnToSender: () => true,
    wallTime: () => systemClock.wallTime(),
    log: silentLog,
    onSettled: () => undefined,
  });
  const config = configSchema.parse({
    s2s: { journal_max_per_domain: 100_000, journal_max_size_per_domain: "1GiB" },
  }).s2s;
  const wheel = new TimerWheel(systemClock);
  const options = { config, clock: systemClock, wheel, log: silentLog, fates, store, isAvailable: () => false };
  const journal = new Journal(options);
  await journal.open();
  return { journal, fates };
}

function owed(fates: Fates, n: number): Owed {
  return fates.take(chat(`romeo${n}@a.test/balcony`, "juliet@b.test", `${n} ${BODY}`), "b.test");
}

async function measure(what: string, count: number, work: () => Promise<void>): Promise<void> {
  const { ms, processorUs } = await measured(work);
  const each = processorUs / count;
  process.stdout.write(
    `${what.padEnd(50)} ${ms.toFixed(0).padStart(6)} ms  ${(ms / count).toFixed(3)} ms and ${each.toFixed(0)} µs of processor time each\n`,
  );
}
