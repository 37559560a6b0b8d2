// The stanzas of the journal from one local host to one domain, in the order in which they came: what comes while some
// wait goes behind them. Not for: the disk (journal.ts), streams (remote-link.ts).

import { StanzaError } from "../../stanza/stanza-error.ts";
import type { Owed } from "./fates.ts";
import type { Journal, JournalEntry } from "./journal.ts";
import type { JournalBound, JournalOutcome } from "./journal-books.ts";
import { stateKey } from "./journal-treatment.ts";

/** Entries that are read from the store in one go. */
const PAGE = 100;

/** What waits from one host to one domain. */
export class JournalLane {
  readonly local: string;
  readonly remote: string;
  /** Told when something is on the disk and may go out. */
  onReady: (() => void) | undefined;
  #journal: Journal;
  /** What has not been handed out, oldest first. */
  #waiting: JournalEntry[] = [];
  /** What has been handed out, in that order. */
  #out = new Set<JournalEntry>();
  #states = new Map<string, JournalEntry>();
  #length = 0;
  #size = 0;
  #writing = 0;
  #isStuck = false;

  constructor(journal: Journal, local: string, remote: string) {
    this.#journal = journal;
    this.local = local;
    this.remote = remote;
  }

  /** How many stanzas of it are in the journal, those included that are out on a stream. */
  get length(): number {
    return this.#length;
  }

  get size(): number {
    return this.#size;
  }

  /** How many are on their way to the disk: they have no fate yet. */
  get writing(): number {
    return this.#writing;
  }

  /** When the oldest stanza in it came, by the calendar; undefined when it is empty. */
  get since(): number | undefined {
    const [out] = this.#out;
    const head = this.#head();
    return out === undefined || head === undefined ? (out ?? head)?.at : Math.min(out.at, head.at);
  }

  /** Whether stanzas can be added. */
  get mayAdd(): boolean {
    return this.#journal.isOpen;
  }

  /** Whether stanzas are added while the server runs, and not only when it goes down. */
  get isForAbsence(): boolean {
    return this.#journal.mode === "absence";
  }

  /** Whether stanzas wait that a new one must not overtake. */
  get isAhead(): boolean {
    return this.#head() !== undefined;
  }

  /** Whether there is something to send now. */
  get hasReady(): boolean {
    return !this.#isStuck && this.#head()?.place === "waiting";
  }

