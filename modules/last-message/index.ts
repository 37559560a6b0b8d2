// Sends everybody who is online a last message when the server goes down, and another when it does not after all. It goes
// out after `stop-accepting`: everybody who is connected will get it, nobody new can come, and a stop can still be
// cancelled. An example of a module that goes through many sessions without holding up the server. docs/modules.md tells
// about it.

import {
  defineModule,
  duration,
  filled,
  Jid,
  type ModuleApi,
  type PhaseContext,
  type Session,
  Teller,
  template,
  z,
} from "../../src/module.ts";

const options = z.strictObject({
  /** What users read. {reason} is the operator's reason, {cause} why it goes down, {host} the user's domain. */
  text: template(["reason", "cause", "host"]).default("The server is going down: {reason}"),
  /** What those who were told read when the stop is cancelled; {host} as above. Empty: nothing. */
  cancelled_text: template(["host"]).default("The server stays up."),
  /** The subject of both; empty: none. */
  subject: z.string().max(200).default(""),
  /** The causes for which it is sent. */
  causes: z.array(z.enum(["stop", "restart", "suspend", "evacuate"])).default(["stop", "restart"]),
  /** Accounts and domains that are spared, such as "monitor@example.org" or "bots.example.org". */
  exempt: z
    .array(z.string().refine((text) => Jid.parse(text)?.isFull === false, "expected an account or a domain"))
    .default([]),
  /** How many sessions are written to before other work has its turn. */
  batch: z.int().positive().default(50),
  /** The longest that the messages may hold up the stop. */
  limit: duration("3s"),
});

type Options = z.output<typeof options>;

export default defineModule({
  name: "last-message",
  options,
  load(api, options) {
    const broadcaster = new Broadcaster(api, options);
    const timeout = `${options.limit}ms`;
    const cancelled = (): Promise<void> => broadcaster.takeBack();
    api.phase("stop-accepting", { when: "after", timeout, cancelled }, (context) => broadcaster.announce(context));
  },
});

/** What a participant has to take back what it did. */
const TAKE_BACK_MS = 5_000;

class Broadcaster {
  #api: ModuleApi;
  #options: Options;
  #exempt: ReadonlySet<string>;
  /** Who was told in the run under way. */
  #told: Session[] = [];

  constructor(api: ModuleApi, options: Options) {
    this.#api = api;
    this.#options = options;
    this.#exempt = new Set(options.exempt.map((text) => Jid.parse(text)?.toString() ?? ""));
  }

  async announce(context: PhaseContext): Promise<void> {
    const { cause, reason, signal } = context;
    this.#told = [];
    const { causes, text, subject } = this.#options;
    if (!causes.includes(cause)) return;
    const sessions = [...this.#api.sessions()].filter((session) => this.#isMeant(session));
    const fill = ({ account }: Session): string => filled(text, { cause, reason, host: account.domain });
    const progress = (done: number, blockers: readonly string[]): void => {
      // A slow session that comes round when the time is over has nobody to be told to any more.
      if (!signal.aborted && context.remaining() > 0) context.progress({ done, total: sessions.length, blockers });
    };
    const told = (session: Session): void => void this.#told.push(session);
    const teller = this.#teller();
    await teller.tell({ sessions, text: fill, subject, signal, told, progress });
    await teller.settled(signal, (left, blockers) => progress(sessions.length - left, blockers));
  }

  /** Tells those who were told, however far the first round had come. */
  async takeBack(): Promise<void> {
    const sessions = this.#told;
    this.#told = [];
    const { cancelled_text: text, subject, limit } = this.#options;
    if (text === "") return;
    const over = new AbortController();
    const timer = this.#api.clock.setTimer(Math.min(limit, TAKE_BACK_MS), () => over.abort());
    try {
      const fill = ({ account }: Session): string => filled(text, { host: account.domain });
      const teller = this.#teller();
      await teller.tell({ sessions, text: fill, subject, signal: over.signal });
      await teller.settled(over.signal);
    } finally {
      timer.cancel();
    }
  }

  /** One for each round: who is slow in one is to hear the other all the same. */
  #teller(): Teller {
    const { clock, random } = this.#api;
    return new Teller({ clock, random, batch: this.#options.batch });
  }

  /** Whoever sent no presence does not expect messages. */
  #isMeant({ account, presence, open }: Session): boolean {
    if (!open || presence === undefined) return false;
    return !this.#exempt.has(account.toString()) && !this.#exempt.has(account.domain);
  }
}
