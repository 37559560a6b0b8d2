// The client side alone on a clock moved by hand and a network in memory, with a real router and stand-ins behind it, so
// that a test holds in its hand what a module would keep.

import { configSchema } from "../../../../src/config/schema.ts";
import { Accounts } from "../../../../src/server/accounts.ts";
import { C2s } from "../../../../src/server/c2s/c2s.ts";
import type { ClientSession } from "../../../../src/server/c2s/client-session.ts";
import type { MessageOffline, OfflineAnswer, PresenceSent } from "../../../../src/server/catalogue.ts";
import { Router } from "../../../../src/server/router.ts";
import { SessionTable } from "../../../../src/server/session-table.ts";
import type { PhaseContext } from "../../../../src/shutdown/types.ts";
import type { Stanza } from "../../../../src/stanza/stanza.ts";
import { MemoryStore } from "../../../../src/store/memory.ts";
import { ManualClock } from "../../../../src/testing/manual-clock.ts";
import { MemoryNetwork } from "../../../../src/testing/memory-network.ts";
import { RawClient, type RawClientOptions } from "../../../../src/testing/raw-client.ts";
import { Hooks } from "../../../../src/util/hooks.ts";
import { silentLog } from "../../../../src/util/log.ts";
import { systemRandom } from "../../../../src/util/random.ts";
import { TimerWheel } from "../../../../src/util/timer-wheel.ts";
import { jid } from "../../../support/stanzas.ts";
import { timePasses } from "../../../support/time-passes.ts";

const PASSWORD = "orchard";

/** The client side of a.test. */
export class Bench {
  readonly clock: ManualClock;
  readonly network: MemoryNetwork;
  readonly wheel: TimerWheel;
  readonly sessions = new SessionTable();
  /** What was kept for accounts with nobody there, in order. */
  readonly stored: Stanza[] = [];
  /** What was told of sessions: `detached romeo@a.test/1`, `ended …`. */
  readonly told: string[] = [];
  /** What became of stanzas that were given to sessions with a reference: `a taken`, `b left`. */
  readonly referred: string[] = [];
  /** What becomes of a message that is to be kept; at once unless a test says otherwise. */
  keep: (stanza: Stanza) => void | Promise<void> = () => undefined;
  /** What modules do for a session that ends. */
  seeOff: () => void | Promise<void> = () => undefined;
  readonly router: Router;
  readonly c2s: C2s;
  readonly #accounts: Accounts;

  constructor(config: Record<string, unknown> = {}, clock = new ManualClock()) {
    this.clock = clock;
    this.network = new MemoryNetwork({ clock });
    this.wheel = new TimerWheel(clock);
    const hooks = new Hooks((_hook, _owner, thrown) => {
      throw thrown;
    });
    hooks.add("message/offline", "test", (payload) => this.#keep((payload as MessageOffline).stanza));
    hooks.add("presence/sent", "test", (payload) => {
      const { session, stanza } = payload as PresenceSent;
      session.setPresence(stanza.type === "available" ? stanza : undefined);
      return true;
    });
    const { sessions } = this;
    const options = { listen: ["127.0.0.1:5222"], listen_tls: ["127.0.0.1:5223"], ...config };
    this.#accounts = new Accounts({
      store: new MemoryStore(),
      random: systemRandom,
      iterations: 1,
      removed: async () => undefined,
    });
    this.router = new Router({
      hosts: ["a.test"],
      sessions,
      accounts: this.#accounts,
      hooks,
      remote: { send: () => undefined, onIqAnswer: () => false },
      obligations: { settle: () => undefined },
    });
    const tell = (what: string) => (session: ClientSession) => {
      this.told.push(`${what} ${session.jid.toString()}`);
    };
    this.c2s = new C2s({
      config: configSchema.parse({ c2s: options }).c2s,
      batch: 25,
      hosts: ["a.test"],
      network: this.network,
      certificates: {
        contextFor: () => {
          throw new Error("a network in memory needs no certificates");
        },
      },
      accounts: this.#accounts,
      sessions,
      router: this.router,
      clock,
      random: systemRandom,
      wheel: this.wheel,
      log: silentLog,
      moduleFeatures: () => [],
      sessionEnding: async (session) => {
        tell("ended")(session);
        await this.seeOff();
      },
      sessionBound: tell("bound"),
      sessionReachable: () => undefined,
      sessionDetached: tell("detached"),
      stanzaReferred: (_session, ref, isTaken) => this.referred.push(`${ref} ${isTaken ? "taken" : "left"}`),
      sessionResumed: tell("resumed"),
    });
  }

  /** Makes the accounts and opens the listeners. */
  async open(...accounts: string[]): Promise<this> {
    for (const name of accounts) await this.#accounts.create(jid(`${name}@a.test`), PASSWORD);
    await this.c2s.start();
    return this;
  }

  client(options: Partial<RawClientOptions> = {}): RawClient {
    const { clock, network } = this;
    const at = { host: "127.0.0.1", port: 5223, domain: "a.test", security: "direct", mechanism: "PLAIN" } as const;
    return new RawClient({ ...at, password: PASSWORD, clock, network, ...options });
  }

  session(full: string): ClientSession {
    return this.sessions.get(jid(full)) as ClientSession;
  }

  /** From now on storing a stanza takes until the returned function is called. */
  storesSlowly(): () => void {
    let done = (): void => undefined;
    this.keep = () =>
      new Promise((resolve) => {
        done = resolve;
      });
    return () => done();
  }

  /** Waits for `work` while time goes on, a millisecond at a time. */
  pass<T>(work: Promise<T>): Promise<T> {
    return timePasses(this, work);
  }

  /** Runs the phases in which clients are sent away. */
  async shutDown(): Promise<void> {
    const context: PhaseContext = {
      phase: "close-sessions",
      cause: "stop",
      reason: "moving house",
      signal: new AbortController().signal,
      deadline: this.clock.now() + 10_000,
      remaining: () => 10_000,
      lease: (name) => ({ name, release: () => undefined }),
      progress: () => undefined,
    };
    await this.c2s.stopAccepting(context);
    await this.c2s.closeSessions(context);
  }

  async close(): Promise<void> {
    await this.pass(this.shutDown());
  }

  #keep(stanza: Stanza): OfflineAnswer | Promise<OfflineAnswer> {
    this.stored.push(stanza);
    const work = this.keep(stanza);
    return work === undefined ? "stored" : work.then((): OfflineAnswer => "stored");
  }
}
