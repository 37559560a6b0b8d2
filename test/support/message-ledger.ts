// A book of numbered messages: who wrote which, and everything that was seen of each at both ends. Afterwards it says
// which messages had no fate and which had more than one. It counts what is on the wire and trusts no server's report
// but for the names of the lost.

import type { DrainReport } from "../../src/shutdown/report.ts";
import { attributeOf, type RawClient } from "../../src/testing/raw-client.ts";

/** What was seen of one message. */
export interface Sightings {
  readonly from: string;
  readonly to: string;
  /** Full JIDs of those who got it directly. */
  readonly live: string[];
  /** Full JIDs of those who got it from offline storage, with the stamp of their server (XEP-0203). */
  readonly offline: string[];
  /** How often it came back to its sender as an error, with the conditions. */
  readonly returned: string[];
  /** How often the drain report names it as lost. */
  lost: number;
}

/** How many messages had which fate. */
export interface Fates {
  readonly written: number;
  readonly live: number;
  readonly offline: number;
  readonly returned: number;
  readonly lost: number;
}

/** The book. */
export class MessageLedger {
  #messages = new Map<string, Sightings>();
  /** How many lost ones the report counts without their names. */
  unnamed = 0;
  /** Messages that nobody wrote, or that went to somebody else. */
  readonly strays: string[] = [];
  #seenAt = performance.now();

  /** Writes down what `client` receives from now on. */
  watch(client: RawClient): void {
    client.onElement = (xml) => this.see(client.jid, xml);
  }

  /**
   * Has `client` send one numbered message to `to`, and returns whether it did: a client that has answered its server's
   * closing tag, or whose connection is gone, writes nothing any more.
   */
  send(client: RawClient, to: string, content = "<body>hear me</body>"): boolean {
    if (!client.writable) return false;
    const id = `m${this.#messages.size}`;
    this.#messages.set(id, { from: client.jid, to, live: [], offline: [], returned: [], lost: 0 });
    client.send(`<message to='${to}' type='chat' id='${id}'>${content}</message>`);
    return true;
  }

  /** Takes over the names of the lost. */
  readReport(report: DrainReport | undefined): void {
    for (const { lostNames, lostUnnamed } of report?.obligations.destinations ?? []) {
      this.unnamed += lostUnnamed;
      for (const name of lostNames) {
        const id = / id=(\S+)$/.exec(name)?.[1];
        const message = id === undefined ? undefined : this.#messages.get(id);
        if (message !== undefined) message.lost++;
      }
    }
  }

  /** The messages nothing was seen of. */
  missing(): string[] {
    return this.#named((message) => fatesOf(message) === 0);
  }

  /** The messages that had two fates, or that one resource got twice. */
  doubled(): string[] {
    return this.#named((message) => {
      const receivers = [...message.live, ...message.offline];
      return fatesOf(message) > 1 || message.offline.length > 1 || new Set(receivers).size < receivers.length;
    });
  }

  /** The sums. */
  totals(): Fates {
    const all = [...this.#messages.values()];
    return {
      written: all.length,
      live: all.filter(({ live }) => live.length > 0).length,
      offline: all.filter(({ offline }) => offline.length > 0).length,
      returned: all.filter(({ returned }) => returned.length > 0).length,
      lost: all.filter(({ lost }) => lost > 0).length,
    };
  }

  /** Milliseconds since the last message was seen. */
  get quietMs(): number {
    return performance.now() - this.#seenAt;
  }

  /** Writes down an element that `receiver` got. */
  see(receiver: string, xml: string): void {
    if (!xml.startsWith("<message")) return;
    this.#seenAt = performance.now();
    const message = this.#messages.get(attributeOf(xml, "id") ?? "");
    if (message === undefined) {
      this.strays.push(`${receiver}: ${xml}`);
      return;
    }
    if (attributeOf(xml, "type") === "error") {
      if (bare(receiver) !== bare(message.from)) this.strays.push(`${receiver}: ${xml}`);
      message.returned.push(/<([a-z-]+) xmlns=['"]urn:ietf:params:xml:ns:xmpp-stanzas/.exec(xml)?.[1] ?? xml);
      return;
    }
    if (bare(receiver) !== bare(message.to)) this.strays.push(`${receiver}: ${xml}`);
    (/<delay [^>]*urn:xmpp:delay/.test(xml) ? message.offline : message.live).push(receiver);
  }

  #named(matches: (message: Sightings) => boolean): string[] {
    return [...this.#messages].filter(([, each]) => matches(each)).map(([id, each]) => `${id} ${JSON.stringify(each)}`);
  }
}

/** In how many of the four ways the message ended. */
function fatesOf({ live, offline, returned, lost }: Sightings): number {
  return Math.sign(live.length) + Math.sign(offline.length) + returned.length + lost;
}

function bare(jid: string): string {
  return jid.split("/")[0] ?? jid;
}