  /**
   * Takes a stanza that is owed. It is `stored` once it is on the disk; where that fails, or there is no room, its sender
   * is told. Resolves when it is settled, one way or the other.
   */
  add(owed: Owed): Promise<void> {
    const { fates } = this.#journal;
    if (owed.entry !== undefined) {
      this.putBack([owed]);
      return Promise.resolve();
    }
    const state = stateKey(owed.stanza);
    // Nobody is to learn later that somebody was there who is not.
    if (state !== undefined && owed.stanza.type === "available" && !this.#journal.isTrue(owed)) {
      fates.drop(owed);
      return Promise.resolve();
    }
    const entry = this.#enter(owed);
    if (typeof entry === "string") {
      this.#journal.refuse(entry);
      const error = new StanzaError("resource-constraint", "too much is waiting for that server");
      return fates.giveBackLate(owed, error) ?? Promise.resolve();
    }
    if (state !== undefined) this.#replace(state, entry);
    this.#waiting.push(entry);
    this.#writing++;
    return new Promise((resolve) => {
      this.#journal.write(entry, owed.stanza.text, (error, isUnknown) => {
        this.#writing--;
        resolve(this.#written(entry, owed, error, isUnknown));
      });
    });
  }

  /**
   * Writes a stanza down that goes out at once. Resolves when it is on the disk, or cannot be, as when there is no room: it
   * goes out all the same.
   */
  log(owed: Owed): Promise<void> {
    const entry = this.#enter(owed);
    if (typeof entry === "string") return Promise.resolve();
    return new Promise((resolve) => {
      this.#journal.write(entry, owed.stanza.text, (error) => {
        if (error !== undefined) this.#journal.remove(entry, "unwritten");
        else {
          this.#handOut(entry);
          owed.entry = entry;
        }
        resolve();
      });
    });
  }

  /**
   * Hands out the oldest stanzas that wait, read from the store: they are owed anew. Resolves to none when nothing is
   * ready, or when the store cannot be read: then nothing is ready for a while. Never rejects.
   */
  async take(): Promise<Owed[]> {
    const taken: JournalEntry[] = [];
    for (let head = this.#head(); taken.length < PAGE && head?.place === "waiting"; head = this.#head()) {
      this.#waiting.shift();
      this.#handOut(head);
      taken.push(head);
    }
    try {
      return await this.#journal.read(taken);
    } catch (thrown) {
      this.#journal.unreadable(this, thrown);
      this.#isStuck = true;
      this.#back(taken);
      return [];
    }
  }

  /** Takes back what was handed out, or written down, and not proved: it goes before everything that waits. */
  putBack(owed: readonly Owed[]): void {
    const entries: JournalEntry[] = [];
    for (const each of owed) {
      if (each.entry === undefined || each.settled) continue;
      this.#journal.fates.store(each);
      entries.push(each.entry);
    }
    this.#back(entries);
  }

  /** Takes in an entry of an earlier life; `sort` afterwards. */
  adopt(entry: JournalEntry): void {
    this.#count(entry);
    this.#waiting.push(entry);
    if (entry.state !== undefined) this.#replace(entry.state, entry);
  }

  /** Brings what waits into order. */
  sort(): void {
    this.#waiting.sort((one, other) => one.epoch - other.epoch || one.seq - other.seq);
  }

  /** What has waited too long goes back to its senders. */
  expire(now: number): void {
    // Anywhere: the lifetime may have been longer for those before them, and the calendar may have been set back.
    const late = this.#waiting.filter(({ place, until }) => place === "waiting" && until <= now);
    if (late.length === 0) return;
    const taken = new Set(late);
    this.#waiting = this.#waiting.filter((entry) => !taken.has(entry));
    for (const entry of late) this.#handOut(entry);
    this.#journal.read(late).then(
      // None of them is to be sent: the clock was set back meanwhile, if there is any.
      (owed) => this.putBack(owed),
      (thrown: unknown) => {
        this.#journal.unreadable(this, thrown);
        this.#back(late);
      },
    );
  }

  /** Gives back everything that is on the disk. Never rejects. */
  async returnAll(error: StanzaError): Promise<void> {
    while (this.hasReady) for (const owed of await this.take()) await this.#journal.fates.giveBackLate(owed, error);
  }

  /** The store may be read again. */
  unstick(): void {
    if (!this.#isStuck) return;
    this.#isStuck = false;
    if (this.hasReady) this.onReady?.();
  }

  /** Returns the entries that wait, oldest first; those out on a stream are not among them. */
  entries(): readonly JournalEntry[] {
    return this.#waiting.filter(({ place }) => place === "waiting");
  }

  /** Takes one entry out to be dropped by an operator: undefined when it is on its way already. */
  async takeOne(entry: JournalEntry): Promise<Owed | undefined> {
    if (entry.place !== "waiting") return undefined;
    this.#handOut(entry);
    try {
      const [owed] = await this.#journal.read([entry]);
      return owed;
    } catch (thrown) {
      if (this.#out.has(entry)) this.#takeIn(entry);
      throw thrown;
    }
  }

  /** An entry has its fate, or is not wanted any more. */
  remove(entry: JournalEntry, outcome: JournalOutcome): void {
    this.#journal.remove(entry, outcome);
  }

  /** The journal has forgotten an entry. */
  onRemoved(entry: JournalEntry): void {
    this.#out.delete(entry);
    this.#length--;
    this.#size -= entry.size;
    if (entry.state !== undefined && this.#states.get(entry.state) === entry) this.#states.delete(entry.state);
  }

  #enter(owed: Owed): JournalEntry | JournalBound | "closed" {
    const entry = this.#journal.entryFor(this, owed);
    if (typeof entry !== "string") this.#count(entry);
    return entry;
  }

  #count(entry: JournalEntry): void {
    this.#length++;
    this.#size += entry.size;
  }

  /** Of several presences of one resource to one address the last is what counts. */
  #replace(state: string, entry: JournalEntry): void {
    const older = this.#states.get(state);
    this.#states.set(state, entry);
    if (older === undefined || older === entry || older.place === "out") return;
    const isNewer = older.epoch > entry.epoch || (older.epoch === entry.epoch && older.seq > entry.seq);
    if (isNewer) this.#states.set(state, older);
    this.#journal.remove(isNewer ? entry : older, "replaced");
  }

  #written(entry: JournalEntry, owed: Owed, error?: Error, isUnknown = false): void | Promise<void> {
    const { fates } = this.#journal;
    if (error !== undefined) {
      this.#journal.remove(entry, "unwritten");
      // Its sender is not to be told that it failed when it may yet go out.
      if (isUnknown) return fates.lose(owed);
      return fates.giveBackLate(owed, new StanzaError("internal-server-error", "it could not be kept"));
    }
    fates.store(owed);
    if (entry.place === "gone") return this.#journal.erase(entry);
    entry.place = "waiting";
    this.onReady?.();
    return undefined;
  }

  #back(entries: readonly JournalEntry[]): void {
    const back: JournalEntry[] = [];
    for (const entry of entries) {
      if (entry.place === "gone") continue;
      this.#takeIn(entry);
      const newer = entry.state === undefined ? undefined : this.#states.get(entry.state);
      if (newer !== undefined && newer !== entry) this.#journal.remove(entry, "replaced");
      else back.push(entry);
    }
    if (back.length === 0) return;
    this.#waiting = [...back, ...this.#waiting];
    this.sort();
  }

  #handOut(entry: JournalEntry): void {
    entry.place = "out";
    this.#out.add(entry);
  }

  #takeIn(entry: JournalEntry): void {
    entry.place = "waiting";
    this.#out.delete(entry);
  }

  /** The oldest that has not been removed. */
  #head(): JournalEntry | undefined {
    for (let head = this.#waiting[0]; head !== undefined; head = this.#waiting[0]) {
      if (head.place !== "gone" && head.place !== "out") return head;
      this.#waiting.shift();
    }
    return undefined;
  }
}
