// Tells many sessions something without holding up the server: in batches with a turn of the event loop between them, and
// nobody waits for a client that is slow to read. Not for: what is said, and to whom.

import { Jid } from "../jid/jid.ts";
import { Stanza } from "../stanza/stanza.ts";
import type { Clock } from "../util/clock.ts";
import type { Random } from "../util/random.ts";
import { xml } from "../xml/element.ts";
import type { Session } from "./session.ts";

/** What a teller needs. */
export interface TellerOptions {
  readonly clock: Pick<Clock, "turn">;
  readonly random: Random;
  /** How many sessions are written to before other work has its turn. */
  readonly batch: number;
}

/** How many slow sessions are named while they are waited for. */
const MAX_NAMED = 5;

/** Told how many have been told and have taken it, and who is slow. */
export type TellingProgress = (done: number, blockers: readonly string[]) => void;

/** Something that is said to many. */
export interface Telling {
  /** Those that have ended meanwhile, and those that are slow to take what they were told before, are left out. */
  readonly sessions: Iterable<Session>;
  /** What the session reads; undefined: it is left out. */
  readonly text: (session: Session) => string | undefined;
  /** A line above it; none if empty or absent. */
  readonly subject?: string;
  /** Nobody else is told once it aborts. */
  readonly signal: AbortSignal;
  /** Called for each session that was told. */
  readonly told?: (session: Session) => void;
  readonly progress?: TellingProgress;
}

/** Sends headlines (RFC 6121 §5.2.2), as servers announce things (XEP-0133 §4.23), from the session's own host. */
export class Teller {
  #options: TellerOptions;
  #slow = new Map<Session, Promise<void>>();

  constructor(options: TellerOptions) {
    this.#options = options;
  }

  /** Writes to all of them; resolves to how many, without waiting for those that are slow. Never rejects. */
  async tell({ sessions, text, subject = "", signal, told, progress }: Telling): Promise<number> {
    let seen = 0;
    let count = 0;
    for (const session of sessions) {
      if (signal.aborted) break;
      seen++;
      const said = session.open && !this.#slow.has(session) ? text(session) : undefined;
      if (said !== undefined) {
        this.#deliver(session, this.#headline(session, said, subject));
        count++;
        told?.(session);
      }
      if (seen % this.#options.batch !== 0) continue;
      progress?.(seen - this.#slow.size, this.#names());
      await this.#options.clock.turn();
    }
    progress?.(seen - this.#slow.size, this.#names());
    return count;
  }

  /** Waits for those that are slow to read, until `signal` aborts; `progress` hears how many are left. Never rejects. */
  async settled(signal: AbortSignal, progress?: (left: number, blockers: readonly string[]) => void): Promise<void> {
    const each = Array.from(this.#slow.values(), (waiting) =>
      waiting.then(() => progress?.(this.#slow.size, this.#names())),
    );
    await settledOrAborted(Promise.all(each), signal);
  }

  #deliver(session: Session, stanza: Stanza): void {
    const waiting = session.deliver(stanza);
    if (waiting === undefined) return;
    const settled = (): void => {
      this.#slow.delete(session);
    };
    this.#slow.set(session, waiting.then(settled, settled));
  }

  #headline({ account, jid }: Session, text: string, subject: string): Stanza {
    const host = Jid.of("", account.domain);
    const attrs = { type: "headline", from: host.toString(), to: jid.toString(), id: this.#options.random.id() };
    const about = subject === "" ? undefined : xml("subject", {}, subject);
    return new Stanza(xml("message", attrs, about, xml("body", {}, text)), host, jid);
  }

  #names(): string[] {
    const names: string[] = [];
    for (const { jid } of this.#slow.keys()) if (names.push(jid.toString()) === MAX_NAMED) break;
    return names;
  }
}

/** Resolves when `work` has settled, or `signal` aborts. */
function settledOrAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      signal.removeEventListener("abort", finish);
      resolve();
    };
    signal.addEventListener("abort", finish);
    if (signal.aborted) finish();
    work.then(finish, finish);
  });
}
