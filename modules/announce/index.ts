// Tells everybody who is online that the server will go down, and how much time there is: at once, again as the end comes
// near, and whoever comes meanwhile when they come; and that it will not after all. Only for stops that are announced
// (`morendo stop --delay 5m --announce "Moving house"`). A module that has others to tell, such as rooms, takes part in
// the phase `announce` as this one does.

import {
  defineModule,
  duration,
  filled,
  type ModuleApi,
  type PhaseContext,
  type Session,
  Teller,
  template,
  z,
} from "../../src/module.ts";
import { inWords, repeats } from "./schedule.ts";

const options = z.strictObject({
  /**
   * What users read. {announcement} is what the operator said, {left} the time that is left in words, {reason} the
   * operator's reason, {cause} why it goes down, {host} the user's domain.
   */
  text: template(["announcement", "left", "reason", "cause", "host"]).default(
    "The server goes down in {left}: {announcement}",
  ),
  /** What those who were told read when it is cancelled; {host} as above. Empty: nothing. */
  cancelled_text: template(["host"]).default("The server stays up."),
  /** The subject of both; empty: none. */
  subject: z.string().max(200).default(""),
  /** How long before the end it is told again, beside at the beginning. */
  repeat: z.array(duration("1m")).max(50).prefault(["5m", "1m", "10s"]),
  /** Whether it is told again half way as well. */
  half_way: z.boolean().default(true),
  /** How many sessions are written to before other work has its turn. */
  batch: z.int().positive().default(50),
});

type Options = z.output<typeof options>;

export default defineModule({
  name: "announce",
  options,
  load(api, options) {
    const crier = new Crier(api, options);
    const cancelled = (): Promise<void> => crier.takeBack();
    api.phase("announce", { cancelled }, (context) => crier.announce(context));
    api.on("session/available", (session) => crier.tellNew(session));
  },
});

/** How often it is looked whether there is something to tell: somebody may have brought the end forward. */
const LOOK_MS = 1_000;
/** How much nearer the end must have come to be told again for that alone. */
const NEARER_MS = 5_000;
/** What a participant has to take back what it did. */
const TAKE_BACK_MS = 4_000;

class Crier {
  #api: ModuleApi;
  #options: Options;
  #teller: Teller;
  /** Set while the announced time goes by. */
  #context: PhaseContext | undefined;
  #told = new Set<Session>();

  constructor(api: ModuleApi, options: Options) {
    this.#api = api;
    this.#options = options;
    const { clock, random } = api;
    this.#teller = new Teller({ clock, random, batch: options.batch });
  }

  /** Tells and tells again until the time is over. */
  async announce(context: PhaseContext): Promise<void> {
    const { clock } = this.#api;
    const { signal } = context;
    this.#context = context;
    this.#told.clear();
    let said: string | undefined;
    let end = Number.POSITIVE_INFINITY;
    let times: number[] = [];
    while (!signal.aborted) {
      const { announcement, deadline } = context;
      const left = context.remaining();
      const isNew = announcement !== undefined && (announcement !== said || deadline < end - NEARER_MS);
      const isTime = times[0] !== undefined && left <= times[0];
      if (isNew) {
        const { repeat, half_way: isHalfWay } = this.#options;
        times = repeats(left, repeat, isHalfWay);
        said = announcement;
        end = deadline;
      } else if (isTime) times = times.filter((time) => time < left);
      if (isNew || isTime) await this.#tellAll(context);
      // Telling took its time.
      const next = context.remaining() - (times[0] ?? 0);
      await clock.sleep(Math.min(LOOK_MS, Math.max(1, next)), signal);
    }
    this.#context = undefined;
  }

  /** Somebody has come while the time goes by. */
  tellNew(session: Session): void {
    const context = this.#context;
    if (context === undefined || context.announcement === undefined || this.#told.has(session)) return;
    void this.#tell([session], context);
  }

  /** Tells those who were told that it does not take place. */
  async takeBack(): Promise<void> {
    const sessions = [...this.#told];
    this.#told.clear();
    this.#context = undefined;
    const { clock, random } = this.#api;
    const { cancelled_text: text, subject, batch } = this.#options;
    if (text === "") return;
    const over = new AbortController();
    const timer = clock.setTimer(TAKE_BACK_MS, () => over.abort());
    // Who was slow to read the announcement is to hear this all the same.
    const teller = new Teller({ clock, random, batch });
    const fill = ({ account }: Session): string => filled(text, { host: account.domain });
    await teller.tell({ sessions, text: fill, subject, signal: over.signal });
    timer.cancel();
  }

  async #tellAll(context: PhaseContext): Promise<void> {
    for (const session of this.#told) if (!session.open) this.#told.delete(session);
    // Whoever sent no presence does not expect messages.
    const sessions = [...this.#api.sessions()].filter(({ presence }) => presence !== undefined);
    await this.#tell(sessions, context);
  }

  async #tell(sessions: readonly Session[], context: PhaseContext): Promise<void> {
    const { cause, reason, signal, announcement = "" } = context;
    const { text: pattern, subject } = this.#options;
    const left = inWords(context.remaining());
    const text = ({ account }: Session): string =>
      filled(pattern, { announcement, left, reason, cause, host: account.domain });
    const told = (session: Session): void => void this.#told.add(session);
    await this.#teller.tell({ sessions, text, subject, signal, told });
  }
}
