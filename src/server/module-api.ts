// What a module is given: the one way into the server for a feature, ours or anybody else's. Everything registered
// through it is undone when the module unloads. The loader implements it; src/module.ts publishes it.
//
// Every error that it throws or rejects with is a MorendoError: `code` is stable, and the message names the module. The
// same is logged, and counted in the section `modules` of the drain report.

import type { z } from "zod";
import type { Jid } from "../jid/jid.ts";
import type { RunOutcome } from "../shutdown/exit-codes.ts";
import type { DestinationTotals, FateTotals, ObligationReport } from "../shutdown/obligations.ts";
import type {
  CancelReport,
  DrainReport,
  ParticipantReport,
  PhaseReport,
  RepeatedRequest,
  SkipReason,
} from "../shutdown/report.ts";
import type { ResumeContext, SuspendContext, SuspendStep } from "../shutdown/suspend-types.ts";
import type {
  Cause,
  Evidence,
  Fate,
  Lease,
  LifecycleState,
  Outcome,
  Participant,
  PhaseContext,
  Progress,
  When,
} from "../shutdown/types.ts";
import type { Stanza } from "../stanza/stanza.ts";
import type { StanzaError } from "../stanza/stanza-error.ts";
import type { Key, Value } from "../store/store.ts";
import type { Clock, Timer } from "../util/clock.ts";
import type { HookOrder } from "../util/hooks.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import type { AdHocCommand } from "./ad-hoc-command.ts";
import type { HookCatalogue, NotificationCatalogue } from "./catalogue.ts";
import type { PhaseName } from "./phases.ts";
import type { Rosters } from "./rosters.ts";
import type { Session } from "./session.ts";

export type {
  CancelReport,
  Cause,
  DestinationTotals,
  DrainReport,
  Evidence,
  Fate,
  FateTotals,
  HookOrder,
  Lease,
  LifecycleState,
  ObligationReport,
  Outcome,
  Participant,
  ParticipantReport,
  PhaseContext,
  PhaseReport,
  Progress,
  RepeatedRequest,
  ResumeContext,
  RunOutcome,
  SkipReason,
  SuspendContext,
  SuspendStep,
  When,
};

/** A service discovery identity (XEP-0030). */
export interface Identity {
  /** The category, such as `server` or `account`; the registry is at https://xmpp.org/registrar/disco-categories.html. */
  readonly category: string;
  /** The type within the category, such as `im`. */
  readonly type: string;
  /** A name for people. */
  readonly name?: string;
}

/** What a disco entry is about: the host itself, or each account on it. */
export type DiscoTarget = "host" | "account";

/** A question about a node of service discovery (XEP-0030 §2.2): a part of a host or an account that has a name. */
export interface NodeQuery {
  readonly node: string;
  readonly target: DiscoTarget;
  /** The host, or the account. Of an account only those are answered who may know of it. */
  readonly asked: Jid;
  /** Who asks, by full JID. */
  readonly asker: Jid;
}

/** Something that belongs to a node, or that a node leads to. */
export interface DiscoItem {
  /** Where it is to be asked for. */
  readonly jid: string;
  readonly node?: string;
  /** A name for people. */
  readonly name?: string;
}

/** A node as service discovery tells of it; what is left out is empty. */
export interface DiscoNode {
  readonly identities?: readonly Identity[];
  readonly features?: readonly string[];
  readonly items?: readonly DiscoItem[];
}

/** Describes the nodes it knows; undefined for others. */
export type FindNode = (query: NodeQuery) => DiscoNode | StanzaError | undefined;

/**
 * A module's own part of the store; keys of other modules are out of reach, and it outlives the module. Everything is
 * asynchronous and may be called at any time, also after the module was unloaded by work that is still under way. Every
 * method rejects with `MORENDO_STORE_CLOSED` once the store is closed, which is after the modules were unloaded in the
 * phase `quit`; other rejections mean a broken disk.
 */
