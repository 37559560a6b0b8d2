// The messages that wait for an account: kept in the order in which they came, handed over by one hand at a time, and
// deleted only when a client is known to have them. Which are with a session meanwhile is messages-out.ts's matter.

import { Jid } from "../../src/jid/jid.ts";
import {
  type Key,
  type MessageOffline,
  type ModuleApi,
  type OfflineAnswer,
  type ReferredStanza,
  type Session,
  type Value,
  z,
} from "../../src/module.ts";
import { elementOf, treeOf } from "../../src/stanza/element-tree.ts";
import { Stanza } from "../../src/stanza/stanza.ts";
import { StanzaError } from "../../src/stanza/stanza-error.ts";
import { type Element, withAttrs, xml } from "../../src/xml/element.ts";
import { NS } from "../../src/xml/ns.ts";
import { treatmentOf } from "./eligible.ts";
import { MessagesOut } from "./messages-out.ts";

/** How many messages are read from the store and handed over at a time. */
const CHUNK = 50;
/** Accounts whose number of messages is remembered rather than counted again. */
const MAX_TALLIES = 10_000;

/** What the references of messages begin with. */
const PREFIX = "offline:";

const saved = z.array(z.strictObject({ account: z.string(), number: z.int(), session: z.string().optional() }));

/** A message that waits. */
interface Waiting {
  readonly name: string;
  readonly number: number;
  readonly value: Value;
  readonly session: Session;
}

/** How many messages wait for an account. */
interface Tally {
  count: number;
}

/** Keeps messages and hands them over. */
export class OfflineMessages {
  #api: ModuleApi;
  #max: number;
  #tallies = new Map<string, Promise<Tally>>();
  /** The sessions to hand over to, per account, while one is being served; the first is that one. */
  #serving = new Map<string, Session[]>();
  /** Accounts for whose messages it is to be looked once more. */
  #again = new Set<string>();
  #out = new MessagesOut();
  #taken: (readonly [name: string, number: number])[] = [];
  #deleting: Promise<void> | undefined;
  #givingAway = new Set<Promise<void>>();

  constructor(api: ModuleApi, max: number) {
    this.#api = api;
    this.#max = max;
  }

  /** Keeps a message and answers `stored` when it is on disk; without an answer it is not for this module to keep. */
  keep({ stanza, account }: MessageOffline): Promise<OfflineAnswer> | OfflineAnswer | undefined {
    const treatment = treatmentOf(stanza);
    if (treatment === "kept") return this.#keep(stanza, account);
    return treatment === "dropped" ? "dropped" : undefined;
  }

  /**
   * Hands everything that waits for the session's account to it, until the session ends. Resolves when that is done; at
   * once when another session of the account is being served: should that end, this one is next. Never rejects: what
   * cannot be handed over is logged and keeps waiting.
   */
  handOver(session: Session): Promise<undefined> | undefined {
    const name = session.account.toString();
    const serving = this.#serving.get(name);
    if (serving === undefined) return this.#serve(name, session);
    this.#again.add(name);
    if (!serving.includes(session)) serving.push(session);
    return undefined;
  }

