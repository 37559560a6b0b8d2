// Counts the fates of obligations. While the server runs only sums are kept; from the beginning of a run of the pipeline
// on they are kept by destination, with the names of what was lost. Bounded whatever the network sends.

import type { Evidence, Fate, ObligationSink } from "./types.ts";

/** How many obligations met which fate, and how the proved ones are known to have arrived. */
export interface FateTotals {
  readonly proved: number;
  readonly stored: number;
  readonly returned: number;
  readonly dropped: number;
  readonly lost: number;
  readonly evidence: Readonly<Record<Evidence, number>>;
}

/** The totals of one destination. */
export interface DestinationTotals extends FateTotals {
  readonly destination: string;
  /** The lost ones by name, as far as there was room. */
  readonly lostNames: readonly string[];
  /** How many were lost beyond those named. */
  readonly lostUnnamed: number;
}

/** Everything known about obligations at one moment. */
export interface ObligationReport {
  /** Settled before the run began. */
  readonly running: FateTotals;
  /** Settled since the run began. */
  readonly run: FateTotals;
  /** Those of the run by destination; most lost first. */
  readonly destinations: readonly DestinationTotals[];
}

export interface ObligationsOptions {
  /** How many lost ones are kept by name (1000 unless told). */
  readonly maxNames?: number;
  /** How many destinations are told apart (10,000 unless told); the rest are counted under `*`. */
  readonly maxDestinations?: number;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Totals = Mutable<Omit<FateTotals, "evidence">> & { readonly evidence: Record<Evidence, number> };
type Tally = Totals & { readonly lostNames: string[]; lostUnnamed: number };

const MAX_NAME_LENGTH = 300;
const REST = "*";

/** The tally behind `ObligationSink`. Each call is O(1). */
export class Obligations implements ObligationSink {
  #maxNames: number;
  #maxDestinations: number;
  #running = emptyTotals();
  #run = emptyTotals();
  #destinations = new Map<string, Tally>();
  #names = 0;
  #hasBegun = false;

  constructor(options: ObligationsOptions = {}) {
    this.#maxNames = options.maxNames ?? 1_000;
    this.#maxDestinations = options.maxDestinations ?? 10_000;
  }

  /** Starts the account of a run: what is settled from now on is kept by destination. */
  begin(): void {
    this.#hasBegun = true;
  }

  /** Ends the account of a run that was cancelled: its sums count as those of the running server, its names are dropped. */
  end(): void {
    addTo(this.#running, this.#run);
    this.#run = emptyTotals();
    this.#destinations.clear();
    this.#names = 0;
    this.#hasBegun = false;
  }

  settle(destination: string, fate: Fate, detail: Parameters<ObligationSink["settle"]>[2]): void {
    if (!this.#hasBegun) {
      count(this.#running, fate, detail.evidence);
      return;
    }
    count(this.#run, fate, detail.evidence);
    const tally = this.#tally(destination);
    count(tally, fate, detail.evidence);
    if (fate !== "lost") return;
    if (detail.name !== undefined && this.#names < this.#maxNames) {
      this.#names++;
      tally.lostNames.push(detail.name.slice(0, MAX_NAME_LENGTH));
    } else {
      tally.lostUnnamed++;
    }
  }

  /** Returns the totals as they are now; later calls do not change what was returned. */
  snapshot(): ObligationReport {
    const destinations: DestinationTotals[] = [];
    for (const [destination, tally] of this.#destinations) {
      destinations.push({
        destination,
        ...copy(tally),
        lostNames: [...tally.lostNames],
        lostUnnamed: tally.lostUnnamed,
      });
    }
    destinations.sort((one, other) => other.lost - one.lost);
    return { running: copy(this.#running), run: copy(this.#run), destinations };
  }

  #tally(destination: string): Tally {
    const known = this.#destinations.get(destination);
    if (known !== undefined) return known;
    const name = this.#destinations.size < this.#maxDestinations ? destination : REST;
    let tally = this.#destinations.get(name);
    if (tally === undefined) {
      tally = { ...emptyTotals(), lostNames: [], lostUnnamed: 0 };
      this.#destinations.set(name, tally);
    }
    return tally;
  }
}

function emptyTotals(): Totals {
  const evidence = { "sm-ack": 0, pong: 0, closed: 0, written: 0 };
  return { proved: 0, stored: 0, returned: 0, dropped: 0, lost: 0, evidence };
}

function count(totals: Totals, fate: Fate, evidence: Evidence | undefined): void {
  totals[fate]++;
  if (evidence !== undefined) totals.evidence[evidence]++;
}

function addTo(totals: Totals, more: FateTotals): void {
  for (const fate of ["proved", "stored", "returned", "dropped", "lost"] as const) totals[fate] += more[fate];
  for (const evidence of Object.keys(totals.evidence) as Evidence[])
    totals.evidence[evidence] += more.evidence[evidence];
}

function copy(totals: FateTotals): FateTotals {
  const { proved, stored, returned, dropped, lost } = totals;
  return { proved, stored, returned, dropped, lost, evidence: { ...totals.evidence } };
}
