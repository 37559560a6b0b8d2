// The book of what we owe to other domains: one entry for each stanza from the moment s2s takes it until it has its
// fate, and each gets exactly one. Queues and streams move entries about; only this file settles them.

import type { Evidence, ObligationSink } from "../../shutdown/types.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import type { StanzaError } from "../../stanza/stanza-error.ts";

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
}

/** What the book needs. */
export interface FatesOptions {
  readonly obligations: ObligationSink;
  /** Tells the sender; false when nobody is there to be told. */
  readonly returnToSender: (stanza: Stanza, error: StanzaError) => boolean;
  /** Told after each settlement, for whoever waits until nothing is owed. */
  readonly onSettled: () => void;
}

/** The book. */
export class Fates {
  #obligations: ObligationSink;
  #returnToSender: (stanza: Stanza, error: StanzaError) => boolean;
  #onSettled: () => void;
  #taken = 0;
  #settled = 0;

  constructor(options: FatesOptions) {
    this.#obligations = options.obligations;
    this.#returnToSender = options.returnToSender;
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
    };
  }

  /** The remote domain is known to have it. */
  prove(owed: Owed, evidence: Evidence): void {
    for (const each of this.#settle(owed)) {
      this.#obligations.settle(each.domain, "proved", { evidence, subject: each.stanza });
    }
    this.#onSettled();
  }

  /** Tells the sender of `error`. Returns false, and settles nothing, when nobody was there to be told. */
  giveBack(owed: Owed, error: StanzaError): boolean {
    if (owed.settled) return true;
    if (!this.#returnToSender(owed.stanza, error)) return false;
    for (const each of this.#settle(owed)) {
      this.#obligations.settle(each.domain, "returned", { subject: each.stanza });
    }
    this.#onSettled();
    return true;
  }

  /** It is lost, by name. */
  lose(owed: Owed): void {
    for (const each of this.#settle(owed)) {
      const detail = { name: nameOf(each.stanza), subject: each.stanza };
      this.#obligations.settle(each.domain, "lost", each.written ? { ...detail, evidence: "written" } : detail);
    }
    this.#onSettled();
  }

  /** Gives it back where the sender can be told, and loses it otherwise. */
  giveBackOrLose(owed: Owed, error: StanzaError): void {
    if (!this.giveBack(owed, error)) this.lose(owed);
  }

  #settle(owed: Owed): Owed[] {
    const fresh: Owed[] = [];
    for (let each: Owed | undefined = owed; each !== undefined; each = each.standsInFor) {
      if (each.settled) break;
      each.settled = true;
      this.#settled++;
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
