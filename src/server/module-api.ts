// What a module is given: the one way into the server for a feature, ours or anybody else's. Everything registered
// through it is undone when the module unloads. The loader implements it; src/module.ts publishes it.

import type { z } from "zod";
import type { Jid } from "../jid/jid.ts";
import type { Lease, LifecycleState, Participant, PhaseContext, When } from "../shutdown/types.ts";
import type { Stanza } from "../stanza/stanza.ts";
import type { Key, Value } from "../store/store.ts";
import type { Clock, Timer } from "../util/clock.ts";
import type { HookOrder } from "../util/hooks.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import type { HookCatalogue, NotificationCatalogue } from "./catalogue.ts";
import type { PhaseName } from "./phases.ts";
import type { Rosters } from "./rosters.ts";
import type { Session } from "./session.ts";

export type { HookOrder, Lease, LifecycleState, Participant, PhaseContext, When };

/** A service discovery identity (XEP-0030). */
export interface Identity {
  readonly category: string;
  readonly type: string;
  readonly name?: string;
}

/** What a disco entry is about: the host itself, or each account on it. */
export type DiscoTarget = "host" | "account";

/** A module's own part of the store; keys of other modules are out of reach. */
export interface ModuleStorage {
  /** Returns the value at `key`, or undefined. It sees writes whose promise has resolved. */
  get(key: Key): Promise<Value | undefined>;
  /** Writes; resolves when later reads see it. It is not on disk before `flushed` resolves. */
  put(key: Key, value: Value): Promise<void>;
  /** Removes what is at `key`, if anything. */
  delete(key: Key): Promise<void>;
  /** Does all the writes or none; a value of undefined deletes. */
  batch(writes: readonly (readonly [Key, Value | undefined])[]): Promise<void>;
  /** Returns the entries whose key begins with `prefix`, in the order of their keys, at most `limit`. */
  range(prefix: Key, limit?: number): Promise<readonly (readonly [Key, Value])[]>;
  /** Adds `value` at the end of the list at `key`, which `range(key)` returns in order; resolves to the entry's own key. */
  append(key: Key, value: Value): Promise<Key>;
  /** Resolves when every write begun before is on disk. */
  flushed(): Promise<void>;
}

/** When and how long a module takes part in a phase. */
export interface PhaseOptions {
  /** `before`, `during` (the default) or `after` the phase's own work. */
  readonly when?: When;
  /** A duration such as `"2s"`; without one the phase's own time. */
  readonly timeout?: string;
  /** Distinguishes several participants of one module in the report. */
  readonly name?: string;
}

/**
 * What a module hands over when another process takes this one's place, and what it keeps for the next start: the part of
 * its memory that belongs to sessions which go on there. Everything else it should have in its storage anyway.
 */
export interface Handover {
  /** The version of the value's shape, given to `load` with the value. */
  readonly version: number;
  /**
   * Returns what the module holds for `sessions`, those that go on, as JSON. Nothing that clients or other servers send
   * is handled between this call and the end of the process, or `undo`. A rejection makes a restart fail, and this
   * process goes on.
   */
  save(sessions: ReadonlySet<Session>): Value | Promise<Value>;
  /**
   * Takes over what `save` returned in another process, perhaps of another version of the module. The sessions are there
   * already, by `ModuleApi.session`. Check the value: a rejection makes a restart fail, and the other process goes on;
   * at a plain start it is logged, and the sessions end.
   */
  load(value: Value, version: number): void | Promise<void>;
  /** The other process failed: undoes what `save` did, if it did anything. */
  undo?(): void | Promise<void>;
}

/** The server as a module sees it. */
export interface ModuleApi {
  /** The module's name. */
  readonly name: string;
  /** Writes to the server's log, each line with the module's name. */
  readonly log: Logger;
  /** The time, and ways to wait: never `Date.now` or `setTimeout`, so that a test can own the time. */
  readonly clock: Clock;
  /** Randomness, also for keys and names that nobody may guess. */
  readonly random: Random;
  /** The server's version, for XEP-0092 and the like. */
  readonly serverVersion: string;
  /** The domains served here. */
  readonly hosts: readonly string[];
  /** Where the server is in its life. */
  readonly state: LifecycleState;
  /** The module's own part of the store. */
  readonly storage: ModuleStorage;
  /** The rosters of all local accounts. */
  readonly rosters: Rosters;

  /** Answers at a hook. Handlers run in the order of registration within `early`, `normal` and `late`. */
  hook<Name extends keyof HookCatalogue & string>(
    name: Name,
    handler: (
      payload: HookCatalogue[Name]["payload"],
    ) => HookCatalogue[Name]["answer"] | undefined | Promise<HookCatalogue[Name]["answer"] | undefined>,
    order?: HookOrder,
  ): void;
  /** Listens to a notification. */
  on<Name extends keyof NotificationCatalogue & string>(
    name: Name,
    listener: (payload: NotificationCatalogue[Name]) => void,
  ): void;
  /** Takes part in a phase of the shutdown. */
  phase(phase: PhaseName, options: PhaseOptions, run: (context: PhaseContext<PhaseName>) => void | Promise<void>): void;
  /** Announces a feature by service discovery. */
  feature(namespace: string, target?: DiscoTarget): void;
  /** Announces an identity by service discovery. */
  identity(identity: Identity, target?: DiscoTarget): void;
  /** Returns what all modules announce. */
  announced(target: DiscoTarget): { readonly identities: readonly Identity[]; readonly features: readonly string[] };
  /** Adds an element to the stream features that a logged-in client is offered, such as roster versioning. */
  streamFeature(namespace: string, name: string): void;
  /** Says what this module hands over at a restart; called again it replaces what was said before. */
  handover(handover: Handover): void;
  /** Calls `fire` once, `ms` from now, unless the module unloads before. */
  timer(ms: number, fire: () => void): Timer;

  /**
   * Sends a stanza on its way, wherever its `to` leads. A stanza that cannot be delivered comes back to its sender as an
   * error by the ordinary rules. A promise means: wait for it before sending more.
   */
  route(stanza: Stanza): void | Promise<void>;
  /** Tells whether `jid`'s domain is served here. */
  isLocal(jid: Jid): boolean;
  /** Tells whether a local account exists. */
  accountExists(account: Jid): Promise<boolean>;
  /** Returns the account's sessions, in no order. */
  sessionsOf(account: Jid): readonly Session[];
  /** Returns the session with this full JID. */
  session(full: Jid): Session | undefined;
}

/** A module: one feature. */
export interface ModuleDefinition<Options extends z.ZodType = z.ZodType> {
  /** The folder's name, in kebab-case. */
  readonly name: string;
  /** Names of modules that must be loaded first. */
  readonly requires?: readonly string[];
  /** Checks `[module.NAME]` of the configuration; without it the module takes no options. */
  readonly options?: Options;
  /** Registers what the module does. A returned function runs at unload, after everything registered was undone. */
  load(api: ModuleApi, options: z.output<Options>): void | (() => void | Promise<void>) | Promise<void>;
}
