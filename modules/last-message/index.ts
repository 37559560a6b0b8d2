// Sends everybody who is online a last message when the server goes down, and another when it does not after all. It goes
// out after `stop-accepting`: everybody who is connected will get it, nobody new can come, and a stop can still be
// cancelled. An example of a module that goes through many sessions without holding up the server. docs/modules.md tells
// about it.

import {
  defineModule,
  duration,
  Jid,
  type ModuleApi,
  type PhaseContext,
  type Session,
  Stanza,
  xml,
  z,
} from "../../src/module.ts";

/** A text with placeholders. */
const template = (known: readonly string[]) =>
  z
    .string()
    .max(2_000)
    .superRefine((text, context) => {
      for (const [whole, name = ""] of text.matchAll(/\{(\w*)\}/g)) {
        if (known.includes(name)) continue;
        const message = `there is no placeholder ${whole} here, only {${known.join("}, {")}}`;
        context.addIssue({ code: "custom", message });
      }
    });

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

/** How many slow sessions are named while they are waited for. */
const MAX_NAMED = 5;

/** What a participant has to take back what it did. */
const TAKE_BACK_MS = 5_000;

/** What goes out, and to whom. */
interface Round {
  readonly sessions: readonly Session[];
  readonly text: (session: Session) => string;
  readonly signal: AbortSignal;
  /** Told how many have it, and who is slow. */
  readonly progress?: (done: number, blockers: readonly string[]) => void;
  /** Gets who was written to. */
  readonly told?: Session[];
}

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
    const { causes, text } = this.#options;
    if (!causes.includes(cause)) return;
    const sessions = [...this.#api.sessions()].filter((session) => this.#isMeant(session));
    const fill = ({ account }: Session): string => filled(text, { cause, reason, host: account.domain });
    const progress = (done: number, blockers: readonly string[]): void => {
      // A slow session that comes round when the time is over has nobody to be told to any more.
      if (!signal.aborted && context.remaining() > 0) context.progress({ done, total: sessions.length, blockers });
    };
    await this.#send({ sessions, text: fill, signal, progress, told: this.#told });
  }

  /** Tells those who were told, however far the first round had come. */
  async takeBack(): Promise<void> {
    const sessions = this.#told;
    this.#told = [];
    const { cancelled_text: text, limit } = this.#options;
    if (text === "") return;
    const over = new AbortController();
    const timer = this.#api.clock.setTimer(Math.min(limit, TAKE_BACK_MS), () => over.abort());
    try {
      const fill = ({ account }: Session): string => filled(text, { host: account.domain });
      await this.#send({ sessions, text: fill, signal: over.signal });
    } finally {
      timer.cancel();
    }
  }

  /**
   * Writes to all sessions in batches, then waits for those that are slow to read: one of them must not keep the others
   * from hearing. Ends early when `signal` aborts.
   */
  async #send({ sessions, text, signal, progress, told }: Round): Promise<void> {
    const slow = new Map<Session, Promise<void>>();
    let written = 0;
    const tell = (): void => {
      const blockers: string[] = [];
      for (const { jid } of slow.keys()) if (blockers.push(jid.toString()) === MAX_NAMED) break;
      progress?.(written - slow.size, blockers);
    };
    for (const session of sessions) {
      if (signal.aborted) return;
      written++;
      if (session.open) {
        const waiting = session.deliver(this.#headline(session, text(session)));
        told?.push(session);
        if (waiting !== undefined) {
          const settled = (): void => {
            slow.delete(session);
            tell();
          };
          slow.set(session, waiting.then(settled, settled));
        }
      }
      if (written % this.#options.batch !== 0) continue;
      tell();
      await this.#api.clock.turn();
    }
    tell();
    await settledOrAborted(Promise.all(slow.values()), signal);
  }

  #headline({ account, jid }: Session, text: string): Stanza {
    const host = Jid.of("", account.domain);
    const { subject } = this.#options;
    const attrs = { type: "headline", from: host.toString(), to: jid.toString(), id: this.#api.random.id() };
    const about = subject === "" ? undefined : xml("subject", {}, subject);
    return new Stanza(xml("message", attrs, about, xml("body", {}, text)), host, jid);
  }

  /** Whoever sent no presence does not expect messages. */
  #isMeant({ account, presence, open }: Session): boolean {
    if (!open || presence === undefined) return false;
    return !this.#exempt.has(account.toString()) && !this.#exempt.has(account.domain);
  }
}

function filled(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{(\w*)\}/g, (whole, name: string) => values[name] ?? whole);
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
