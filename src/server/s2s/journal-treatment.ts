// What a stanza for another domain is worth when that domain does not take it now. Pure.

import { worthOf } from "../../stanza/message-worth.ts";
import type { Stanza } from "../../stanza/stanza.ts";

/**
 * `keep`: it waits in the journal. `state`: presence of which the last counts, and only if it is still true. `return`: its
 * sender is told. `drop`: of no use to anybody later; its sender is told if he is there, and otherwise nothing is lost.
 */
export type Treatment = "keep" | "state" | "return" | "drop";

const SUBSCRIPTION: ReadonlySet<string> = new Set(["subscribe", "subscribed", "unsubscribe", "unsubscribed"]);

/** Tells what becomes of `stanza` when it cannot be delivered now. */
export function treatmentOf(stanza: Stanza): Treatment {
  const { kind, type } = stanza;
  switch (kind) {
    case "iq":
      return type === "get" || type === "set" ? "return" : "drop";
    case "presence":
      if (type === "available" || type === "unavailable") return "state";
      return SUBSCRIPTION.has(type) ? "keep" : "drop";
    case "message": {
      if (type === "error" || type === "headline") return "drop";
      const worth = worthOf(stanza);
      return worth === "refuse" ? "return" : worth;
    }
  }
}

/** Names what a presence says something about, where the last says all; undefined for anything else. */
export function stateKey({ kind, type, from, to }: Stanza): string | undefined {
  if (kind !== "presence" || (type !== "available" && type !== "unavailable")) return undefined;
  return `${from.toString()}\n${to?.toString() ?? ""}`;
}
