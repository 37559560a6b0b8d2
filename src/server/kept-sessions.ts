// The sessions that can be resumed, in the store from a plain stop to the next start: written in one batch in the last
// phase, and taken before anything is served. After a crash of the life that took them they are stale and end, with what
// waited in them (kept-records.ts). What cannot be read costs that session and never the start. Not for: restarts with a
// successor, which has the same data over a channel (passing-on.ts).

import { Jid } from "../jid/jid.ts";
import { parseStanza } from "../stanza/parse-stanza.ts";
import { StanzaError } from "../stanza/stanza-error.ts";
import type { Key, Store, Value, Write } from "../store/store.ts";
import type { Clock } from "../util/clock.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { Notifier } from "../util/events.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import type { Accounts } from "./accounts.ts";
import type { C2s } from "./c2s/c2s.ts";
import type { ClientSession } from "./c2s/client-session.ts";
import type { SessionSnapshot } from "./c2s/session-snapshot.ts";
import type { NotificationCatalogue } from "./catalogue.ts";
import { KeptRecords } from "./kept-records.ts";
import { loadModules, type ModuleState, type ModuleStates, saveModules, undoModules } from "./module-handover.ts";
import type { ModuleLoader } from "./module-loader.ts";
import type { Router } from "./router.ts";
import type { Session } from "./session.ts";

const COLLECTION = "kept-sessions";
/** The version of what is written; anything else is not understood. */
const VERSION = 1;
const HEAD: Key = ["head"];
/** Sessions that end before other work has its turn. */
const BATCH = 25;
const UNAVAILABLE = new StanzaError("service-unavailable");

export interface KeptSessionsOptions {
  readonly store: Store;
  readonly c2s: C2s;
  readonly modules: ModuleLoader;
  readonly accounts: Accounts;
  readonly router: Router;
  readonly notifications: Notifier<NotificationCatalogue>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** What can still be read of a session that cannot be restored. */
interface Salvage {
  readonly jid: Jid;
  readonly snapshot: SessionSnapshot;
}

/** Keeps sessions from a stop to the next start. */
export class KeptSessions {
  #options: KeptSessionsOptions;
  #records: KeptRecords;
  /** Sessions of the last life that wait for `begin`, and which of them end there. */
  #restored: ClientSession[] = [];
  #doomed = new Set<ClientSession>();
  /** What is left of sessions that have no place here. */
  #homeless: Salvage[] = [];

  constructor(options: KeptSessionsOptions) {
    this.#options = options;
    this.#records = new KeptRecords({ ...options, collection: COLLECTION, head: HEAD });
  }

