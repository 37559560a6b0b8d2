// The phases of an XMPP server's shutdown, in their order. What each does: docs/ARCHITECTURE.md, life of a shutdown.

/** The phases in the order in which they run. */
export const PHASES = ["announce", "stop-accepting", "close-sessions", "server-stopping", "drain-s2s", "quit"] as const;

export type PhaseName = (typeof PHASES)[number];
