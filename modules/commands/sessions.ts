// The commands that are under way (XEP-0050 §3.3): whose they are, how far they have come, how many there may be and for
// how long. Not for: what happens at a step.

import type { AdHocCommand, Clock, CommandStage, Jid, Random } from "../../src/module.ts";

/** How many sessions that are over are remembered, so that a late step can be told so. */
const MAX_ENDED = 1_000;

/** A command that a user has begun. */
export interface CommandSession {
  readonly id: string;
  readonly command: AdHocCommand;
  /** The full JID that began it, and no other may go on with it. */
  readonly asker: string;
  readonly account: string;
  /** The forms so far; the last one is to be filled in. */
  readonly stages: CommandStage[];
  /** Whether the command is at work. */
  isBusy: boolean;
  /** When the last step was taken. */
  at: number;
}

/** What the sessions are kept with. */
export interface CommandSessionsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly max: number;
  readonly maxPerUser: number;
  readonly timeoutMs: number;
}

/** The sessions of commands. */
export class CommandSessions {
  #options: CommandSessionsOptions;
  /** Those that were begun first come first. */
  #open = new Map<string, CommandSession>();
  /** Who had the sessions that are over. */
  #ended = new Map<string, string>();

  constructor(options: CommandSessionsOptions) {
    this.#options = options;
  }

  /** Begins a session; undefined when there are too many. The user's oldest one makes room for it. */
  begin(command: AdHocCommand, asker: Jid): CommandSession | undefined {
    this.#dropLate();
    const { max, maxPerUser, random, clock } = this.#options;
    const account = asker.bare.toString();
    const own = [...this.#open.values()].filter((session) => session.account === account);
    if (own.length >= maxPerUser || this.#open.size >= max) {
      const oldest = own.find((session) => !session.isBusy);
      if (oldest === undefined) return undefined;
      this.end(oldest);
    }
    const id = random.id();
    const session = { id, command, asker: asker.toString(), account, stages: [], isBusy: false, at: clock.now() };
    this.#open.set(id, session);
    return session;
  }

  /** Returns the asker's session for its next step; `expired` when it is over. */
  get(id: string, asker: string): CommandSession | "expired" | undefined {
    this.#dropLate();
    const session = this.#open.get(id);
    if (session === undefined) return this.#ended.get(id) === asker ? "expired" : undefined;
    if (session.asker !== asker) return undefined;
    session.at = this.#options.clock.now();
    return session;
  }

  end({ id, asker }: CommandSession): void {
    this.#open.delete(id);
    this.#ended.set(id, asker);
    if (this.#ended.size <= MAX_ENDED) return;
    for (const oldest of this.#ended.keys()) {
      this.#ended.delete(oldest);
      break;
    }
  }

  /** Ends all sessions of a full JID. */
  forget(asker: string): void {
    for (const session of this.#open.values()) if (session.asker === asker) this.end(session);
  }

  #dropLate(): void {
    const earliest = this.#options.clock.now() - this.#options.timeoutMs;
    for (const session of this.#open.values()) if (!session.isBusy && session.at < earliest) this.end(session);
  }
}
