// The phases of an XMPP server's shutdown, in their order. The comment of each is what docs/CATALOGUE.md says of it; who
// of our own takes part and why: docs/ARCHITECTURE.md, life of a shutdown.

/** The phases in the order in which they run. */
export const PHASES = [
  /**
   * The delay of a stop that has one: everything is still served, and the server says that it is not ready. With an
   * announcement everybody is told that the server will go down and how much time there is, and it ends early when nobody is
   * left. All who take part begin at once; at its end their signals abort, and whoever is still under way counts as done.
   */
  "announce",
  /**
   * The connections that wait to be accepted are taken in, then the listeners for clients close. Who has not logged in is
   * told and sent away. Other servers can still connect.
   */
  "stop-accepting",
  /**
   * Every session ends, in shuffled batches: contacts are told that the user is gone (hook `session/ending`), the client
   * gets `<system-shutdown/>` and a closing tag, and what it had sent before is still read. At a plain stop the sessions
   * that clients can resume after the next start only lose their connections (hook `session/parting`). Whoever wants to
   * tell users something does so `before` this phase: afterwards nobody is there to read it.
   */
  "close-sessions",
  /**
   * The modules' own time: whoever listens to the notification `server-stopping` can keep it open with `waitUntil`.
   * No client is connected any more; other servers are, so that stanzas still go out.
   */
  "server-stopping",
  /**
   * Every stanza that is owed to another server is delivered and proved, or returned to its sender, or named as lost.
   * Then the links to other servers close. `after` it nothing that is sent leaves the server.
   */
  "drain-s2s",
  /**
   * The end: what modules do `before` and `during` it can still use their storage. Then they unload in the reverse order of
   * loading, the store is flushed and closed, and the report is written.
   */
  "quit",
] as const;

export type PhaseName = (typeof PHASES)[number];

/** The phases that run only when a request asks for them. */
export const OPTIONAL_PHASES: readonly PhaseName[] = ["announce"];

/** The phase that cannot be taken back: a stop can be cancelled until it begins. */
export const POINT_OF_NO_RETURN: PhaseName = "close-sessions";
