// What operators can ask of the journal: what waits, that something be dropped, that a domain be tried now. It works on the
// journal of a running server, or, by `StoredJournal`, on the store of one that does not run.

import { StanzaError } from "../../stanza/stanza-error.ts";
import type { Store, Write } from "../../store/store.ts";
import { MorendoError } from "../../util/errors.ts";
import type { Journal } from "./journal.ts";
import { isDamaged, JOURNAL, type JournalRecord, readRecords, recordId, stanzaOf } from "./journal-records.ts";

/** What waits, as operators see it; never what people write to one another. */
export interface JournalItem {
  readonly id: string;
  readonly domain: string;
  readonly host: string;
  /** What it is: `message chat`, `presence subscribe`. */
  readonly what: string;
  readonly from: string;
  readonly to: string;
  /** The stanza's own identifier. */
  readonly stanzaId?: string;
  /** When it came, and when its time is over: ISO 8601, UTC. */
  readonly since: string;
  readonly until: string;
  /** In characters. */
  readonly size: number;
}

/** A part of what waits. */
export interface JournalList {
  readonly items: readonly JournalItem[];
  /** Whether there is more than was asked for. */
  readonly more: boolean;
  /** Records that cannot be read. */
  readonly damaged: number;
}

/** Which entries: one, or all for a domain. */
export type JournalChoice = { readonly id: string } | { readonly domain: string };

/** What became of what was to be dropped. */
export interface JournalDropped {
  /** Entries that are not in the journal any more. */
  readonly dropped: number;
  /** Of those: how many senders are told by an error. */
  readonly told: number;
  /** Entries that stay, because they are on their way to the other server already. */
  readonly underWay: number;
}

/** The journal of a running server, for operators. */
export class JournalDesk {
  #journal: Journal;
  #retry: (domain: string) => number;

  constructor(journal: Journal, retry: (domain: string) => number) {
    this.#journal = journal;
    this.#retry = retry;
  }

  /** Lists what is on the disk, oldest first for each domain, at most `limit`. */
  async list(limit: number, domain?: string): Promise<JournalList> {
    await this.#journal.settled();
    return await listRecords(this.#journal.store, limit, domain);
  }

  /** Drops entries; with `tell` their senders get an error. */
  async drop(choice: JournalChoice, tell: boolean): Promise<JournalDropped> {
    const { fates } = this.#journal;
    const error = new StanzaError("remote-server-timeout", "the operator of this server gave it up");
    let dropped = 0;
    let told = 0;
    let underWay = 0;
    for (const lane of this.#journal.lanes()) {
      if ("domain" in choice && lane.remote !== choice.domain) continue;
      const chosen = lane.entries().filter((entry) => "domain" in choice || recordId(entry) === choice.id);
      if ("domain" in choice) underWay += lane.length - chosen.length;
      for (const entry of chosen) {
        const owed = await lane.takeOne(entry);
        if (owed === undefined) continue;
        dropped++;
        if (tell && owed.entry?.state === undefined) {
          told++;
          await fates.giveBackLate(owed, error);
        } else fates.drop(owed);
      }
    }
    await this.#journal.settled();
    if ("id" in choice && dropped === 0) throw notThere(choice.id);
    return { dropped, told, underWay };
  }

  /** Tries a domain now. Rejects with `MORENDO_JOURNAL_EMPTY` when nothing waits for it. */
  retry(domain: string): void {
    if (this.#retry(domain) === 0) throw new MorendoError("MORENDO_JOURNAL_EMPTY", `nothing waits for ${domain}`);
  }
}

/** The journal of a server that does not run. */
export class StoredJournal {
  #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async list(limit: number, domain?: string): Promise<JournalList> {
    return await listRecords(this.#store, limit, domain);
  }

  /** Drops entries; nobody is told, because only a running server could. */
  async drop(choice: JournalChoice): Promise<JournalDropped> {
    const deletions: Write[] = [];
    for await (const { key, record } of readRecords(this.#store, "domain" in choice ? choice.domain : undefined)) {
      const isChosen = "domain" in choice || (!isDamaged(record) && recordId(record) === choice.id);
      if (isChosen) deletions.push({ op: "delete", collection: JOURNAL, key });
    }
    if ("id" in choice && deletions.length === 0) throw notThere(choice.id);
    await this.#store.batch(deletions);
    await this.#store.flushed();
    return { dropped: deletions.length, told: 0, underWay: 0 };
  }
}

async function listRecords(store: Store, limit: number, domain?: string): Promise<JournalList> {
  const items: JournalItem[] = [];
  let damaged = 0;
  for await (const { record } of readRecords(store, domain)) {
    const item = isDamaged(record) ? undefined : itemOf(record);
    if (item === undefined) damaged++;
    else if (items.length === limit) return { items, more: true, damaged };
    else items.push(item);
  }
  return { items, more: false, damaged };
}

function itemOf(record: JournalRecord): JournalItem | undefined {
  const stanza = stanzaOf(record);
  if (stanza === undefined) return undefined;
  const { kind, type, id, from, to } = stanza;
  return {
    id: recordId(record),
    domain: record.remote,
    host: record.local,
    what: `${kind} ${type}`,
    from: from.toString(),
    to: to?.toString() ?? "",
    ...(id === undefined ? {} : { stanzaId: id }),
    since: new Date(record.at).toISOString(),
    until: new Date(record.until).toISOString(),
    size: record.xml.length,
  };
}

function notThere(id: string): MorendoError {
  return new MorendoError("MORENDO_JOURNAL_EMPTY", `there is no entry ${id} that could be dropped`);
}
