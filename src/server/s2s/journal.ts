// The journal of what other servers have not taken: stanzas that wait on the disk, because a domain is away for longer or
// because we went down before it had said that it has them. Knows what is in it, what may be, and what is to be deleted;
// the order in which one domain's stanzas wait is journal-lane.ts's matter, the transactions journal-writer.ts's, and when they
// go out is the link's.

import type { Config } from "../../config/schema.ts";
import type { Jid } from "../../jid/jid.ts";
import { delayed } from "../../stanza/delay.ts";
import { parseStanza } from "../../stanza/parse-stanza.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import { CorruptRecordError } from "../../store/records.ts";
import type { Key, Store, Value } from "../../store/store.ts";
import type { Clock } from "../../util/clock.ts";
import { asError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import type { TimerWheel, WheelTimeout } from "../../util/timer-wheel.ts";
import { formatDuration } from "../../util/units.ts";
import type { Fates, Owed } from "./fates.ts";
import {
  JournalBooks,
  type JournalBound,
  type JournalCounts,
  type JournalOutcome,
  type SenderShare,
  senderOf,
} from "./journal-books.ts";
import { JournalLane } from "./journal-lane.ts";
import {
  DAMAGED,
  type DamagedRecord,
  isDamaged,
  JOURNAL,
  JOURNAL_HEAD,
  type JournalRecord,
  readRecord,
  readRecords,
  recordKey,
  recordSender,
  recordValue,
  stanzaOf,
} from "./journal-records.ts";
import { stateKey } from "./journal-treatment.ts";
import { type Done, JournalWriter } from "./journal-writer.ts";

/** What the journal asks of the rest of the server. */
export interface JournalSurroundings {
  readonly store: Store;
  /** Whether contacts are to see this resource as available now. */
  isAvailable(full: Jid): boolean;
}

export interface JournalOptions extends JournalSurroundings {
  readonly config: Config["s2s"];
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly log: Logger;
  readonly fates: Fates;
}

/** Where an entry is: on its way to the disk, on it, on it and handed to a stream, or not in the journal any more. */
type EntryPlace = "writing" | "waiting" | "out" | "gone";

/** A stanza in the journal; its text is on the disk only. */
export interface JournalEntry {
  readonly lane: JournalLane;
  readonly epoch: number;
  readonly seq: number;
  readonly at: number;
  readonly until: number;
  readonly size: number;
  /** For presence, of which the last alone counts: of whom to whom. */
  readonly state: string | undefined;
  /** What its sender has in the journal; undefined for what the host itself says. */
  readonly share: SenderShare | undefined;
  place: EntryPlace;
  /** How many streams broke while it was the first that lacked proof. */
  broken: number;
}

/** What the journal says of itself. */
export interface JournalStatus extends JournalCounts {
  readonly mode: Config["s2s"]["journal"];
  /** Stanzas in it. */
  readonly waiting: number;
  /** Their size in characters. */
  readonly size: number;
  /** For how many milliseconds the oldest has waited; 0 when nothing waits. */
  readonly oldestMs: number;
  /** How many there are for each domain; those with the most first, a hundred at most. */
  readonly domains: Readonly<Record<string, number>>;
}

/** How often it is looked for what has waited too long. */
const SWEEP_MS = 30_000;
/** How many pairs of a local host and a domain may have something waiting: each is dialled again and again. */
const MAX_LANES = 5_000;
const MAX_NAMED = 100;

/** The journal. */
export class Journal {
  readonly mode: Config["s2s"]["journal"];
  #options: JournalOptions;
  #lanes = new Map<string, JournalLane>();
  #epoch: number | undefined;
  #seq = 0;
  #books: JournalBooks;
  #writer: JournalWriter;
  #sweep: WheelTimeout | undefined;
  #isClosed = false;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.mode = options.config.journal;
    this.#books = new JournalBooks(options.config);
    this.#writer = new JournalWriter(options);
  }

  /** Whether anything can be written. */
  get isOpen(): boolean {
    return this.#epoch !== undefined && !this.#isClosed && this.mode !== "off";
  }

  get fates(): Fates {
    return this.#options.fates;
  }

  /** Takes a number for this life of the server. Never rejects: without one nothing is written, and the log says so. */
  async open(): Promise<void> {
    const { store, log, wheel } = this.#options;
    if (this.mode === "off") return;
    try {
      const last = await store.get(JOURNAL_HEAD, ["epoch"]);
      const epoch = typeof last === "number" && Number.isSafeInteger(last) ? last + 1 : 1;
      await store.put(JOURNAL_HEAD, ["epoch"], epoch);
      await store.flushed();
      this.#epoch = epoch;
      if (this.#isClosed) return;
      this.#sweep = wheel.add(SWEEP_MS, () => this.#expire());
    } catch (thrown) {
      log.error({ err: asError(thrown) }, "s2s: the journal cannot be used");
    }
  }

  /**
   * Takes in what earlier lives left; those who wait for it are told. Once nobody else has the entries in hand any more.
   * Never rejects: what cannot be read is logged.
   */
  async load(): Promise<void> {
    const { store, log } = this.#options;
    if (!this.isOpen) return;
    let loaded = 0;
    try {
      for await (const { value, record } of readRecords(store)) {
        if (isDamaged(record)) this.#setAside(record, value);
        else if (record.epoch !== this.#epoch) {
          this.#adopt(record);
          loaded++;
        }
      }
    } catch (thrown) {
      log.error({ err: asError(thrown), loaded }, "s2s: the journal cannot be read to its end");
    }
    for (const lane of this.#lanes.values()) lane.sort();
    if (loaded > 0) log.info({ stanzas: loaded, domains: this.#lanes.size }, "s2s: stanzas of the last run wait");
  }

  /** The lanes in which something waits. */
  *lanes(): Generator<JournalLane> {
    for (const lane of this.#lanes.values()) if (lane.length > 0) yield lane;
  }

  /** The store that it is in. */
  get store(): Store {
    return this.#options.store;
  }

  /** The lane from a local host to a domain; made when there is none. */
  lane(local: string, remote: string): JournalLane {
    const name = `${local} ${remote}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new JournalLane(this, local, remote);
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  /** Forgets a lane that nobody uses any more, if nothing is in it. */
  forget(local: string, remote: string): void {
    const name = `${local} ${remote}`;
    if (this.#lanes.get(name)?.length === 0) this.#lanes.delete(name);
  }

  /** Makes an entry, or tells what leaves no room for it. */
  entryFor(lane: JournalLane, { stanza, at, size }: Owed): JournalEntry | JournalBound | "closed" {
    if (!this.isOpen || this.#epoch === undefined) return "closed";
    const bound = this.#books.fullFor(lane, stanza, size);
    if (bound !== undefined) return bound;
    if (lane.length === 0 && this.#busyLanes() >= MAX_LANES) return "domains";
    const until = at + this.#options.config.journal_lifetime;
    const state = stateKey(stanza);
    const share = this.#books.enter(senderOf(stanza), state !== undefined, size);
    return { lane, epoch: this.#epoch, seq: ++this.#seq, at, until, size, state, share, place: "writing", broken: 0 };
  }

  /** Counts a stanza that comes back because of `entryFor`'s answer. */
  refuse(bound: JournalBound | "closed"): void {
    if (bound !== "closed") this.#books.refuse(bound);
  }

  /** Writes an entry; `done` is told when it is on the disk, or why not. */
  write(entry: JournalEntry, text: string, done: Done): void {
    const place = placeOf(entry);
    const value = recordValue(place, entry, text);
    this.#writer.write({ op: "put", collection: JOURNAL, key: recordKey(place), value }, done);
  }

  /** The entry is not in the journal any more: it is deleted from the disk soon. */
  remove(entry: JournalEntry, outcome: JournalOutcome): void {
    if (this.#forget(entry, outcome)) this.erase(entry);
  }

  /** Deletes an entry's record soon. */
  erase(entry: JournalEntry): void {
    this.#writer.writeSoon({ op: "delete", collection: JOURNAL, key: recordKey(placeOf(entry)) });
  }

  /** Whether presence says what is true now. */
  isTrue(owed: Owed): boolean {
    const { from, type } = owed.stanza;
    return this.#options.isAvailable(from) === (type === "available");
  }

  /**
   * Reads the stanzas of entries, in order, with the time at which they came (XEP-0203). What cannot be read is set aside,
   * what has waited too long goes back, and presence that is not true any more is dropped: they are not in the answer.
   * Rejects when the store cannot be read.
   */
  async read(entries: readonly JournalEntry[]): Promise<Owed[]> {
    const { store, fates, clock } = this.#options;
    const values = await Promise.all(entries.map((entry) => readValue(store, recordKey(placeOf(entry)))));
    const now = clock.wallTime();
    const found: Owed[] = [];
    for (const [index, entry] of entries.entries()) {
      // Dropped by an operator meanwhile.
      if (entry.place === "gone") continue;
      const value = values[index];
      const record = value === undefined ? undefined : readRecord(recordKey(placeOf(entry)), value);
      const stanza = record === undefined || isDamaged(record) ? undefined : stanzaOf(record);
      if (stanza === undefined) {
        const why = record !== undefined && isDamaged(record) ? record.why : "it holds no stanza for that domain";
        this.#setAside({ key: recordKey(placeOf(entry)), why }, value ?? null);
        this.#forget(entry, "damaged");
        continue;
      }
      const owed = fates.take(delayed(stanza, entry.lane.local, entry.at), entry.lane.remote);
      owed.entry = entry;
      owed.at = entry.at;
      if (entry.state !== undefined && (entry.until <= now || !this.isTrue(owed))) fates.drop(owed);
      else if (entry.until <= now) void fates.giveBackLate(owed, this.#expired());
      else found.push(owed);
    }
    return found;
  }

  /** The store could not be read. */
  unreadable({ remote }: JournalLane, thrown: unknown): void {
    this.#options.log.error({ remote, err: asError(thrown) }, "s2s: the journal cannot be read");
  }

  /** Resolves when everything is on the disk that was to be, and deleted that was to be. Never rejects. */
  settled(): Promise<void> {
    return this.#writer.settled();
  }

  /** Begins to write nothing more; what has not begun by now goes back. What is under way has its fate when it has ended. */
  close(): void {
    this.#isClosed = true;
    this.#sweep?.cancel();
    this.#writer.close();
  }

  /** Resolves when everything that was being written as it closed has its fate. Never rejects. */
  idle(): Promise<void> {
    return this.#writer.idle();
  }

  /** What is still being written is lost by name: it may be on the disk, or not. */
  abandon(): void {
    this.#writer.abandon();
  }

  /** Counts, for operators. */
  status(): JournalStatus {
    const counts = new Map<string, number>();
    const now = this.#options.clock.wallTime();
    let oldest = now;
    for (const { remote, length, since } of this.lanes()) {
      counts.set(remote, (counts.get(remote) ?? 0) + length);
      oldest = Math.min(oldest, since ?? now);
    }
    const most = [...counts].sort(([, one], [, other]) => other - one).slice(0, MAX_NAMED);
    const { count: waiting, size } = this.#books;
    const domains = Object.fromEntries(most);
    return { mode: this.mode, waiting, size, oldestMs: now - oldest, domains, ...this.#books.counts() };
  }

  #adopt(record: JournalRecord): void {
    const { local, remote, epoch, seq, at, until, xml } = record;
    const lane = this.lane(local, remote);
    const stanza = xml.startsWith("<presence") ? parseStanza(xml)?.stanza : undefined;
    const state = stanza === undefined ? undefined : stateKey(stanza);
    const size = xml.length;
    const share = this.#books.enter(recordSender(record), state !== undefined, size);
    lane.adopt({ lane, epoch, seq, at, until, size, state, share, place: "waiting", broken: 0 });
  }

  #busyLanes(): number {
    let busy = 0;
    if (this.#lanes.size < MAX_LANES) return 0;
    for (const _ of this.lanes()) busy++;
    return busy;
  }

  /** Takes an entry out of the books; false when it was not in them any more. */
  #forget(entry: JournalEntry, outcome: JournalOutcome): boolean {
    if (entry.place === "gone") return false;
    entry.place = "gone";
    this.#books.leave(entry.share, entry.size, outcome);
    entry.lane.onRemoved(entry);
    return true;
  }

  #setAside({ key, why }: DamagedRecord, value: Value): void {
    this.#options.log.error({ entry: key.join(" "), why }, "s2s: an entry of the journal cannot be read: set aside");
    this.#writer.writeSoon(
      { op: "put", collection: DAMAGED, key, value: { why, value } },
      { op: "delete", collection: JOURNAL, key },
    );
  }

  #expire(): void {
    const now = this.#options.clock.wallTime();
    for (const lane of this.#lanes.values()) {
      lane.expire(now);
      lane.unstick();
    }
    this.#sweep?.restart();
  }

  #expired(): StanzaError {
    const lifetime = formatDuration(this.#options.config.journal_lifetime);
    return new StanzaError("remote-server-timeout", `the other server did not take it within ${lifetime}`);
  }
}

function placeOf({ lane: { local, remote }, epoch, seq }: JournalEntry): Parameters<typeof recordKey>[0] {
  return { local, remote, epoch, seq };
}

/** Undefined for what cannot be read: it is set aside like what does not check. */
async function readValue(store: Store, key: Key): Promise<Value | undefined> {
  try {
    return await store.get(JOURNAL, key);
  } catch (thrown) {
    if (thrown instanceof CorruptRecordError) return undefined;
    throw thrown;
  }
}
