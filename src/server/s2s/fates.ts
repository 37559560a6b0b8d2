// The book of what we owe to other domains: one entry for each stanza from the moment s2s takes it until it has its
// fate, and each gets exactly one; a stanza that comes out of the journal again is owed anew. Queues, streams and the journal
// move entries about; only this file settles them.

import type { Evidence, Fate, ObligationSink } from "../../shutdown/types.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import type { StanzaError } from "../../stanza/stanza-error.ts";
import { asError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import type { JournalEntry } from "./journal.ts";

/** A stanza we owe to another domain. */
export interface Owed {
  readonly stanza: Stanza;
  readonly domain: string;
  /** Its length in UTF-16 units, near enough to bytes for a bound. */
  readonly size: number;
  /** How many streams and dials have failed it. */
  broken: number;
  settled: boolean;
  /** Whether it was ever written to an authenticated stream. */
  written: boolean;
  /** An older presence to the same addressee that this one stands in for; it shares this one's fate. */
  standsInFor: Owed | undefined;
  /** When it was taken, in milliseconds since 1970. */
  at: number;
  /** Where it stands in the journal, when it is on the disk there. */
  entry: JournalEntry | undefined;
}

/** What the book needs. */
export interface FatesOptions {
  readonly obligations: ObligationSink;
  /** Tells the sender; false when nobody is there to be told. */
  readonly returnToSender: (stanza: Stanza, error: StanzaError) => boolean;
  /** Tells the sender where he is now, or when he comes; false when that cannot be. Without it nobody is told later. */
  readonly returnLate?: ((stanza: Stanza, error: StanzaError) => Promise<boolean>) | undefined;
  /** The calendar time. */
  readonly wallTime: () => number;
  readonly log: Logger;
  /** Told after each settlement, for whoever waits until nothing is owed. */
  readonly onSettled: () => void;
}

/** The book. */
export class Fates {
  #obligations: ObligationSink;
  #returnToSender: (stanza: Stanza, error: StanzaError) => boolean;
  #returnLate: ((stanza: Stanza, error: StanzaError) => Promise<boolean>) | undefined;
  #wallTime: () => number;
  #log: Logger;
  #onSettled: () => void;
  #taken = 0;
  #settled = 0;

  constructor(options: FatesOptions) {
    this.#obligations = options.obligations;
    this.#returnToSender = options.returnToSender;
    this.#returnLate = options.returnLate;
    this.#wallTime = options.wallTime;
    this.#log = options.log;
    this.#onSettled = options.onSettled;
  }

  /** How many stanzas have no fate yet. */
  get outstanding(): number {
    return this.#taken - this.#settled;
  }

  /** How many stanzas have been taken since the beginning. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * Opens an entry. Answers from server to server are carried and owed to nobody: whoever asked will ask again if it
   * matters; and if an answer to a ping had to be proved by another ping, two servers would never be done.
   */
  take(stanza: Stanza, domain: string): Owed {
    const settled = isServerAnswer(stanza);
    if (!settled) this.#taken++;
    return {
      stanza,
      domain,
      size: stanza.text.length,
      broken: 0,
      settled,
      written: false,
      standsInFor: undefined,
      at: this.#wallTime(),
      entry: undefined,
    };
  }

  /** The remote domain is known to have it. */
  prove(owed: Owed, evidence: Evidence): void {
    for (const each of this.#settle(owed, "proved")) {
      this.#obligations.settle(each.domain, "proved", { evidence, subject: each.stanza });
    }
    this.#onSettled();
  }

  /** Tells the sender of `error`. Returns false, and settles nothing, when nobody was there to be told. */
  giveBack(owed: Owed, error: StanzaError): boolean {
    if (owed.settled) return true;
    if (!this.#returnToSender(owed.stanza, error)) return false;
    this.#note(owed, "returned");
    return true;
  }

  /** It is on the disk, and goes out at another time. */
  store(owed: Owed): void {
    this.#note(owed, "stored");
  }

  /** By its own kind it is of no use to anybody any more. */
  drop(owed: Owed): void {
    this.#note(owed, "dropped");
  }

  /** It is lost, by name. */
  lose(owed: Owed): void {
    this.#note(owed, "lost");
  }

  /** Gives it back where the sender can be told, and loses it otherwise. */
  giveBackOrLose(owed: Owed, error: StanzaError): void {
    if (!this.giveBack(owed, error)) this.lose(owed);
  }

  /**
   * Tells the sender wherever he is now, or when he comes, and loses it where that cannot be. Resolves, never rejects, when
   * it has its fate.
   */
  giveBackLate(owed: Owed, error: StanzaError): void | Promise<void> {
    // Who hears of it long afterwards is to see what he had sent.
    const isLate = owed.entry !== undefined && this.#returnLate !== undefined;
    if (owed.settled || (!isLate && this.giveBack(owed, error))) return;
    if (this.#returnLate === undefined) return this.lose(owed);
    return this.#returnLate(owed.stanza, error).then(
      (isTold) => this.#note(owed, isTold ? "returned" : "lost"),
      (thrown: unknown) => {
        this.#log.error({ err: asError(thrown), stanza: nameOf(owed.stanza) }, "s2s: a sender could not be told");
        this.lose(owed);
      },
    );
  }

  #note(owed: Owed, fate: Fate): void {
    for (const each of this.#settle(owed, fate)) {
      const { stanza, domain } = each;
      const evidence = each.written && (fate === "lost" || fate === "stored") ? { evidence: "written" as const } : {};
      const name = fate === "lost" ? { name: nameOf(stanza) } : {};
      this.#obligations.settle(domain, fate, { ...name, subject: stanza, ...evidence });
    }
    this.#onSettled();
  }

  #settle(owed: Owed, fate: Fate): Owed[] {
    const fresh: Owed[] = [];
    for (let each: Owed | undefined = owed; each !== undefined; each = each.standsInFor) {
      if (each.settled) break;
      each.settled = true;
      this.#settled++;
      if (fate !== "stored") each.entry?.lane.remove(each.entry, fate);
      // What another one stands in for is not to go out again.
      else if (each !== owed) each.entry?.lane.remove(each.entry, "replaced");
      fresh.push(each);
    }
    return fresh;
  }
}

function isServerAnswer({ kind, type, from, to }: Stanza): boolean {
  return kind === "iq" && (type === "result" || type === "error") && from.local === "" && to?.local === "";
}

/** How a stanza is named in the report: `message romeo@a.test/x -> juliet@b.test id=7`. */
export function nameOf(stanza: Stanza): string {
  const id = stanza.id === undefined ? "" : ` id=${stanza.id}`;
  const to = stanza.to === undefined ? "" : ` -> ${stanza.to.toString()}`;
  return `${stanza.kind} ${stanza.from.toString()}${to}${id}`;
}
