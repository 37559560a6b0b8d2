// What a scripted peer is told to do differently, step by step: instead of the ordinary, later than the ordinary, or only
// this time. Not for: what the ordinary is (inbound.ts, outbound.ts).

import type { Element } from "../../xml/element.ts";
import type { PeerConnection } from "./connection.ts";

const STEPS = [
  "accept",
  "header",
  "features",
  "starttls",
  "sasl",
  "dialback",
  "verify",
  "enable",
  "stanza",
  "ack",
  "pong",
  "closing",
  "end",
] as const;
const WORDS: readonly unknown[] = ["ordinary", "ignore", "refuse", "reset", "half-close", "stop-reading", "close"];
const RULE_KEYS: readonly string[] = ["act", "delayMs", "on", "skip", "times", "h"];

/**
 * The steps of a stream that can be scripted. On a connection that the peer accepted a step is its answer to what the
 * server did; on one that it dialled, what it does by itself:
 *
 * | step | accepted connection (`in`) | dialled connection (`out`) |
 * |---|---|---|
 * | `accept` | begins to read | begins to read |
 * | `header` | sends its opening tag | the same |
 * | `features` | sends its features | acts on the server's features |
 * | `starttls` | `<proceed/>` and the handshake | `<starttls/>` |
 * | `sasl` | `<success/>`, if the certificate is good | `<auth/>` with EXTERNAL |
 * | `dialback` | looks into the key and says what it found | shows its key |
 * | `verify` | says whether a key is its own | asks about a key |
 * | `enable` | `<enabled/>` | `<enable/>` |
 * | `stanza` | counts it, keeps it | writes one of its own |
 * | `ack` | answers `<r/>` | the same |
 * | `pong` | answers a ping, on a stream of its own | - |
 * | `closing` | answers `</stream:stream>` and ends the connection | the same |
 * | `end` | answers the end of the connection (FIN) | the same |
 */
export type Step = (typeof STEPS)[number];

/**
 * Something of the test's own in place of a step; `element` is what the step answers, if it is an element. Returning
 * an act, such as `ordinary`, has that done next.
 */
export type Custom = (connection: PeerConnection, element: Element | undefined) => Act | undefined;

/**
 * What to do in place of a step. `ignore`: nothing, ever. `refuse`: what the protocol has for "no". `reset`: break the
 * connection. `half-close`: end our side of it (FIN). `stop-reading`: read nothing more until `goOn()`, which does the step
 * first. `close`: send the closing tag first. `say`: write this text, garbage included.
 */
export type Act =
  | "ordinary"
  | "ignore"
  | "refuse"
  | "reset"
  | "half-close"
  | "stop-reading"
  | "close"
  | { readonly say: string }
  | Custom;

/** How a step goes. */
export interface Rule {
  /** `ordinary` unless told. */
  readonly act?: Act;
  /** How much later, in milliseconds on the peer's clock. Other steps do not wait for it. */
  readonly delayMs?: number;
  /** Only on connections that the peer accepted, or that it dialled; on both unless told. */
  readonly on?: "in" | "out";
  /** So often the step first goes the ordinary way. */
  readonly skip?: number;
  /** So often the rule holds; then the ordinary way again. For ever unless told. */
  readonly times?: number;
  /** For `ack`: the number to answer in place of the true one, or how to get it from the true one. */
  readonly h?: number | ((handled: number) => number);
}

/** Rules by their steps. A word alone stands for the rule with that act. */
export type Script = { readonly [step in Step]?: Rule | Act };

interface Entry {
  readonly rule: Rule;
  seen: number;
}

const ORDINARY: Rule = {};

/** The rules in force. */
export class Rules {
  #entries = new Map<Step, Entry>();

  constructor(script: Script) {
    for (const [step, rule] of Object.entries(script)) this.set(step as Step, rule);
  }

  /**
   * Replaces the rule of one step; counting begins anew. Throws a TypeError for what it does not know: a peer that does
   * not misbehave because of a typing error would let a test pass that shows nothing.
   */
  set(step: Step, rule: Rule | Act): void {
    if (!STEPS.includes(step)) throw new TypeError(`there is no step "${step}"; the steps are ${STEPS.join(", ")}`);
    const fault = faultOf(rule);
    if (fault !== undefined) throw new TypeError(`the rule for "${step}": ${fault}`);
    this.#entries.set(step, { rule: isRule(rule) ? rule : { act: rule }, seen: 0 });
  }

  /** Returns the rule for a step that is due now. */
  take(step: Step, side: "in" | "out"): Rule {
    const entry = this.#entries.get(step);
    if (entry === undefined) return ORDINARY;
    const { rule } = entry;
    const { on = side, skip = 0, times = Number.POSITIVE_INFINITY } = rule;
    if (on !== side) return ORDINARY;
    const index = entry.seen++;
    return index < skip || index >= skip + times ? ORDINARY : rule;
  }
}

/** Says what is wrong with a rule as a test wrote it, if anything is. */
function faultOf(rule: Rule | Act): string | undefined {
  if (typeof rule !== "object" || rule === null)
    return isAct(rule) ? undefined : `there is no act ${JSON.stringify(rule)}`;
  const known = isRule(rule) ? RULE_KEYS : ["say"];
  const unknown = Object.keys(rule).find((key) => !known.includes(key));
  if (unknown !== undefined) return `"${unknown}" is not one of ${known.join(", ")}`;
  const act = isRule(rule) ? rule.act : rule;
  return act === undefined || isAct(act) ? undefined : `there is no act ${JSON.stringify(act)}`;
}

function isAct(act: unknown): boolean {
  if (typeof act === "object" && act !== null) return "say" in act && typeof act.say === "string";
  return typeof act === "function" || WORDS.includes(act);
}

function isRule(rule: Rule | Act): rule is Rule {
  return typeof rule === "object" && !("say" in rule);
}