export interface ModuleStorage {
  /** Returns the value at `key`, or undefined. It sees writes whose promise has resolved. */
  get(key: Key): Promise<Value | undefined>;
  /** Writes; resolves when later reads see it. It is not on disk before `flushed` resolves. */
  put(key: Key, value: Value): Promise<void>;
  /** Removes what is at `key`, if anything. As durable as `put`. */
  delete(key: Key): Promise<void>;
  /** Does all the writes or none; a value of undefined deletes. */
  batch(writes: readonly (readonly [Key, Value | undefined])[]): Promise<void>;
  /**
   * Returns the entries whose key begins with `prefix`, in the order of their keys, at most `limit`; with `after` only those
   * that come after this key, which is how a long range is read page by page.
   */
  range(prefix: Key, limit?: number, after?: Key): Promise<readonly (readonly [Key, Value])[]>;
  /** Adds `value` at the end of the list at `key`, which `range(key)` returns in order; resolves to the entry's own key. */
  append(key: Key, value: Value): Promise<Key>;
  /** Resolves when every write begun before is on disk: only then promise anything to anybody. */
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
  /**
   * Takes back what was prepared, when the stop is cancelled before its point of no return (the start of
   * `close-sessions`): so it is of use in the phases `announce` and `stop-accepting`. Called only if the participant had
   * begun, however it fared, once per cancelled stop, and after its signal has aborted and it has settled (or was given
   * two seconds to). Those who began last are called first. It has five seconds, or `timeout` if that is shorter; what
   * throws or takes longer is named in the report, and the server serves on without. The participant stays registered:
   * a later stop calls it again.
   */
  readonly cancelled?: () => void | Promise<void>;
}

/**
 * How a module takes part when the server is suspended and goes on. All are awaited. First everybody prepares, then
 * everybody suspends, in the order of registration; they resume in the reverse order.
 */
export interface SuspendHooks {
  /** Changes nothing that anybody could notice; a rejection calls the suspension off, and says why. */
  prepare?(context: SuspendContext): void | Promise<void>;
  /**
   * Stands still when it resolves: in the mode `hold` the module must write nothing from then on and let no time run out.
   * What clients and other servers send is not read any more, and what was in work is finished, when it is called. One that
   * is out of time or rejects is named as late, and the suspension goes back or stays, as the operator chose.
   */
  suspend?(context: SuspendContext): void | Promise<void>;
  /**
   * Goes on: called for whoever had begun to prepare or to suspend, however it fared, also before a stop; it has five
   * seconds. Clients and other servers are heard again only afterwards.
   */
  resume?(context: ResumeContext): void | Promise<void>;
}

/** When and how long a module takes part in suspensions. */
export interface SuspendOptions {
  /** The modes it takes part in, such as `hold` and `refuse`; all unless given. The context names the mode. */
  readonly modes?: readonly string[];
  /** A duration such as `"2s"` for each step; without one what is left of the suspension's time. */
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

/** How an operation ended. The code of an error is stable, its message for people. */
export type OperationOutcome =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: { readonly code: string; readonly message: string } };

/**
 * What operators can ask of the server, for a module that lets users ask for it. The names, arguments and results are those of
 * the control socket: docs/OPERATORS.md. The rights are those of the configuration, `[admin]`.
 */
export interface ModuleOperations {
  /** Returns the names of the operations that the account may ask for; none for most. */
  allowed(who: Jid): ReadonlySet<string>;
  /**
   * Performs an operation on behalf of `who`, an account or a full JID that has been authenticated. Resolves when it is done,
   * which for some takes long; never rejects. `MORENDO_NOT_ALLOWED`: `who` has no right to it; `MORENDO_UNKNOWN_ACTION`;
   * `MORENDO_BAD_ARGUMENTS`: nothing was done.
   */
  perform(who: Jid, name: string, args?: unknown): Promise<OperationOutcome>;
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
  /** Where the server is in its life. The notification `lifecycle/state` tells of changes. */
  readonly state: LifecycleState;
  /** The module's own part of the store. */
  readonly storage: ModuleStorage;
  /** The rosters of all local accounts. */
  readonly rosters: Rosters;
  /** What operators can ask of the server. */
  readonly operations: ModuleOperations;

