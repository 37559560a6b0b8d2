// What a kill (-9) or a loss of power may cost, and nothing else: the one list of it that the fault suite has, and that
// docs/reliability.md tells. A stop in order may cost none of this.

/** The ways of a message. */
export type Way =
  | "to a session with acknowledgements"
  | "to a session without"
  | "to offline storage"
  | "to another server";

/** What the server has said that it has, and may be lost all the same: it was in memory alone. */
export const LOST_BY_KILL: ReadonlySet<Way> = new Set<Way>([
  // In the queue of its session, not written or not acknowledged.
  "to a session with acknowledgements",
  // Written or about to be: for a client without acknowledgements nobody knows.
  "to a session without",
  // In the queue of a domain that is there; `s2s.journal_before_ack` brings it to the disk first.
  "to another server",
]);

/** The same with `s2s.journal_before_ack`. */
export const LOST_THOUGH_JOURNALED: ReadonlySet<Way> = new Set(
  [...LOST_BY_KILL].filter((way) => way !== "to another server"),
);

/** Of which each kill may make one more, with its original id: it came before "it is there" was said, or on the disk. */
export const DOUBLED_BY_KILL: ReadonlySet<Way> = new Set<Way>([
  "to offline storage",
  "to another server",
  // Read by the client, and not acknowledged when the kill came.
  "to a session with acknowledgements",
]);