  /**
   * Phase `quit`: writes all sessions that can be resumed, and forgets them once they are on disk; and what clients are to
   * learn that come back too late. At most half of `ms` goes by before the writing begins. Rejects with what the store said when they could not be written; they are still here
   * then, and end like any other session.
   */
  async save(ms: number): Promise<void> {
    const { c2s, store, modules, log } = this.#options;
    const sessions = await c2s.keepSessions(ms / 4);
    const past = c2s.past();
    if (sessions.size + past.length + this.#records.size === 0) return;
    this.#records.forget();
    const states = await this.#askModules(sessions, ms / 4);
    const stale = await store.range(COLLECTION, []).catch(() => []);
    const writes = [...stale.map(([key]) => deletion(key)), ...this.#writes(sessions, states)];
    for (const [index, one] of past.entries()) writes.push(put(["past", index], one));
    try {
      await store.batch(writes);
      await store.flushed();
    } catch (thrown) {
      log.error({ err: asError(thrown), sessions: sessions.size }, "sessions cannot be kept: they end");
      // What has been written and not flushed may be there after all, and nobody may go on with a session that has ended.
      await store.batch(writes.map(({ key }) => deletion(key))).catch((again: unknown) => {
        log.error({ err: asError(again) }, "what was written of the sessions cannot be deleted");
      });
      await undoModules(modules.handovers(), log);
      c2s.keptNothing();
      throw thrown;
    }
    c2s.letGo();
    if (sessions.size > 0) log.info({ sessions: sessions.size }, "sessions are kept for the next start");
  }

  /**
   * At a start, before anything is served: takes what the last life kept. The sessions wait for their clients, and no time
   * runs out before `begin`. Never rejects: what cannot be taken is logged.
   */
  async take(): Promise<void> {
    const { store, log, c2s } = this.#options;
    try {
      const entries = await store.range(COLLECTION, []);
      if (entries.length === 0) return;
      const inUse = await this.#takeIn(entries);
      for (const [session, key] of inUse) this.#records.add(session, key);
      const staying = new Set(inUse.values());
      const writes = entries.filter(([key]) => !staying.has(key)).map(([key]) => deletion(key));
      // After a crash they cannot be resumed: they may be without what came later.
      if (staying.size > 0) writes.push(put(HEAD, this.#head(false)));
      await store.batch(writes);
      await store.flushed();
    } catch (thrown) {
      // Nobody is served, and nothing has been told: they may be taken at another start.
      log.error({ err: asError(thrown) }, "the sessions of the last run cannot be taken from the store");
      c2s.forgetAll();
      this.#records.forget();
      this.#restored = [];
      this.#homeless = [];
      this.#doomed.clear();
    }
  }

  /** Deletes what is there: the sessions have come over from another process. Never rejects. */
  async drop(): Promise<void> {
    const { store, log } = this.#options;
    try {
      const entries = await store.range(COLLECTION, []);
      if (entries.length === 0) return;
      await store.batch(entries.map(([key]) => deletion(key)));
      await store.flushed();
    } catch (thrown) {
      log.error({ err: asError(thrown) }, "what was kept of sessions cannot be deleted");
    }
  }

  /**
   * Once stanzas can go to other servers: time runs on for the sessions that were taken, by the calendar. Those whose
   * clients are too late, or that cannot go on, end: unavailable goes out once, and what their clients have not
   * acknowledged takes another way. Resolves when that has been handed on. Never rejects.
   */
  async begin(): Promise<void> {
    const { c2s, clock, log } = this.#options;
    const sessions = this.#restored;
    const ends: Promise<void>[] = [];
    for (const session of sessions) {
      if (this.#doomed.has(session) || session.isLate) ends.push(session.end(""));
      else session.wake();
      if (ends.length % BATCH === BATCH - 1) await clock.turn();
    }
    c2s.keepBounds();
    for (const { snapshot } of this.#homeless) this.#returnAll(snapshot);
    await Promise.all(ends);
    if (sessions.length > 0) {
      log.info({ waiting: c2s.hibernating, ended: ends.length }, "sessions of the last run wait for their clients");
    }
    this.#restored = [];
    this.#homeless = [];
    this.#doomed.clear();
  }

  /** Undefined when a module failed, or took too long: then the sessions can only end, at the next start. */
  async #askModules(sessions: ReadonlySet<Session>, ms: number): Promise<ModuleStates | undefined> {
    const { modules, clock, log } = this.#options;
    const enough = new AbortController();
    const late = clock.sleep(ms, enough.signal).then((): never => {
      throw new MorendoError("MORENDO_HANDOVER_FAILED", "modules took too long to hand over what they hold");
    });
    try {
      return await Promise.race([saveModules(modules.handovers(), sessions), late]);
    } catch (thrown) {
      log.error({ err: asError(thrown) }, "sessions cannot be resumed: they end at the next start");
      return undefined;
    } finally {
      late.catch(() => undefined);
      enough.abort();
    }
  }

  #writes(sessions: ReadonlySet<ClientSession>, states: ModuleStates | undefined): Write[] {
    const writes = [put(HEAD, this.#head(states !== undefined))];
    for (const session of sessions) {
      const snapshot = session.snapshot();
      if (snapshot === undefined) continue;
      // A name that no other session has: a deletion that is late must not take another one's.
      writes.push(put(["session", snapshot.smId], { ...snapshot, outage: snapshot.outage ?? "silent" }));
    }
    for (const [name, { version, value }] of Object.entries(states ?? {}))
      writes.push(put(["module", name], { version, value }));
    return writes;
  }

  #head(resumable: boolean): Value {
    return { version: VERSION, savedAt: this.#options.clock.wallTime(), resumable };
  }

  /** Returns what is to stay in the store for the sessions that are here now. */
  async #takeIn(entries: readonly (readonly [Key, Value])[]): Promise<ReadonlyMap<ClientSession, Key>> {
    const { c2s, log, modules } = this.#options;
    const head = asObject(entries.find(([[kind]]) => kind === HEAD[0])?.[1]);
    const isKnown = head.version === VERSION;
    if (!isKnown) {
      const { version } = head;
      log.error({ version }, "the sessions of the last run are in a format that is not known: they end");
    }
    for (const [[kind], value] of entries) {
      if (kind === "past" && !(isKnown && c2s.remember(value))) log.warn({}, "the end of a session cannot be read");
    }
    const inUse = new Map<ClientSession, Key>();
    const snapshots = entries.filter(([[kind]]) => kind === "session");
    for (const [key, snapshot] of snapshots.toSorted(([, one], [, other]) => since(one) - since(other))) {
      const session = await this.#restore(snapshot, isKnown);
      if (session !== undefined) inUse.set(session, key);
    }
    const states: Record<string, ModuleState> = {};
    for (const [[kind, name], value] of entries) {
      const { version, value: own = null } = asObject(value);
      if (kind === "module" && typeof version === "number") states[String(name)] = { version, value: own };
    }
    if (isKnown && head.resumable === true) {
      try {
        await loadModules(modules.handovers(), states, log);
        return inUse;
      } catch (thrown) {
        log.error({ err: asError(thrown) }, "the sessions of the last run cannot go on: they end");
      }
    }
    for (const session of this.#restored) this.#doomed.add(session);
    return inUse;
  }

  async #restore(value: Value, isKnown: boolean): Promise<ClientSession | undefined> {
    const { c2s, log, accounts } = this.#options;
    const session = isKnown ? this.#tryRestore(value) : undefined;
    if (session !== undefined) {
      const { local, domain } = session.account;
      if (await accounts.exists(local, domain)) return session;
      log.warn({ jid: session.jid.toString() }, "a session of the last run ends: its account was removed");
      this.#doomed.add(session);
      return session;
    }
    const salvage = salvaged(value, this.#options);
    if (salvage === undefined) {
      log.error({}, "nothing of a session of the last run can be read");
      return undefined;
    }
    try {
      const ending = this.#rest(c2s.restore(salvage.snapshot));
      this.#doomed.add(ending);
      return ending;
    } catch (thrown) {
      log.warn({ err: asError(thrown), jid: salvage.jid.toString() }, "a session of the last run has no place here");
      this.#homeless.push(salvage);
      return undefined;
    }
  }

  #tryRestore(value: Value): ClientSession | undefined {
    try {
      return this.#rest(this.#options.c2s.restore(value));
    } catch (thrown) {
      const { jid } = asObject(value);
      this.#options.log.error({ err: asError(thrown), jid }, "a session of the last run cannot be restored");
      return undefined;
    }
  }

  #rest(session: ClientSession): ClientSession {
    session.rest();
    this.#restored.push(session);
    return session;
  }

  /** What waited for a session that has no place here goes back to local senders; others cannot be answered for it. */
  #returnAll({ unacked }: SessionSnapshot): void {
    const { router } = this.#options;
    for (const { xml, at, ref } of unacked) {
      // A module has it in the store.
      if (ref !== undefined) continue;
      const stanza = parseStanza(xml)?.stanza;
      if (stanza?.to === undefined) continue;
      if (router.isLocal(stanza.to)) void router.reroute(stanza, at);
      else if (router.isLocal(stanza.from)) router.returnToSender(stanza, UNAVAILABLE);
    }
  }
}

/** Makes a session that ends at once of what can be read of a damaged one. */
function salvaged(value: Value, { random, clock }: KeptSessionsOptions): Salvage | undefined {
  const fields = asObject(value);
  const jid = typeof fields.jid === "string" ? Jid.parse(fields.jid) : undefined;
  if (jid === undefined || jid.local === "" || !jid.isFull) return undefined;
  const unacked: { xml: string; at: number; ref?: string }[] = [];
  for (const item of Array.isArray(fields.unacked) ? (fields.unacked as readonly Value[]) : []) {
    const { xml, at, ref } = asObject(item);
    const to = typeof xml === "string" ? parseStanza(xml)?.stanza?.to : undefined;
    if (typeof xml !== "string" || to?.bare.equals(jid.bare) !== true) continue;
    unacked.push({
      xml,
      at: typeof at === "number" && Number.isInteger(at) && at >= 0 ? at : clock.wallTime(),
      ...(typeof ref === "string" ? { ref } : {}),
    });
  }
  const name = jid.toString();
  const snapshot: SessionSnapshot = {
    smId: random.id(),
    jid: name,
    created: 0,
    maxMs: 0,
    handled: 0,
    sent: unacked.length,
    unacked,
    hibernatedSince: 0,
    // What it was like does not matter any more, only that there is something to say goodbye for.
    ...(fields.outage === "told" ? { outage: "told" } : {}),
    ...(fields.presence === undefined ? {} : { presence: `<presence from="${escaped(name)}"/>` }),
  };
  return { jid, snapshot };
}

function escaped(text: string): string {
  return text.replace(/[&<"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function since(snapshot: Value): number {
  const { hibernatedSince } = asObject(snapshot);
  return typeof hibernatedSince === "number" ? hibernatedSince : 0;
}

function asObject(value: Value | undefined): { readonly [name: string]: Value | undefined } {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as { readonly [name: string]: Value | undefined }) : {};
}

function put(key: Key, value: Value): Write {
  return { op: "put", collection: COLLECTION, key, value };
}

function deletion(key: Key): Write {
  return { op: "delete", collection: COLLECTION, key };
}