  /** Deletes what waits for an account that was removed, in passing. */
  forget(account: Jid): void {
    this.#delete(account.toString()).catch((thrown: unknown) => {
      this.#api.log.error(
        { err: thrown, account: account.toString() },
        "a removed account's messages are still stored",
      );
    });
  }

  async #keep(stanza: Stanza, account: Jid): Promise<"stored" | StanzaError> {
    const name = account.toString();
    const tally = await this.#tally(name);
    if (tally.count >= this.#max) return new StanzaError("service-unavailable", "too many messages wait already");
    tally.count++;
    try {
      // The stamp is of now, not of the handing over.
      await this.#api.storage.append([name], treeOf(this.#stamped(stanza, account)));
    } catch (thrown) {
      tally.count--;
      throw thrown;
    }
    await this.#api.storage.flushed();
    // Somebody may have come while the message was on its way into the store, and have read before it was there.
    this.#handOverAgain(account);
    return "stored";
  }

  async #delete(name: string): Promise<void> {
    this.#tallies.delete(name);
    this.#out.forget(name);
    const entries = await this.#api.storage.range([name]);
    await this.#api.storage.batch(entries.map(([key]) => [key, undefined] as const));
  }

  #stamped({ element }: Stanza, account: Jid): Element {
    const isStamped = element.getChildren("delay", NS.delay).some(({ attrs }) => attrs.from === account.domain);
    if (isStamped) return element;
    const stamp = new Date(this.#api.clock.wallTime()).toISOString();
    const copy = withAttrs(element, {});
    // The children are shared with the stanza, their list must not be.
    copy.children = [...element.children, xml("delay", { xmlns: NS.delay, from: account.domain, stamp })];
    return copy;
  }

  async #serve(name: string, first: Session): Promise<undefined> {
    const sessions = [first];
    this.#serving.set(name, sessions);
    for (let session = sessions[0]; session !== undefined; session = sessions[0]) {
      try {
        // Until nothing waits any more: new messages may have come behind the old ones, or old ones have come back.
        do this.#again.delete(name);
        while ((await this.#handOverAll(name, session)) || (session.open && this.#again.has(name)));
      } catch (thrown) {
        this.#api.log.error({ err: thrown, account: name }, "messages keep waiting");
      }
      sessions.shift();
    }
    this.#serving.delete(name);
    this.#again.delete(name);
    this.#out.clean(name);
    return undefined;
  }

  /** Returns whether there may be more for this session. */
  async #handOverAll(name: string, session: Session): Promise<boolean> {
    let isAny = false;
    let after: Key | undefined;
    for (;;) {
      const entries = await this.#api.storage.range([name], CHUNK, after);
      for (const [key, value] of entries) {
        if (!session.open) return false;
        after = key;
        const number = key[1];
        if (typeof number !== "number" || this.#out.has(name, number)) continue;
        isAny = true;
        await this.#handOverOne({ name, number, value, session });
      }
      if (entries.length < CHUNK) return isAny && session.open;
    }
  }

  async #handOverOne({ name, number, value, session }: Waiting): Promise<void> {
    const message = restored(value);
    if (message === undefined) {
      this.#api.log.error({ account: name }, "what was stored is not a message: dropped");
      this.#out.add(name, number, "gone");
      this.#deleteSoon(name, number);
      return;
    }
    this.#out.add(name, number, session);
    try {
      await session.deliver(message, `${PREFIX}${number}`);
    } catch (thrown) {
      this.#out.delete(name, number, session);
      throw thrown;
    }
  }

  /** The client of a session has a message, or another one may have it. */
  settle({ session, ref }: ReferredStanza, isTaken: boolean): void {
    if (!ref.startsWith(PREFIX)) return;
    const name = session.account.toString();
    const number = Number(ref.slice(PREFIX.length));
    if (isTaken) {
      this.#out.add(name, number, "gone");
      this.#deleteSoon(name, number);
      return;
    }
    this.#out.delete(name, number);
    if (this.#api.isLocal(session.account)) this.#handOverAgain(session.account);
    else this.#giveAway(name, number);
  }

  /** Resolves when everything begun is done. Never rejects. */
  async done(): Promise<void> {
    while (this.#givingAway.size > 0) await Promise.all(this.#givingAway);
    await this.#deleting;
    if (this.#taken.length > 0) await this.#deleteTaken();
  }

  /** What is with sessions, for another process or the next start; and of what the sessions that do not go on have. */
  save(sessions: ReadonlySet<Session>): Value {
    return this.#out.list().map(([account, number, holder]) => {
      const goesOn = typeof holder === "object" && sessions.has(holder);
      return goesOn ? { account, number, session: holder.jid.toString() } : { account, number };
    });
  }

  /** Takes over what `save` returned in another process. */
  load(value: Value): void {
    for (const { account, number, session } of saved.parse(value)) {
      const jid = session === undefined ? undefined : Jid.parse(session);
      const holder = jid === undefined ? undefined : this.#api.session(jid);
      this.#out.add(account, number, holder ?? "elsewhere");
    }
  }

  /** No other process has sessions any more: what they had, and did not give away, waits here. */
  onAlone(): void {
    for (const name of this.#out.bringBack()) {
      const account = Jid.parse(name);
      if (account !== undefined) this.#handOverAgain(account);
    }
  }

  #handOverAgain(account: Jid): void {
    const reader = this.#api.sessionsOf(account).find(isReachable);
    if (reader !== undefined) void this.handOver(reader);
  }

  /** Another process serves the account now, and does not know that the message is nobody's: it goes there. */
  #giveAway(name: string, number: number): void {
    const done = this.#moveAway(name, number)
      .catch((thrown: unknown) => {
        this.#api.log.error({ err: thrown, account: name }, "a message waits for the next start");
      })
      .finally(() => this.#givingAway.delete(done));
    this.#givingAway.add(done);
  }

  async #moveAway(name: string, number: number): Promise<void> {
    const value = await this.#api.storage.get([name, number]);
    const message = value === undefined ? undefined : restored(value);
    if (message === undefined) return;
    await this.#api.route(message);
    this.#deleteSoon(name, number);
  }

  #deleteSoon(name: string, number: number): void {
    this.#taken.push([name, number]);
    this.#deleting ??= this.#deleteTaken().finally(() => {
      this.#deleting = undefined;
    });
  }

  /** Deletes what clients have, together what was acknowledged together. Never rejects. */
  async #deleteTaken(): Promise<void> {
    // Even a handful of acknowledgements is one write.
    await Promise.resolve();
    while (this.#taken.length > 0) {
      const taken = this.#taken.splice(0);
      try {
        await this.#api.storage.batch(taken.map((key) => [key, undefined] as const));
      } catch (thrown) {
        this.#api.log.error({ err: thrown }, "messages that were taken cannot be deleted: they may come again");
        this.#taken.push(...taken);
        return;
      }
      for (const [name, number] of taken) {
        if (this.#serving.has(name)) this.#out.add(name, number, "deleted");
        else this.#out.delete(name, number);
        const tally = await this.#tallies.get(name)?.catch(() => undefined);
        if (tally !== undefined) tally.count = Math.max(0, tally.count - 1);
      }
    }
  }

  async #tally(name: string): Promise<Tally> {
    let tally = this.#tallies.get(name);
    if (tally === undefined) {
      tally = this.#api.storage.range([name], this.#max).then((entries) => ({ count: entries.length }));
      this.#tallies.set(name, tally);
      tally.catch(() => this.#tallies.delete(name));
      const [oldest] = this.#tallies.keys();
      if (this.#tallies.size > MAX_TALLIES && oldest !== undefined) this.#tallies.delete(oldest);
    }
    return await tally;
  }
}

function isReachable(session: Session): boolean {
  return session.open && session.presence !== undefined && session.priority >= 0;
}

/** Returns the message as it was when it came, with its stamp. */
function restored(value: unknown): Stanza | undefined {
  const element = elementOf(value);
  const from = element?.attrs.from === undefined ? undefined : Jid.parse(element.attrs.from);
  const to = element?.attrs.to === undefined ? undefined : Jid.parse(element.attrs.to);
  return element?.name === "message" && from && to ? new Stanza(element, from, to) : undefined;
}
