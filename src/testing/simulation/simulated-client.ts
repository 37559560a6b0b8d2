// A client of a simulated run: logs in, does what its plan says when the plan says it, and keeps what it saw. With
// XEP-0198 it acknowledges, and comes back for its session when its connection broke. The wire is RawClient's business.

import type { Clock } from "../../util/clock.ts";
import { asError } from "../../util/errors.ts";
import type { Random } from "../../util/random.ts";
import { NS } from "../../xml/ns.ts";
import { RawClient } from "../raw-client.ts";
import type { Journal } from "./journal.ts";
import { type ClientPlan, SERVER } from "./scenario.ts";
import type { Connection, SimulatedNetwork } from "./simulated-network.ts";
import { attr } from "./xml-text.ts";

/** The password of every account. */
export const PASSWORD = "orchard";

/** Something a client sent that the server owes a fate. */
export interface Sent {
  readonly id: string;
  readonly to: string;
  readonly kind: string;
  readonly type: string;
  readonly at: number;
  /** The full JID of the session that it was sent in. */
  readonly from: string;
  /** Where it was written: once more on each connection to which the session moved before it was acknowledged. */
  readonly places: { readonly connection: Connection; readonly endsAt: number }[];
  /** The server acknowledged it. */
  acknowledged: boolean;
}

/** An element as it arrived. */
export interface Seen {
  readonly at: number;
  readonly kind: string;
  readonly type: string;
  readonly id: string;
  readonly from: string;
  readonly connection: Connection | undefined;
}

export interface SimulatedClientOptions {
  readonly plan: ClientPlan;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly journal: Journal;
}

/** What XEP-0198 has counted in one session. */
interface Managed {
  /** The SM-ID, when the session can be resumed. */
  id: string | undefined;
  handled: number;
  readonly unacknowledged: { readonly xml: string; readonly sent: Sent | undefined }[];
  /** How many of ours the server has acknowledged. */
  proved: number;
  /** `<enabled/>` has come: what comes from now on is counted. */
  isOn: boolean;
}

/** A client. */
export class SimulatedClient {
  readonly plan: ClientPlan;
  readonly sent: Sent[] = [];
  readonly seen: Seen[] = [];
  readonly connections: Connection[] = [];
  /** The full JID, once it is bound. */
  jid = "";
  /** The connection on which the session is, or was: a later one may not have got that far. */
  sessionConnection: Connection | undefined;
  /** It saw the server's closing tag on its last connection. */
  sawEnd = false;
  /** What it did that breaks a connection. */
  trouble: string | undefined;
  #options: SimulatedClientOptions;
  #raw: RawClient;
  #isBound = false;
  /** It has said that it will send nothing more, or nothing that counts. */
  #isDone = false;
  /** It has logged out: what still comes is not for it, and if it acknowledges, the server knows that. */
  #hasQuit = false;
  #managed: Managed | undefined;
  /** Who got directed presence in this session. */
  #greeted = new Set<string>();

