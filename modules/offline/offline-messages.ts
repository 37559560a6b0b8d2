// The messages that wait for an account: kept in the order in which they came, handed over by one hand at a time, and
// deleted only when a session has taken them.

import { Jid } from "../../src/jid/jid.ts";
import type { Key, MessageOffline, ModuleApi, OfflineAnswer, Session } from "../../src/module.ts";
import { elementOf, treeOf } from "../../src/stanza/element-tree.ts";
import { Stanza } from "../../src/stanza/stanza.ts";
import { StanzaError } from "../../src/stanza/stanza-error.ts";
import { type Element, withAttrs, xml } from "../../src/xml/element.ts";
import { NS } from "../../src/xml/ns.ts";
import { treatmentOf } from "./eligible.ts";

/** How many messages are read from the store and handed over at a time. */
const CHUNK = 50;
/** Accounts whose number of messages is remembered rather than counted again. */
const MAX_TALLIES = 10_000;

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
    const reader = this.#api.sessionsOf(account).find(isReachable);
    if (reader !== undefined) void this.handOver(reader);
    return "stored";
  }

  async #delete(name: string): Promise<void> {
    this.#tallies.delete(name);
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
        while (await this.#handOverChunk(name, session)) {
          // Until nothing waits any more: new messages may have come behind the old ones.
        }
      } catch (thrown) {
        this.#api.log.error({ err: thrown, account: name }, "messages keep waiting");
      }
      sessions.shift();
    }
    this.#serving.delete(name);
    return undefined;
  }

  /** Returns whether there may be more for this session. */
  async #handOverChunk(name: string, session: Session): Promise<boolean> {
    const entries = await this.#api.storage.range([name], CHUNK);
    const taken: Key[] = [];
    try {
      for (const [key, value] of entries) {
        if (!session.open) break;
        const message = restored(value);
        if (message === undefined) this.#api.log.error({ account: name }, "what was stored is not a message: dropped");
        else await session.deliver(message);
        taken.push(key);
      }
    } finally {
      // Whatever happened to the others: what the session has taken must not come again.
      await this.#forgetTaken(name, taken);
    }
    return taken.length > 0 && session.open;
  }

  async #forgetTaken(name: string, taken: readonly Key[]): Promise<void> {
    if (taken.length === 0) return;
    await this.#api.storage.batch(taken.map((key) => [key, undefined] as const));
    const tally = await this.#tallies.get(name);
    if (tally !== undefined) tally.count = Math.max(0, tally.count - taken.length);
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
