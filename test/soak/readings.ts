// What a long run reads off the server every few seconds, and whether any of it grew. Growth is judged by medians of the second
// and the last quarter of the run: the first quarter is warming up, and a garbage collector's moods are in every single
// reading.

import { readdirSync, readFileSync } from "node:fs";
import type { ServerStatus } from "../../src/server/server.ts";

/** One reading. */
export interface Reading {
  /** Seconds since the beginning. */
  readonly at: number;
  readonly residentBytes: number;
  readonly openFiles: number;
  readonly sessions: number;
  readonly connections: number;
  readonly hibernating: number;
  /** Stanzas to other servers that have no fate yet. */
  readonly queued: number;
  /** Seconds of processor time so far. */
  readonly cpu: number;
}

/** What may grow by how much from the second quarter to the last, as a factor, and by how much in any case. */
const BOUNDS: readonly (readonly [string, (reading: Reading) => number, number, number])[] = [
  ["resident memory (MiB)", ({ residentBytes }) => residentBytes / 2 ** 20, 1.1, 16],
  ["open files", ({ openFiles }) => openFiles, 1.05, 64],
  ["connections", ({ connections }) => connections, 1.05, 64],
  ["sessions", ({ sessions }) => sessions, 1.05, 64],
  ["hibernating sessions", ({ hibernating }) => hibernating, 1.2, 32],
  ["queued for other servers", ({ queued }) => queued, 1.5, 500],
];

/** Takes a reading of the process. */
export function readingOf(pid: number, at: number, status: ServerStatus): Reading {
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    at,
    residentBytes: Number(resident ?? 0) * 1024,
    openFiles: readdirSync(`/proc/${pid}/fd`).length,
    sessions: status.sessions,
    connections: status.connections,
    hibernating: status.hibernating,
    queued: status.s2s.queued,
    cpu: (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100,
  };
}

/** Returns what grew beyond its bound, in words. */
export function growth(readings: readonly Reading[]): string[] {
  const quarter = Math.floor(readings.length / 4);
  if (quarter < 2) return ["too few readings to say whether anything grew: let it run for longer"];
  const early = readings.slice(quarter, 2 * quarter);
  const late = readings.slice(-quarter);
  return BOUNDS.flatMap(([name, read, factor, slack]) => {
    const from = median(early.map(read));
    const to = median(late.map(read));
    return to > Math.max(from * factor, from + slack) ? [`${name}: ${from.toFixed(1)} -> ${to.toFixed(1)}`] : [];
  });
}

/** The middle value. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
