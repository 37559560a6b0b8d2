// Rosters over XMPP (RFC 6121 §2): clients read and change their roster and are told of changes. How rosters are kept is
// the server's business; what subscription stanzas do to them is modules/presence.

import { Jid } from "../../src/jid/jid.ts";
import {
  defineModule,
  type IqAnswer,
  type IqRequest,
  type ModuleApi,
  type RosterChanged,
  type Session,
  z,
} from "../../src/module.ts";
import { Stanza } from "../../src/stanza/stanza.ts";
import { resultOf } from "../../src/stanza/stanza-error.ts";
import { type Element, xml } from "../../src/xml/element.ts";
import { NS } from "../../src/xml/ns.ts";
import { itemElement } from "./item.ts";
import { RosterSets } from "./set.ts";

export default defineModule({
  name: "roster",
  options: z.strictObject({
    /** Contacts on one roster. */
    max_items: z.number().int().positive().default(1_000),
    /** Groups one contact may be in. */
    max_groups: z.number().int().positive().default(50),
    /** Characters in the name of a contact or of a group. */
    max_name_length: z.number().int().positive().default(1_023),
  }),
  load(api, options) {
    const readers = new RosterReaders(api);
    const sets = new RosterSets(api, {
      maxItems: options.max_items,
      maxGroups: options.max_groups,
      maxNameLength: options.max_name_length,
    });
    api.feature(NS.roster);
    api.streamFeature(NS.rosterVersioning, "ver");
    api.hook(`iq/get/${NS.roster}`, (request) => readers.get(request));
    api.hook(`iq/set/${NS.roster}`, (request) => sets.set(request));
    api.on("roster/changed", (change) => readers.push(change));
    api.on("session/ended", ({ session }) => readers.forget(session));
    api.handover({
      version: 1,
      save: (sessions) => readers.among(sessions),
      load: (value) => readers.restore(z.array(z.string()).parse(value)),
    });
  },
});

/** The sessions that asked for their roster, and so are told of its changes ("interested resources", §2.2). */
class RosterReaders {
  #api: ModuleApi;
  #interested = new Map<string, Set<Session>>();

  constructor(api: ModuleApi) {
    this.#api = api;
  }

  /** Answers a roster get (§2.2), with no more than what changed where the client has an earlier version (§2.6.3). */
  get({ stanza, payload, session, target, asked }: IqRequest): Promise<IqAnswer> | undefined {
    // Nobody reads another's roster, nor learns from the refusal whether there is one.
    if (target !== "account" || !session?.account.equals(asked) || !payload.is("query")) return undefined;
    return this.#answer(stanza, session, payload.attrs.ver);
  }

  async #answer(stanza: Stanza, session: Session, known: string | undefined): Promise<IqAnswer> {
    const roster = await this.#api.rosters.load(session.account);
    const { version } = roster;
    const changes = known === undefined ? undefined : await this.#api.rosters.changesSince(session.account, known);
    // From here to the last stanza nothing waits: a push cannot get between and be undone by an older answer.
    this.#addInterested(session);
    // A change that came while they were looked up may be missing among them and was not pushed: only all is right then.
    if (changes === undefined || roster.version !== version || changes.length > roster.items.size) {
      const shown = [...roster.items.values()].filter((item) => item.hidden !== true).map(itemElement);
      const query = xml("query", { xmlns: NS.roster, ver: known === undefined ? undefined : roster.version }, ...shown);
      await session.deliver(resultOf(stanza, query));
      return "handled";
    }
    let room = session.deliver(resultOf(stanza));
    for (const change of changes) {
      room = session.deliver(this.#pushTo(session, itemElement(change), change.version)) ?? room;
    }
    await room;
    return "handled";
  }

  /** Sends a roster push to every session of the account that asked for the roster (§2.1.6). */
  push({ account, item, version }: RosterChanged): void {
    const interested = this.#interested.get(account.toString());
    if (interested === undefined) return;
    for (const session of interested) {
      if (session.open) this.#deliver(session, this.#pushTo(session, itemElement(item), version));
    }
  }

  forget(session: Session): void {
    const name = session.account.toString();
    const interested = this.#interested.get(name);
    if (interested?.delete(session) && interested.size === 0) this.#interested.delete(name);
  }

  /** Returns the full JIDs of those of `sessions` that are told of changes. */
  among(sessions: ReadonlySet<Session>): string[] {
    const readers = [...this.#interested.values()].flatMap((interested) => [...interested]);
    return readers.filter((session) => sessions.has(session)).map(({ jid }) => jid.toString());
  }

  /** Takes note of what `among` returned in another process; of those that did not come over nothing need be known. */
  restore(jids: readonly string[]): void {
    for (const text of jids) {
      const jid = Jid.parse(text);
      if (jid === undefined) throw new Error(`${JSON.stringify(text)} is not an address`);
      const session = this.#api.session(jid);
      if (session !== undefined) this.#addInterested(session);
    }
  }

  #addInterested(session: Session): void {
    // A session that ended while its roster was read will not be forgotten any more.
    if (!session.open) return;
    const name = session.account.toString();
    const interested = this.#interested.get(name);
    if (interested === undefined) this.#interested.set(name, new Set([session]));
    else interested.add(session);
  }

  #pushTo(session: Session, item: Element, version: string): Stanza {
    const query = xml("query", { xmlns: NS.roster, ver: version }, item);
    const attrs = {
      type: "set",
      id: this.#api.random.id(),
      from: session.account.toString(),
      to: session.jid.toString(),
    };
    return new Stanza(xml("iq", attrs, query), session.account, session.jid);
  }

  #deliver(session: Session, stanza: Stanza): void {
    // Not waited for: pushes are as few as changes, and the session's own bounds end it when it does not read.
    session.deliver(stanza)?.catch((thrown: unknown) => this.#api.log.warn({ err: thrown }, "a roster push failed"));
  }
}
