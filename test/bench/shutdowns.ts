// SIGTERM to exit, and who learned of it, against the number of users and the kind of link. The scenario is the one the
// interop tests play; here it is played with every kind of server and only measured.

import type { LoopDelay } from "../../src/shutdown/loop-delay.ts";
import { readDrainReport } from "../support/morendo.ts";
import type { ServerKind } from "../support/server.ts";
import { playShutdown, type ShutdownCase } from "../support/shutdown-scenario.ts";

/** One row of the table: a case without its server. */
export type ShutdownRow = Omit<ShutdownCase, "server"> & { readonly name: string };

const PEER: ServerKind = "prosody";

export const ROWS: readonly ShutdownRow[] = [
  ...[10, 100, 1_000, 3_000].map((users) => ({ name: `warm, N = ${users}`, users, link: "warm" as const, peer: PEER })),
  { name: "cold, N = 100", users: 100, link: "cold", peer: PEER },
  {
    name: "cold and slow (200 ms), N = 100",
    users: 100,
    link: "cold",
    peer: PEER,
    slow: { latencyMs: 200, bytesPerSecond: 65_536 },
  },
  {
    name: "warm and slow (200 ms), N = 100",
    users: 100,
    link: "warm",
    peer: PEER,
    slow: { latencyMs: 200, bytesPerSecond: 65_536 },
  },
];

/** Plays one row with one server. */
export async function measureShutdown(kind: ServerKind, row: ShutdownRow): Promise<Record<string, number>> {
  const { tally, exit, exitMs, lastPresenceMs, endings, inspected } = await playShutdown(
    { ...row, server: kind },
    (_, { server }) => (kind === "morendo" ? readDrainReport(server.process.folder) : undefined),
  );
  const delay = inspected?.sections.eventLoop as LoopDelay | undefined;
  const orderly = endings.filter(
    ({ streamError, closingTag, how }) => streamError && closingTag && how === "fin",
  ).length;
  return {
    arrived: tally.arrived,
    owed: tally.owed,
    surplus: tally.surplus,
    exitMs,
    lastPresenceMs,
    orderlyCloses: orderly,
    clients: endings.length,
    exitCode: exit.code ?? -1,
    ...(delay === undefined ? {} : { longestBlockMs: delay.longestMs }),
  };
}
