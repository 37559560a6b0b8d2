// Where every stanza goes: to a local session, to the server itself, to whoever keeps it for later, to another server,
// or back to its sender (RFC 6120 §10, RFC 6121 §8). It decides and hands over; it holds no stanza. A promise that it
// returns means that responsibility for the stanza has not been taken over yet: wait for it before reading on.

import type { Jid } from "../jid/jid.ts";
import type { Fate, ObligationSink } from "../shutdown/types.ts";
import { delayed } from "../stanza/delay.ts";
import { describeStanza, type Stanza } from "../stanza/stanza.ts";
import { errorReply, resultOf, StanzaError } from "../stanza/stanza-error.ts";
import type { Hooks } from "../util/hooks.ts";
import type { IqAnswer, IqRequest, MessageOffline, OfflineAnswer, PresenceReceived } from "./catalogue.ts";
import type { Session } from "./session.ts";
import type { SessionTable } from "./session-table.ts";

/** The way to other servers. */
export interface Remote {
  /** Takes over a stanza for another domain; what cannot be delivered comes back through `returnToSender`. */
  send(stanza: Stanza): void | Promise<void>;
  /** Looks at an IQ result or error for one of our hosts; true when it answered a question of its own. */
  onIqAnswer(stanza: Stanza): boolean;
}

/** What the router asks about accounts. */
export interface AccountDirectory {
  exists(local: string, domain: string): boolean | Promise<boolean>;
}

export interface RouterOptions {
  readonly hosts: readonly string[];
  readonly sessions: SessionTable;
  readonly accounts: AccountDirectory;
  readonly hooks: Hooks;
  readonly remote: Remote;
  /** Where the fate of messages that could not be delivered is told, those that could not be returned by name. */
  readonly obligations: ObligationSink;
}

type Done = void | Promise<void>;

/** How many sessions of an account have been given a message, and have not given it back. */
export interface Copies {
  left: number;
}

/** Presence types that concern the account even when they are sent to a full JID (RFC 6121 §3). */
const SUBSCRIPTION_TYPES: ReadonlySet<string> = new Set([
  "subscribe",
  "subscribed",
  "unsubscribe",
  "unsubscribed",
  "probe",
]);

const UNAVAILABLE = new StanzaError("service-unavailable");

/** The stanza router. */
export class Router {
  #hosts: ReadonlySet<string>;
  #sessions: SessionTable;
  #accounts: AccountDirectory;
  #hooks: Hooks;
  #remote: Remote;
  #obligations: ObligationSink;
  /** Messages that went to several sessions of an account. */
  #copies = new WeakMap<Stanza, Copies>();
  /** The process that has taken our place, once there is one. */
  #successor: ((stanza: Stanza) => Done) | undefined;

  constructor({ hosts, sessions, accounts, hooks, remote, obligations }: RouterOptions) {
    this.#hosts = new Set(hosts);
    this.#sessions = sessions;
    this.#accounts = accounts;
    this.#hooks = hooks;
    this.#remote = remote;
    this.#obligations = obligations;
  }

  /** Tells whether `jid`'s domain is served here; nothing is any more once another process has taken our place. */
  isLocal(jid: Jid): boolean {
    return this.#successor === undefined && this.#hosts.has(jid.domain);
  }

  /** Tells whether `jid`'s domain is one of our hosts, whichever process answers for it. */
  isOurs(jid: Jid): boolean {
    return this.#hosts.has(jid.domain);
  }

  /**
   * From now on another process answers for our hosts: what is for them goes to `successor`, but for the sessions that
   * are still here. Clients that are still here can change nothing any more that is stored.
   */
  passOn(successor: (stanza: Stanza) => void | Promise<void>): void {
    this.#successor = successor;
  }

  /** The process that had taken our place has gone. */
  takeBack(): void {
    this.#successor = undefined;
  }