  constructor(options: SimulatedClientOptions) {
    this.#options = options;
    this.plan = options.plan;
    this.#raw = this.#newClient();
    const { plan, clock } = options;
    for (const { at, what } of plan.acts) {
      clock.setTimer(at, () => {
        if (what.kind === "send") this.#send(what.xml);
        else this.#act(what.kind);
      });
    }
    clock.setTimer(plan.startAt, () => void this.#live());
  }

  /** The latest connection. */
  get connection(): Connection | undefined {
    return this.connections.at(-1);
  }

  /** Whether its own conduct, or the scenario's, explains that a connection broke. */
  get wasBroken(): boolean {
    const isHurt = this.connections.some(({ mishap }) => mishap !== undefined);
    return this.trouble !== undefined || isHurt || !this.plan.answersClose;
  }

  /** Whether the latest connection got as far as a session. */
  get hasSession(): boolean {
    return this.#isBound;
  }

  #newClient(): RawClient {
    const { plan, clock, random, network } = this.#options;
    const { address, c2s, c2sTls } = SERVER;
    const [username = "", domain = ""] = plan.user.split("@");
    const raw = new RawClient({
      host: address,
      port: plan.directTls ? c2sTls : c2s,
      domain,
      username,
      password: PASSWORD,
      resource: plan.resource,
      security: plan.directTls ? "direct" : "starttls",
      mechanism: "SCRAM-SHA-1",
      record: false,
      answerClose: plan.answersClose,
      answerEnd: plan.answersClose,
      clock,
      random,
      timeoutMs: 60_000,
      network: network.of(`client ${plan.name}`, (connection) => this.connections.push(connection)),
    });
    raw.onElement = (xml) => {
      if (raw === this.#raw) this.#see(xml);
    };
    return raw;
  }

  /** One connection after the other, until it has had enough. */
  async #live(): Promise<void> {
    const { clock, journal } = this.#options;
    for (let again = this.plan.reconnects; ; again--) {
      const raw = this.#raw;
      try {
        await this.#logIn(raw);
      } catch (thrown) {
        // The server may go down while somebody logs in.
        this.#note(`login ended: ${asError(thrown).message.slice(0, 120)}`);
        raw.destroy();
      }
      const ending = await raw.ended;
      this.#isBound = false;
      this.sawEnd = ending.closingTag;
      journal.write(`client ${this.plan.name}`, `ended: ${JSON.stringify(ending)}`);
      if (again <= 0 || this.#isDone || this.sawEnd) return;
      await clock.sleep(this.plan.reconnectMs);
      this.#raw = this.#newClient();
    }
  }

  async #logIn(raw: RawClient): Promise<void> {
    await raw.connect();
    if (!this.plan.directTls) await raw.startTls();
    await raw.authenticate();
    if (await this.#resume(raw)) return;
    this.#managed = undefined;
    this.jid = await raw.bind();
    this.#greeted.clear();
    this.#isBound = true;
    this.sessionConnection = this.connection;
    this.#note(`bound ${this.jid}`);
    if (this.plan.sm === "no" || this.#isDone) return;
    this.#managed = { id: undefined, handled: 0, unacknowledged: [], proved: 0, isOn: false };
    raw.send(this.plan.sm === "resumes" ? `<enable xmlns='${NS.sm}' resume='true'/>` : `<enable xmlns='${NS.sm}'/>`);
  }

  /** Goes on with the session of the connection before; false when there is none, or not any more. */
  async #resume(raw: RawClient): Promise<boolean> {
    const managed = this.#managed;
    if (managed?.id === undefined) return false;
    const answer = raw.waitFor((xml) => xml.startsWith("<resumed") || xml.startsWith("<failed"));
    raw.send(`<resume xmlns='${NS.sm}' previd='${managed.id}' h='${managed.handled}'/>`);
    const { xml } = await answer;
    this.#onAck(managed, xml);
    if (!xml.startsWith("<resumed")) return false;
    this.#isBound = true;
    this.sessionConnection = this.connection;
    this.#note("resumed");
    for (const { xml: text, sent } of managed.unacknowledged) this.#write(text, sent);
    return true;
  }

  #send(xml: string): void {
    if (this.#isDone || !this.#isBound || !this.#raw.writable || this.connection?.near.isClosed !== false) return;
    if (xml.endsWith("</wrong>")) {
      this.#isDone = true;
      this.trouble ??= "garbage";
      return this.#raw.send(xml);
    }
    // Who never greeted somebody in this session says no goodbye to him.
    const to = attr(xml, "to");
    if (to !== undefined && xml.startsWith("<presence")) {
      if (attr(xml, "type") === undefined) this.#greeted.add(to);
      else if (!this.#greeted.delete(to)) return;
    }
    const id = attr(xml, "id");
    const sent: Sent | undefined =
      id === undefined
        ? undefined
        : {
            id,
            to: attr(xml, "to") ?? "",
            kind: xml.slice(1, xml.search(/[ />]/)),
            type: attr(xml, "type") ?? "",
            at: this.#options.clock.now(),
            from: this.jid,
            places: [],
            acknowledged: false,
          };
    if (sent !== undefined) this.sent.push(sent);
    this.#managed?.unacknowledged.push({ xml, sent });
    this.#write(xml, sent);
  }

  #write(xml: string, sent: Sent | undefined): void {
    this.#raw.send(xml);
    const { connection } = this;
    if (connection !== undefined) sent?.places.push({ connection, endsAt: connection.bytesToServer });
  }

  #act(kind: string): void {
    if (this.connection === undefined || this.connection.near.isClosed) return;
    this.#note(kind);
    if (kind === "quit" || kind === "half-close") this.#isDone = true;
    // An end without a closing tag is no end of a session that can be resumed.
    const breaks = kind !== "quit" && !(kind === "half-close" && this.plan.sm === "no");
    if (breaks) this.trouble ??= kind;
    switch (kind) {
      case "reset":
        return this.#raw.reset();
      case "vanish":
        return this.connection.near.vanish();
      case "drop":
        return this.#raw.destroy();
      case "quit":
        this.#hasQuit = true;
        if (this.#managed?.isOn === true) this.#acknowledge(this.#managed);
        return void this.#raw.close();
      case "half-close":
        return this.#raw.halfClose();
      case "stall":
        return this.#raw.stopReading();
      case "go-on":
        return this.#raw.goOn();
    }
  }

  #see(xml: string): void {
    const kind = xml.slice(1, xml.search(/[ />]/));
    const managed = this.#managed;
    switch (kind) {
      case "message":
      case "presence":
      case "iq":
        if (this.#hasQuit && managed?.isOn === true) return;
        if (managed?.isOn === true && this.#isBound) managed.handled++;
        return void this.seen.push({
          at: this.#options.clock.now(),
          kind,
          type: attr(xml, "type") ?? "",
          id: attr(xml, "id") ?? "",
          from: attr(xml, "from") ?? "",
          connection: this.connection,
        });
      case "enabled":
        if (managed === undefined) return;
        managed.isOn = true;
        managed.id = attr(xml, "id");
        return;
      case "resumed":
        this.#isBound = true;
        return;
      case "r":
        if (managed !== undefined) this.#answer(managed);
        return;
      case "a":
        if (managed !== undefined) this.#onAck(managed, xml);
        return;
    }
  }

  #answer(managed: Managed): void {
    const raw = this.#raw;
    this.#options.clock.setTimer(this.plan.answerMs, () => {
      if (raw === this.#raw && this.#isBound && !this.#hasQuit) this.#acknowledge(managed);
    });
  }

  #acknowledge({ handled }: Managed): void {
    this.#raw.send(`<a xmlns='${NS.sm}' h='${handled}'/>`);
  }

  #onAck(managed: Managed, xml: string): void {
    const h = Number(attr(xml, "h") ?? managed.proved);
    for (; managed.proved < h; managed.proved++) {
      const first = managed.unacknowledged.shift();
      if (first?.sent !== undefined) first.sent.acknowledged = true;
    }
  }

  #note(text: string): void {
    this.#options.journal.write(`client ${this.plan.name}`, text);
  }
}