  /**
   * Answers at a hook; docs/CATALOGUE.md lists them with payload and answer. The handler returns its answer, or undefined
   * to let the next one look, or a promise of either, which makes whatever asked wait, and with it the stream that the
   * stanza came by: answer at once where you can. Handlers run in three groups, `early`, `normal` (the default) and
   * `late`; within a group in the order in which their modules were loaded. One that throws or rejects is logged, and the
   * next one is asked; one that does not settle within 30 seconds, or holds the event loop up, is named in the log.
   * Throws `MORENDO_STOPPING` once a stop is past its point of no return, and `MORENDO_MODULE_UNLOADED`.
   */
  hook<Name extends keyof HookCatalogue & string>(
    name: Name,
    handler: (
      payload: HookCatalogue[Name]["payload"],
    ) => HookCatalogue[Name]["answer"] | undefined | Promise<HookCatalogue[Name]["answer"] | undefined>,
    order?: HookOrder,
  ): void;
  /**
   * Listens to a notification; docs/CATALOGUE.md lists them. Nobody waits for the listener, and it runs on the stack of
   * what it is told of: be quick. What it throws, or rejects with if it is async, is logged under the module's name.
   * Throws `MORENDO_STOPPING` once a stop is past its point of no return, and `MORENDO_MODULE_UNLOADED`.
   *
   * `server-stopping` is a phase as well and awaits its listeners (`ServerStopping.waitUntil`): one that is added while
   * that phase is under way joins in, and it throws `MORENDO_PHASE_OVER` only when that phase has ended.
   */
  on<Name extends keyof NotificationCatalogue & string>(
    name: Name,
    listener: (payload: NotificationCatalogue[Name]) => void,
  ): void;
  /**
   * Takes part in a phase of the shutdown, at every stop until the module is unloaded. `run` is awaited; when its time is
   * over its signal aborts and the phase goes on without it, and it is named in the report, as is one that throws. One
   * that is added while the phase is under way joins in. The own work of `quit` is unloading
   * modules and closing the store, so that modules take part `before` it, also if they say `during`.
   * Throws `MORENDO_PHASE_OVER` when the phase has ended, `MORENDO_MODULE_UNLOADED`, and `MORENDO_MODULE_MISUSE` for a
   * `timeout` that is no duration and for `after` `quit`.
   */
  phase(phase: PhaseName, options: PhaseOptions, run: (context: PhaseContext<PhaseName>) => void | Promise<void>): void;
  /**
   * Announces a feature by service discovery (XEP-0030), by default of the host. Two modules may announce the same.
   * Throws `MORENDO_STOPPING` once a stop is past its point of no return, and `MORENDO_MODULE_UNLOADED`.
   */
  feature(namespace: string, target?: DiscoTarget): void;
  /** Announces an identity by service discovery, by default of the host. Throws like `feature`. */
  identity(identity: Identity, target?: DiscoTarget): void;
  /** Returns what all modules announce at the moment. */
  announced(target: DiscoTarget): { readonly identities: readonly Identity[]; readonly features: readonly string[] };
  /**
   * Answers for nodes of service discovery, by what `find` returns: a node, an error for the asker, or undefined to let
   * another module look. It is asked for every node that somebody asks for: be quick. Throws like `feature`.
   */
  nodes(find: FindNode): void;
  /** Returns what the modules say of a node; undefined when none knows it. */
  node(query: NodeQuery): DiscoNode | StanzaError | undefined;
  /**
   * Offers an ad-hoc command (XEP-0050) on every host; the module `commands` speaks the protocol. Throws like `feature`,
   * and `MORENDO_MODULE_MISUSE` when there is a command with this node already.
   */
  command(command: AdHocCommand): void;
  /** Returns the commands that all modules offer at the moment, by node. */
  commands(): ReadonlyMap<string, AdHocCommand>;
  /**
   * Adds an empty element to the stream features that a logged-in client is offered, such as roster versioning. Throws
   * like `feature`.
   */
  streamFeature(namespace: string, name: string): void;
  /**
   * Takes part in every suspension of the server until the module is unloaded. Throws `MORENDO_MODULE_UNLOADED`, and
   * `MORENDO_MODULE_MISUSE` for a `timeout` that is no duration.
   */
  suspend(hooks: SuspendHooks, options?: SuspendOptions): void;
  /** Says what this module hands over at a restart; called again it replaces what was said before. Throws like `feature`. */
  handover(handover: Handover): void;
  /**
   * Calls `fire` once, `ms` milliseconds from now, unless the module unloads before. Throws `MORENDO_TIMER_TOO_LATE` when
   * a stop is past its point of no return and its deadline comes first, because the timer could never fire, and
   * `MORENDO_MODULE_UNLOADED`.
   */
  timer(ms: number, fire: () => void): Timer;