  /** Takes a stanza from a local client; its `from` is the session's full JID (RFC 6120 §8.1.2.1). */
  fromClient(session: Session, stanza: Stanza): Done {
    if (this.#successor !== undefined && changesAccount(session, stanza)) {
      this.#refuse(stanza, UNAVAILABLE);
      return undefined;
    }
    if (stanza.kind === "presence") {
      return ignoreAnswer(this.#hooks.run("presence/sent", { session, stanza }));
    }
    if (stanza.to !== undefined) return this.route(stanza, session);
    // RFC 6120 §10.3: without an addressee a stanza is for the sender's own account.
    if (stanza.kind === "message") return this.route(stanza.readdressed(stanza.from, session.account), session);
    if (stanza.type === "get" || stanza.type === "set") return this.#ask(stanza, "account", session.account, session);
    return undefined;
  }

  /** Sends a stanza on its way to its `to`; one without is dropped. `session` is the local client that sent it, if one did. */
  route(stanza: Stanza, session?: Session): Done {
    const to = stanza.to;
    if (to === undefined) return undefined;
    if (!this.#hosts.has(to.domain)) return this.#remote.send(stanza);
    if (this.#successor !== undefined && !this.#sessions.get(to)?.open) {
      const isAnswer = stanza.kind === "iq" && to.local === "" && this.#remote.onIqAnswer(stanza);
      return isAnswer ? undefined : this.#successor(stanza);
    }
    if (to.local === "") return this.#toHost(stanza, to, session);
    if (to.resource !== "") {
      const recipient = this.#sessions.get(to);
      const forAccount = stanza.kind === "presence" && SUBSCRIPTION_TYPES.has(stanza.type);
      if (recipient?.open && !forAccount) return recipient.deliver(stanza);
      return this.#toMissingResource(stanza, to, session);
    }
    return this.#toAccount(stanza, to, session);
  }

  /**
   * Finds another way for a stanza that a session was given at `at` (milliseconds since 1970), and whose client has not
   * acknowledged it: as one to a resource that is not there (XEP-0198 §4), a message with its time (XEP-0203). Of a
   * message that went to several sessions only the last copy that comes back does.
   */
  reroute(stanza: Stanza, at: number, copies?: Copies): Done {
    if (stanza.kind === "presence" || stanza.to === undefined) return undefined;
    if (stanza.kind === "iq") {
      if (stanza.type === "get" || stanza.type === "set") this.returnToSender(stanza, UNAVAILABLE);
      return undefined;
    }
    if (copies !== undefined && --copies.left > 0) return undefined;
    return this.route(delayed(stanza, stanza.to.domain, at));
  }

  /** What sessions that were given the same message share; undefined for a stanza that only one was given. */
  copiesOf(stanza: Stanza): Copies | undefined {
    return stanza.kind === "message" ? this.#copies.get(stanza) : undefined;
  }

  /**
   * Tells the sender of `stanza` that it was not delivered. Returns false when nobody could be told: an error is never
   * answered, and a local sender that has gone misses it.
   */
  returnToSender(stanza: Stanza, error: StanzaError): boolean {
    const reply = errorReply(stanza, error);
    if (reply?.to === undefined) return false;
    if (!this.#hosts.has(reply.to.domain)) {
      void this.#remote.send(reply);
      return true;
    }
    const sender = this.#sessions.get(reply.to);
    if (!sender?.open) {
      if (this.#successor === undefined) return false;
      void this.#successor(reply);
      return true;
    }
    // Not awaited: the session's own bounds end it when its client reads too slowly.
    void sender.deliver(reply);
    return true;
  }

  /**
   * Tells the sender of a stanza that waited for long, and was not delivered, by an error that holds what he had sent: his
   * session, or another one of his account, or, once somebody comes, what is kept for the account. Resolves to whether
   * one of them has it; presence is told to the account at once or not at all.
   */
  async returnLate(stanza: Stanza, error: StanzaError): Promise<boolean> {
    if (stanza.kind === "iq") return this.returnToSender(stanza, error);
    const reply = errorReply(stanza, error, stanza.element.children);
    const to = reply?.to;
    if (reply === undefined || to === undefined || to.local === "" || !this.#hosts.has(to.domain)) return false;
    if (this.#sessions.get(to)?.open || this.#successor !== undefined || reply.kind === "presence") {
      await this.route(reply);
      return true;
    }
    const again = reply.readdressed(reply.from, to.bare);
    const recipients = this.#recipients(to, false);
    if (recipients.length > 0) {
      await deliverToAll(recipients, again);
      return true;
    }
    if (!(await this.#accounts.exists(to.local, to.domain))) return false;
    const payload: MessageOffline = { stanza: again, account: to.bare };
    return (await this.#hooks.run<OfflineAnswer>("message/offline", payload)) === "stored";
  }

  #refuse(stanza: Stanza, error: StanzaError): void {
    const isTold = this.returnToSender(stanza, error);
    if (stanza.kind === "message") this.#settle(stanza, isTold ? "returned" : "lost");
  }

  /** Writes down what became of a message for one of our hosts. */
  #settle(message: Stanza, fate: Fate): void {
    const domain = message.to?.domain ?? message.from.domain;
    // An error is never answered (RFC 6120 §8.3.1) nor kept: where its addressee has gone, it is of no use to anybody.
    const subject = message;
    if (message.type === "error") this.#obligations.settle(domain, "dropped", { subject });
    else
      this.#obligations.settle(
        domain,
        fate,
        fate === "lost" ? { name: describeStanza(message), subject } : { subject },
      );
  }

  #toHost(stanza: Stanza, host: Jid, session: Session | undefined): Done {
    if (stanza.kind === "presence") return undefined;
    if (stanza.kind === "message") {
      this.#refuse(stanza, UNAVAILABLE);
      return undefined;
    }
    if (stanza.type === "get" || stanza.type === "set") return this.#ask(stanza, "host", host, session);
    this.#remote.onIqAnswer(stanza);
    return undefined;
  }

  // RFC 6121 §8.5.3.2. A `normal` message is treated as a `chat` one: kept for the account rather than refused, because
  // at a restart the resource it was meant for has just gone.
  #toMissingResource(stanza: Stanza, to: Jid, session: Session | undefined): Done {
    switch (stanza.kind) {
      case "message":
        if (stanza.type !== "headline") return this.#toAccount(stanza, to, session);
        this.#settle(stanza, "dropped");
        return undefined;
      case "presence":
        return SUBSCRIPTION_TYPES.has(stanza.type) ? this.#toAccount(stanza, to.bare, session) : undefined;
      case "iq":
        if (stanza.type === "get" || stanza.type === "set") this.#refuse(stanza, UNAVAILABLE);
        return undefined;
    }
  }

  #toAccount(stanza: Stanza, to: Jid, session: Session | undefined): Done {
    const known = this.#sessions.of(to).size > 0 || this.#accounts.exists(to.local, to.domain);
    if (known === true) return this.#toKnownAccount(stanza, to, session);
    if (known === false) return this.#toNobody(stanza);
    return known.then((exists) => (exists ? this.#toKnownAccount(stanza, to, session) : this.#toNobody(stanza)));
  }

  /** RFC 6121 §8.5.1: no such account. */
  #toNobody(stanza: Stanza): void {
    if (stanza.kind !== "presence") this.#refuse(stanza, UNAVAILABLE);
  }

  #toKnownAccount(stanza: Stanza, to: Jid, session: Session | undefined): Done {
    switch (stanza.kind) {
      case "message":
        return this.#messageToAccount(stanza, to);
      case "presence": {
        const received: PresenceReceived = { stanza, account: to.bare };
        return ignoreAnswer(this.#hooks.run("presence/received", received));
      }
      case "iq":
        if (stanza.type === "get" || stanza.type === "set") return this.#ask(stanza, "account", to, session);
        return undefined;
    }
  }

  // RFC 6121 §8.5.2.1.1 and §8.5.2.2.1.
  #messageToAccount(stanza: Stanza, to: Jid): Done {
    if (stanza.type === "error") {
      this.#settle(stanza, "dropped");
      return undefined;
    }
    if (stanza.type === "groupchat") {
      this.#refuse(stanza, UNAVAILABLE);
      return undefined;
    }
    const recipients = this.#recipients(to, stanza.type === "headline");
    if (recipients.length === 1) return (recipients[0] as Session).deliver(stanza);
    if (recipients.length > 1) {
      this.#copies.set(stanza, { left: recipients.length });
      return deliverToAll(recipients, stanza);
    }
    if (stanza.type === "headline") {
      this.#settle(stanza, "dropped");
      return undefined;
    }
    return this.#offline(stanza, to.bare);
  }

  /** The available resources that take messages: all of them, or those that share the highest priority. */
  #recipients(account: Jid, all: boolean): Session[] {
    const recipients: Session[] = [];
    let highest = 0;
    for (const session of this.#sessions.of(account).values()) {
      if (!session.open || session.presence === undefined || session.priority < 0) continue;
      if (!all && session.priority > highest) recipients.length = 0;
      if (session.priority > highest) highest = session.priority;
      if (all || session.priority === highest) recipients.push(session);
    }
    return recipients;
  }

