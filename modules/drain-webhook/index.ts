// Tells a web address of each shutdown: when it begins, when everything that was owed to other servers has its fate, and,
// at the next start, how it ended. An example of a module that is awaited in a phase, keeps to its time and takes back
// what it said when the stop is cancelled. docs/modules.md tells about it.

import { type DrainReport, defineModule, duration, type ModuleApi, type PhaseContext, z } from "../../src/module.ts";
import { type Delivery, deliver } from "./delivery.ts";
import { signatureOf } from "./post.ts";

const options = z.strictObject({
  /** Where to post. */
  url: z.url({ protocol: /^https?$/, error: 'expected an address such as "https://example.org/hook"' }),
  /** Signs each body: `X-Morendo-Signature: sha256=HMAC`. */
  secret: z.string().min(16, "expected at least 16 characters").optional(),
  /** How long one attempt may take. */
  timeout: duration("2s"),
  /** How often to try. */
  attempts: z.int().min(1).max(10).default(3),
  /** The pause after the first attempt; each further one is twice as long. */
  pause: duration("250ms"),
  /** The longest that one message may hold up a phase, all attempts together. */
  limit: duration("5s"),
});

type Options = z.output<typeof options>;

/** What a message is about. */
type Happening = "stopping" | "cancelled" | "drained" | "finished";

/** What a participant has to take back what it did. */
const TAKE_BACK_MS = 5_000;

/** The key under which the run is remembered whose end was posted. */
const POSTED = ["posted"];

export default defineModule({
  name: "drain-webhook",
  options,
  load(api, options) {
    const webhook = new Webhook(api, options);
    const timeout = `${options.limit}ms`;
    const cancelled = (): Promise<void> => webhook.cancelled();
    api.phase("stop-accepting", { name: "stopping", timeout, cancelled }, (context) => webhook.stopping(context));
    api.phase("drain-s2s", { name: "drained", when: "after", timeout }, (context) => webhook.drained(context));
    const unloaded = new AbortController();
    const finished = webhook.finished(unloaded.signal);
    return async () => {
      unloaded.abort();
      await finished;
    };
  },
});

class Webhook {
  #api: ModuleApi;
  #options: Options;
  /** The run that was told of last. */
  #run: string | undefined;

  constructor(api: ModuleApi, options: Options) {
    this.#api = api;
    this.#options = options;
  }

  /** A stop has begun. */
  async stopping(context: PhaseContext): Promise<void> {
    const { cause, reason } = context;
    this.#run = this.#api.report()?.id;
    await this.#post("stopping", this.#run, { cause, reason }, context);
  }

  /** The stop that was told of does not take place. */
  async cancelled(): Promise<void> {
    const { clock } = this.#api;
    const limitMs = Math.min(this.#options.limit, TAKE_BACK_MS);
    const over = new AbortController();
    const end = clock.now() + limitMs;
    const timer = clock.setTimer(limitMs, () => over.abort());
    try {
      const time = { signal: over.signal, remaining: () => Math.max(0, end - clock.now()) };
      await this.#post("cancelled", this.#run, {}, time);
    } finally {
      timer.cancel();
    }
  }

  /** Everything owed to other servers has its fate; the report says which. It is not final: `quit` is still to come. */
  async drained(context: PhaseContext): Promise<void> {
    const { cause, reason } = context;
    const report = this.#api.report();
    await this.#post("drained", report?.id, { cause, reason, report }, context);
  }

  /** Posts how the run before this start ended, unless that has been done. In the background: it holds up nothing. */
  async finished(signal: AbortSignal): Promise<void> {
    const { storage, log } = this.#api;
    try {
      const report = this.#api.previousReport();
      // That one was cancelled has been told.
      if (report === undefined || report.outcome === "cancelled") return;
      if ((await storage.get(POSTED)) === report.id) return;
      await this.#post(
        "finished",
        report.id,
        { cause: report.cause, reason: report.reason, report },
        {
          signal,
          remaining: () => Number.POSITIVE_INFINITY,
        },
      );
      await storage.put(POSTED, report.id);
      await storage.flushed();
    } catch (thrown) {
      // The next start tries again.
      if (!signal.aborted) log.warn({ err: thrown }, "the report of the last run could not be posted");
    }
  }

  async #post(
    event: Happening,
    run: string | undefined,
    about: { readonly cause?: string; readonly reason?: string; readonly report?: DrainReport | undefined },
    time: Pick<Delivery, "signal" | "remaining">,
  ): Promise<void> {
    const { clock, random, hosts, serverVersion } = this.#api;
    const { url, secret, attempts, timeout, pause } = this.#options;
    const at = new Date(clock.wallTime()).toISOString();
    const body = JSON.stringify({ event, run, at, hosts, version: serverVersion, ...about });
    const headers = {
      "content-type": "application/json",
      "user-agent": `Morendo/${serverVersion}`,
      "x-morendo-event": event,
      ...(secret === undefined ? {} : { "x-morendo-signature": signatureOf(body, secret) }),
    };
    const patience = { attempts, timeoutMs: timeout, pauseMs: pause };
    await deliver({ url, body, headers }, { patience, clock, random, ...time });
  }
}
