// What a module did wrong: each fault is logged with the module's name, and counted for the drain report. Bounded,
// however often it happens. Not for: deciding what is wrong (loaded-module.ts, module-loader.ts).

import { asError, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";

/** How often a module did what, such as `{"failed at hook \"iq/get/urn:x\"": 3}`. */
export type FaultCounts = Readonly<Record<string, number>>;

/** Code of a module that holds the event loop up for longer is told of. */
const BLOCKED_MS = 250;
/** Faults beyond this number are counted and not logged: a broken timer would fill the disk. */
const MAX_LOGGED = 100;
/** Different faults that are told apart; names come from the module. */
const MAX_KINDS = 50;
const REST = "others";

/** The faults of one module. */
export class Faults {
  #module: string;
  #log: Logger;
  #counts = new Map<string, number>();
  #logged = 0;

  /** `log` adds the module's name to each line. */
  constructor(module: string, log: Logger) {
    this.#module = module;
    this.#log = log;
  }

  /** All faults so far, by what it was. */
  get counts(): FaultCounts {
    return Object.fromEntries(this.#counts);
  }

  /** Something of the module threw or rejected. */
  failed(what: string, thrown: unknown): void {
    if (this.count(`failed at ${what}`)) {
      this.#log.error({ err: asError(thrown), what }, `module "${this.#module}" failed at ${what}`);
    }
  }

  /** Something of the module has not settled in time. */
  hangs(what: string, afterMs: number): void {
    if (this.count(`did not settle at ${what}`)) {
      this.#log.warn({ what, afterMs }, `module "${this.#module}" has not finished ${what} after ${afterMs} ms`);
    }
  }

  /** Says so if the module has held the event loop up. */
  checkBlocked(ms: number, what: string): void {
    if (ms < BLOCKED_MS || !this.count(`blocked the event loop at ${what}`)) return;
    this.#log.warn({ what, blockedMs: Math.round(ms) }, `module "${this.#module}" blocked the event loop at ${what}`);
  }

  /** Returns the error to throw at a module whose call comes too late or is wrong. */
  refuse(code: string, what: string, why: string, cause?: unknown): MorendoError {
    const message = `module "${this.#module}": ${what} refused: ${why}`;
    if (this.count(`was refused: ${code}`)) this.#log.warn({ code, what }, message);
    return new MorendoError(code, message, cause === undefined ? {} : { cause });
  }

  /** Counts a fault that was logged elsewhere; tells whether there is still room for one in the log. */
  count(what: string): boolean {
    const key = this.#counts.has(what) || this.#counts.size < MAX_KINDS ? what : REST;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    return ++this.#logged <= MAX_LOGGED;
  }
}