  #offline(stanza: Stanza, account: Jid): Done {
    const payload: MessageOffline = { stanza, account };
    const finish = (answer: OfflineAnswer | undefined): void => {
      if (answer === "stored" || answer === "dropped") this.#settle(stanza, answer);
      else this.#refuse(stanza, answer ?? UNAVAILABLE);
    };
    const answer = this.#hooks.run<OfflineAnswer>("message/offline", payload);
    if (answer instanceof Promise) return answer.then(finish);
    finish(answer);
    return undefined;
  }

  #ask(stanza: Stanza, target: "host" | "account", asked: Jid, session: Session | undefined): Done {
    const payload = stanza.payload;
    if (payload === undefined) {
      this.returnToSender(stanza, new StanzaError("bad-request"));
      return undefined;
    }
    const request: IqRequest = { stanza, payload, target, asked, session };
    const answer = this.#hooks.run<IqAnswer>(`iq/${stanza.type}/${payload.getNS() ?? ""}`, request);
    if (answer instanceof Promise) return answer.then((late) => this.#answer(stanza, late));
    return this.#answer(stanza, answer);
  }

  #answer(stanza: Stanza, answer: IqAnswer | undefined): Done {
    if (answer === "handled") return undefined;
    if (answer === undefined || answer instanceof StanzaError) {
      this.#refuse(stanza, answer ?? UNAVAILABLE);
      return undefined;
    }
    return this.route(resultOf(stanza, answer === "empty" ? undefined : answer));
  }
}

/** Tells whether a client's stanza is about what is stored for its account. */
function changesAccount({ account }: Session, { kind, type, to }: Stanza): boolean {
  if (kind === "presence") return SUBSCRIPTION_TYPES.has(type) && type !== "probe";
  return kind === "iq" && (type === "get" || type === "set") && (to === undefined || to.equals(account));
}

function deliverToAll(recipients: readonly Session[], stanza: Stanza): Done {
  const waits: Promise<void>[] = [];
  for (const recipient of recipients) {
    const wait = recipient.deliver(stanza);
    if (wait !== undefined) waits.push(wait);
  }
  return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined);
}

function ignoreAnswer(answer: unknown): Done {
  return answer instanceof Promise ? answer.then(() => undefined) : undefined;
}
