// The books of a simulated run: the fates that the server wrote down, stanza by stanza, beside what was seen on the wire
// and what the store holds at the end. Facts only; what they mean is judge.ts's business.

import type { Evidence, Fate, ObligationSink } from "../../shutdown/types.ts";
import { describeStanza, type Stanza } from "../../stanza/stanza.ts";
import type { ScriptedPeer } from "../scripted-peer.ts";
import type { Connection } from "./simulated-network.ts";

/** A fate as the server wrote it down. */
export interface Settled {
  readonly at: number;
  readonly destination: string;
  readonly fate: Fate;
  readonly evidence: Evidence | undefined;
  readonly name: string | undefined;
  readonly stanza: Stanza;
}

/** Everything that was settled, by the stanza's identifier and in order. */
export class FateBook {
  readonly all: Settled[] = [];
  #byId = new Map<string, Settled[]>();

  /** Listens in on a sink from now on; `told` is called after each entry. */
  watch(sink: ObligationSink, now: () => number, told: (settled: Settled) => void): void {
    const settle = sink.settle.bind(sink);
    sink.settle = (destination, fate, detail) => {
      const { evidence, name } = detail;
      const settled: Settled = { at: now(), destination, fate, evidence, name, stanza: detail.subject as Stanza };
      this.all.push(settled);
      const id = settled.stanza.id ?? "";
      const same = this.#byId.get(id);
      if (same === undefined) this.#byId.set(id, [settled]);
      else same.push(settled);
      told(settled);
      settle(destination, fate, detail);
    };
  }

  /** Returns the fates of the stanza that `from` sent with this identifier; its errors are stanzas of their own. */
  of(id: string, from: string): Settled[] {
    const all = this.#byId.get(id) ?? [];
    return all.filter(({ stanza }) => stanza.from.toString() === from && stanza.type !== "error");
  }
}

/** What arrived at one peer, to be asked about at any moment. */
export class Arrivals {
  #peer: ScriptedPeer;
  #seen = 0;
  #keys = new Set<string>();
  /** Presence in the order in which it was handled, by sender and addressee. */
  readonly presence = new Map<string, { readonly type: string; readonly connection: number; readonly at: number }[]>();

  constructor(peer: ScriptedPeer) {
    this.#peer = peer;
  }

  /** Whether the peer has handled the stanza, or a later presence that stands for it. */
  has(stanza: Stanza): boolean {
    this.#update();
    const pair = `${stanza.from.toString()} ${stanza.to?.toString() ?? ""}`;
    if (this.#keys.has(`${stanza.kind} ${stanza.type ?? ""} ${stanza.id ?? ""} ${pair}`)) return true;
    const isState = stanza.kind === "presence" && (stanza.type === "available" || stanza.type === "unavailable");
    return isState && this.presence.has(pair);
  }

  /** Whether somebody was said to be available there, and not to be gone. */
  get seesSomebody(): boolean {
    for (const list of this.presence.values()) if (list.at(-1)?.type === "available") return true;
    return false;
  }

  /** Looks at what has come since the last time. */
  update(): this {
    this.#update();
    return this;
  }

  #update(): void {
    const { arrived } = this.#peer;
    for (; this.#seen < arrived.length; this.#seen++) {
      const each = arrived[this.#seen];
      if (each === undefined) continue;
      const { from = "", to = "", id = "", type } = each.element.attrs;
      const kind = each.element.name;
      const own = type ?? (kind === "presence" ? "available" : kind === "message" ? "normal" : "");
      this.#keys.add(`${kind} ${own} ${id} ${from} ${to}`);
      if (kind !== "presence" || (own !== "available" && own !== "unavailable")) continue;
      const list = this.presence.get(`${from} ${to}`) ?? [];
      this.presence.set(`${from} ${to}`, list);
      list.push({ type: own, connection: each.connection.number, at: each.at });
    }
  }
}

/** A stanza that the server wrote to a connection. */
export interface Written {
  readonly at: number;
  readonly connection: Connection;
  readonly kind: string;
  readonly type: string;
  /** Its receiver acknowledges (XEP-0198): written is not delivered. */
  readonly isCounted: boolean;
}

const TAG = /<(message|iq|presence)\b([^>]*)>/g;
const ATTRIBUTE = /\s(id|type)=(?:"([^"]*)"|'([^']*)')/g;

/** Returns what the server wrote to clients, or to peers, by identifier. */
export function writtenTo(who: "clients" | "peers", connections: readonly Connection[]): Map<string, Written[]> {
  const byId = new Map<string, Written[]>();
  for (const connection of connections) {
    if (connection.from.startsWith("client") !== (who === "clients")) continue;
    for (const [index, text] of connection.written.entries()) {
      for (const [, kind = "", attributes = ""] of text.matchAll(TAG)) {
        let id = "";
        let type = "";
        for (const [, name, one, two] of attributes.matchAll(ATTRIBUTE)) {
          if (name === "id") id = one ?? two ?? "";
          else type = one ?? two ?? "";
        }
        if (id === "") continue;
        const isCounted = index > connection.countedFrom;
        const written = { at: connection.writtenAt[index] ?? 0, connection, kind, type, isCounted };
        const list = byId.get(id);
        if (list === undefined) byId.set(id, [written]);
        else list.push(written);
      }
    }
  }
  return byId;
}

/** One line about a fate. */
export function describeSettled({ destination, fate, evidence, stanza }: Settled): string {
  return `${fate}${evidence === undefined ? "" : ` (${evidence})`}: ${describeStanza(stanza)} for ${destination}`;
}
