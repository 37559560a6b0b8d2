// `make soak`: thousands of sessions with churn, storms of presence and slow readers for many minutes, against two real
// servers as built. Prints a line every ten seconds; then SIGTERM in the middle of it, a start, and the verdict: nothing grew,
// every message has one fate, and nobody on the other server believes in a ghost. Exits with 1 when that is not so.

import { PORTS } from "../support/addresses.ts";
import { sleep } from "../support/child.ts";
import { statusOf } from "../support/control.ts";
import { prepareMorendo, readDrainReport } from "../support/morendo.ts";
import { Network } from "../support/network.ts";
import { LOCAL } from "../support/restart-scenario.ts";
import { accountsOf, contactsOf, Population, REMOTE, type Sizes } from "./population.ts";
import { growth, type Reading, readingOf } from "./readings.ts";

const number = (name: string, fallback: number): number => Number(process.env[name] ?? fallback);
const minutes = number("MINUTES", 15);
const sessions = number("SESSIONS", 2_000);
const seed = number("SEED", 1);
const sizes: Sizes = {
  crowd: sessions,
  talkers: 100,
  visitors: 200,
  roamers: 40,
  dawdlers: 40,
  contacts: 50,
  messagesPerSecond: number("MESSAGES", 200),
  visitsPerSecond: number("VISITS", 10),
};

/** Between two readings. */
const STEP_MS = 10_000;

const network = await Network.create();
try {
  process.exitCode = await soak();
} finally {
  await network.stop();
}
// Node 20 can go round for ever at the end of a process that has had thousands of connections (Environment::CleanupHandles).
process.exit();

async function soak(): Promise<number> {
  const remote = await network.start("morendo", { domain: REMOTE, accounts: contactsOf(sizes), logLevel: "warn" });
  const prepared = await prepareMorendo(
    network.complete({
      domain: LOCAL,
      accounts: accountsOf(sizes),
      logLevel: "warn",
      extra: "[module.offline]\nmax_messages = 100000",
    }),
  );
  const server = prepared.start();
  network.adopt(server);
  await server.process.listening(server.address, Object.values(PORTS));
  const people = new Population(sizes, server.address, seed);
  network.add(() => people.leave());
  say(`${sessions} sessions and ${sizes.talkers + sizes.roamers + sizes.dawdlers} that are busy log in; seed ${seed}`);
  await people.arrive(remote);

  people.begin();
  const readings = await watch(server.process.pid, prepared.folder, people);

  say("SIGTERM in the middle of it");
  people.serverGoes = true;
  const begun = performance.now();
  server.process.signal("SIGTERM");
  const exit = await server.process.exited;
  const stopMs = performance.now() - begun;
  await people.rest();
  const report = readDrainReport(prepared.folder);
  people.ledger.readReport(report);
  await quiet(people);
  const ghosts = people.ghosts();
  say(`it ended after ${(stopMs / 1_000).toFixed(1)} s with exit code ${exit.code}, outcome ${report?.outcome}`);

  const again = prepared.start();
  network.adopt(again);
  await again.process.listening(again.address, Object.values(PORTS));
  await people.fetch();

  const { ledger } = people;
  say(JSON.stringify({ ...ledger.totals(), visits: people.visits, cuts: people.cuts, pauses: people.pauses }));
  const faults = [
    ...growth(readings).map((what) => `grew: ${what}`),
    ...ledger.missing().map((what) => `no fate: ${what}`),
    ...ledger.doubled().map((what) => `two fates: ${what}`),
    ...ledger.strays.map((what) => `stray: ${what}`),
    ...ghosts.map((what) => `ghost: ${what}`),
    ...people.complaints,
    ...(exit.code === 0 || exit.code === 4 ? [] : [`exit code ${exit.code}: ${server.process.log.slice(-2_000)}`]),
  ];
  for (const fault of faults.slice(0, 50)) say(fault);
  say(faults.length === 0 ? "sound" : `${faults.length} faults`);
  return faults.length === 0 ? 0 : 1;
}

async function watch(pid: number, folder: string, people: Population): Promise<readonly Reading[]> {
  const readings: Reading[] = [];
  const begun = performance.now();
  const elapsed = (): number => performance.now() - begun;
  let cpu = 0;
  while (elapsed() < minutes * 60_000) {
    await sleep(STEP_MS);
    const reading = readingOf(pid, elapsed() / 1_000, await statusOf(folder));
    readings.push(reading);
    const busy = (100 * (reading.cpu - cpu)) / (STEP_MS / 1_000);
    cpu = reading.cpu;
    say(
      [
        `${reading.at.toFixed(0).padStart(5)} s`,
        `${(reading.residentBytes / 2 ** 20).toFixed(0).padStart(4)} MiB`,
        `${busy.toFixed(0).padStart(3)} % cpu`,
        `${reading.sessions} sessions`,
        `${reading.hibernating} waiting`,
        `${reading.openFiles} files`,
        `${reading.queued} queued`,
        `${people.ledger.totals().written} messages`,
        `${people.visits} visits`,
        `${people.storms} storms`,
      ].join("  "),
    );
  }
  return readings;
}

/** Waits until nothing has been seen for two seconds. */
async function quiet(people: Population): Promise<void> {
  while (people.ledger.quietMs < 2_000) await sleep(100);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