  /**
   * Sends a stanza on its way, wherever its `to` leads. A stanza that cannot be delivered comes back to its sender as an
   * error by the ordinary rules. A promise means: it is not yet carried, wait for it before sending more. Stanzas to other
   * servers can be sent until the end of the phase `drain-s2s`, where they are waited for; afterwards nothing can be
   * carried, and it throws `MORENDO_ROUTE_CLOSED`. Unavailable presence is never refused: it is named as lost in the report.
   *
   * `settled` is told once what became of it: its fate at another server, which is `stored` when it waits in the journal on
   * the disk, or `handled` for what is for our own hosts. It may be told before `route` returns, and it is not told in
   * this process any more when the process ends before.
   */
  route(stanza: Stanza, settled?: (fate: Fate | "handled") => void): void | Promise<void>;
  /**
   * Tells whether `jid`'s domain is served by this process. Once a successor has taken over (cause `restart`) nothing is any
   * more: sessions and accounts are to be had through `route` only, like those of any other server.
   */
  isLocal(jid: Jid): boolean;
  /** Tells whether a local account exists. */
  accountExists(account: Jid): Promise<boolean>;
  /** Returns the account's sessions, in no order. */
  sessionsOf(account: Jid): readonly Session[];
  /** Returns the session with this full JID. */
  session(full: Jid): Session | undefined;
  /**
   * All bound sessions of all accounts, in no order, as they are while you go through them. There may be very many: give
   * the event loop its turns (`clock.turn()`) on the way. A module that is loaded at run time finds here the sessions
   * that it was not told of by `session/bound`.
   */
  sessions(): Iterable<Session>;

  /**
   * The drain report of the stop under way as far as it has come: the phases that have ended, the fates so far, and the
   * outcome if nothing else goes wrong. `after` `drain-s2s` every obligation has its fate; the phase `quit` itself is never
   * in it. Undefined when no stop is under way. A new copy each time, in time with the number of destinations.
   */
  report(): DrainReport | undefined;
  /**
   * The report of the last run before this start, from the data folder, cancelled ones included. Undefined when there is
   * none, or when the file was damaged, which is logged. A run that was killed leaves none, so look at `startedAt`.
   */
  previousReport(): DrainReport | undefined;
}

/** What a module does at its unloading, after everything that it had registered was undone. */
export type TidyUp = () => void | Promise<void>;

/** A module: one feature. */
export interface ModuleDefinition<Options extends z.ZodType = z.ZodType> {
  /**
   * Its name, in kebab-case: what `[module.NAME]` of the configuration, `requires` of others, the log and the report go
   * by. In a folder of modules it is the name of the module's folder. Of two modules with one name only one can be loaded.
   */
  readonly name: string;
  /** Names of modules that must be loaded first. They cannot be unloaded as long as this one is there. */
  readonly requires?: readonly string[];
  /** Checks `[module.NAME]` of the configuration; without it the module takes no options. */
  readonly options?: Options;
  /**
   * Registers what the module does. A promise is awaited before the next module loads and before the server accepts
   * anybody; at run time (`morendo module load`) it has 30 seconds. What it throws is told to whoever asked for the
   * module, and what it had registered is undone. A returned function runs at unload, for two seconds at most, after
   * everything registered was undone: close there what you opened yourself.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a load that returns nothing is the usual one
  load(api: ModuleApi, options: z.output<Options>): void | TidyUp | Promise<void | TidyUp>;
}
