// The operations on what waits for other servers: a list, dropping, trying now. Not for: keeping it (src/server/s2s).

import { z } from "zod";
import { Jid } from "../jid/jid.ts";
import type { JournalDesk, JournalDropped, JournalList } from "../server/s2s/journal-desk.ts";
import { MorendoError } from "../util/errors.ts";

/** What the operations need: `Server.journal`. */
export type JournalPort = Pick<JournalDesk, "list" | "drop" | "retry">;

/** The most entries that one answer names. */
const MAX_LISTED = 10_000;

const domain = z
  .string()
  .min(1)
  .max(1_000)
  .transform((text) => Jid.parse(text)?.domain ?? text);

export const journalListArguments = z.strictObject({
  /** Only what waits for this domain. */
  domain: domain.optional(),
  /** How many entries are named. */
  limit: z.int().positive().max(MAX_LISTED).default(1_000),
});

export const journalDropArguments = z
  .strictObject({
    id: z.string().min(1).max(100).optional(),
    domain: domain.optional(),
    /** Whether the senders get an error. */
    tell: z.boolean().default(false),
  })
  .refine((value) => (value.id === undefined) !== (value.domain === undefined), "`id` or `domain`, and not both");

export const journalRetryArguments = z.strictObject({ domain });

/** Lists what waits. */
export async function listJournal(
  journal: JournalPort | undefined,
  { domain, limit }: z.output<typeof journalListArguments>,
): Promise<JournalList> {
  return await opened(journal).list(limit, domain);
}

/** Drops one entry, or all for a domain. */
export async function dropFromJournal(
  journal: JournalPort | undefined,
  { id, domain, tell }: z.output<typeof journalDropArguments>,
): Promise<JournalDropped> {
  return await opened(journal).drop(id === undefined ? { domain: domain ?? "" } : { id }, tell);
}

/** Tries a domain at once for which something waits. */
export function retryFromJournal(journal: JournalPort | undefined, domain: string): { readonly retried: string } {
  opened(journal).retry(domain);
  return { retried: domain };
}

function opened(journal: JournalPort | undefined): JournalPort {
  if (journal === undefined) {
    throw new MorendoError("MORENDO_NO_JOURNAL", 'there is no journal: `[s2s] journal` is "off", or it cannot be used');
  }
  return journal;
}
