// A client of a simulated run: logs in, does what its plan says when the plan says it, and keeps what it saw.

import type { Clock } from "../../util/clock.ts";
import type { Random } from "../../util/random.ts";
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
  /** How many bytes the server has read when it has read this. */
  readonly endsAt: number;
  readonly at: number;
}

/** An element as it arrived. */
export interface Seen {
  readonly at: number;
  readonly kind: string;
  readonly type: string;
  readonly id: string;
  readonly from: string;
  readonly xml: string;
}

export interface SimulatedClientOptions {
  readonly plan: ClientPlan;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly journal: Journal;
}

/** A client. */
export class SimulatedClient {
  readonly plan: ClientPlan;
  readonly sent: Sent[] = [];
  readonly seen: Seen[] = [];
  connection: Connection | undefined;
  /** The full JID, once it is bound. */
  jid = "";
  /** It saw the server's closing tag. */
  sawEnd = false;
  /** What it did that breaks a connection. */
  trouble: string | undefined;
  #options: SimulatedClientOptions;
  #raw: RawClient;
  #hasEnded = false;
  /** It has said that it will send nothing more, or nothing that counts. */
  #isDone = false;

  constructor(options: SimulatedClientOptions) {
    this.#options = options;
    this.plan = options.plan;
    const { plan, clock, random, network } = options;
    const { address, c2s, c2sTls } = SERVER;
    this.#raw = new RawClient({
      host: address,
      port: plan.directTls ? c2sTls : c2s,
      domain: plan.user.slice(plan.user.indexOf("@") + 1),
      username: plan.user.slice(0, plan.user.indexOf("@")),
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
      network: network.of(`client ${plan.name}`, (connection) => {
        this.connection = connection;
      }),
    });
    this.#raw.onElement = (xml) => this.#see(xml);
    for (const { at, what } of plan.acts) {
      clock.setTimer(at, () => {
        if (what.kind === "send") this.#send(what.xml);
        else this.#act(what.kind);
      });
    }
    clock.setTimer(plan.startAt, () => void this.#live());
  }

  /** Whether its own conduct, or the scenario's, explains that its connection broke. */
  get wasBroken(): boolean {
    return this.trouble !== undefined || this.connection?.mishap !== undefined || !this.plan.answersClose;
  }

  /** A stream opened, so that a closing tag is due. */
  get hasStream(): boolean {
    return this.jid !== "";
  }

  async #live(): Promise<void> {
    const raw = this.#raw;
    try {
      await raw.connect();
      if (!this.plan.directTls) await raw.startTls();
      await raw.authenticate();
      this.jid = await raw.bind();
      this.#options.journal.write(`client ${this.plan.name}`, `bound ${this.jid}`);
    } catch (thrown) {
      // The server may go down while somebody logs in.
      this.#options.journal.write(
        `client ${this.plan.name}`,
        `login ended: ${(thrown as Error).message.slice(0, 120)}`,
      );
      raw.destroy();
    }
    const ending = await raw.ended;
    this.#hasEnded = true;
    this.sawEnd = ending.closingTag;
    this.#options.journal.write(`client ${this.plan.name}`, `ended: ${JSON.stringify(ending)}`);
  }

  #send(xml: string): void {
    if (this.#isDone || this.jid === "" || !this.#raw.writable || this.connection?.near.isClosed !== false) return;
    this.#raw.send(xml);
    if (xml.endsWith("</wrong>")) this.#isDone = true;
    const id = attr(xml, "id");
    if (id === undefined) return;
    this.sent.push({
      id,
      to: attr(xml, "to") ?? "",
      kind: xml.slice(1, xml.search(/[ />]/)),
      type: attr(xml, "type") ?? "",
      endsAt: this.connection.bytesToServer,
      at: this.#options.clock.now(),
    });
  }

  #act(kind: string): void {
    if (this.#hasEnded || this.connection === undefined) return;
    this.#options.journal.write(`client ${this.plan.name}`, kind);
    if (kind === "quit" || kind === "half-close") this.#isDone = true;
    else this.trouble ??= kind;
    switch (kind) {
      case "reset":
        return this.#raw.reset();
      case "vanish":
        return this.connection.near.vanish();
      case "drop":
        return this.#raw.destroy();
      case "quit":
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
    const end = xml.search(/[ />]/);
    const kind = xml.slice(1, end);
    if (kind !== "message" && kind !== "presence" && kind !== "iq") return;
    this.seen.push({
      at: this.#options.clock.now(),
      kind,
      type: attr(xml, "type") ?? "",
      id: attr(xml, "id") ?? "",
      from: attr(xml, "from") ?? "",
      xml,
    });
  }
}
