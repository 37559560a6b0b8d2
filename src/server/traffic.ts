// How many stanzas have gone by since the start of the process, by kind and direction. Plain numbers, counted where stanzas
// pass: one increment each.

import type { StanzaKind } from "../stanza/stanza.ts";

/** A number for each kind of stanza. */
export type KindCounts = Record<StanzaKind, number>;

/** Stanzas that came in and went out. */
export interface Traffic {
  readonly fromClients: KindCounts;
  /** Given to sessions, also to those that wait for their clients. */
  readonly toClients: KindCounts;
  readonly fromServers: KindCounts;
  /** Taken over for other domains. */
  readonly toServers: KindCounts;
}

/** Returns counts that begin at 0. */
export function noTraffic(): Traffic {
  const none = (): KindCounts => ({ message: 0, presence: 0, iq: 0 });
  return { fromClients: none(), toClients: none(), fromServers: none(), toServers: none() };
}
