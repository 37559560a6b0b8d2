// Bugs to plant in the server, so that the simulation can show that it finds them: a place in the sources, what stands
// there and what shall stand there instead. `mutated-tree.ts` plants them in a copy.

import type { Rule } from "../../src/testing/simulation/simulate.ts";

/** A planted bug. */
export interface Mutation {
  readonly name: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  /** The rules of which one at least must be seen broken. */
  readonly breaks: readonly Rule[];
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "the answer to a ping proves what was written after the ping, too",
    file: "src/server/s2s/outgoing-stream.ts",
    find: 'this.#window.proveUpTo(covers, (owed) => this.#proved(owed, "pong"));',
    replace: 'this.#window.proveUpTo(this.#window.sent, (owed) => this.#proved(owed, "pong"));',
    breaks: ["proved-and-missing"],
  },
  {
    name: "what is written counts as proved when the stream ends, however it ends",
    file: "src/server/s2s/outgoing-stream.ts",
    find: "if (closedByUs && end.peerClosed && !peersFault) {",
    replace: "if (!peersFault) {",
    breaks: ["proved-and-missing"],
  },
  {
    name: "what was on a stream is lost when the stream is reset",
    file: "src/server/s2s/remote-link.ts",
    find: "    this.#undelivered.recover(unproved, this.#takeRead());\n",
    replace: "",
    breaks: ["no-fate", "books"],
  },
  {
    name: "what waits for a domain is lost when dialling it fails",
    file: "src/server/s2s/remote-link.ts",
    find: "    this.#undelivered.giveUpAll(back, failure);\n",
    replace: "",
    breaks: ["no-fate", "books"],
  },
  {
    name: "a stanza comes back, and is sent again as well",
    file: "src/server/s2s/undelivered.ts",
    find: "else if (!isPresence && !isJournalled && this.#fates.giveBack(owed, failure.error)) continue;",
    replace: "else if (!isPresence && !isJournalled && this.#fates.giveBack(owed, failure.error)) again.push(owed);",
    breaks: ["two-fates", "books"],
  },
  {
    name: "what is stored in the journal is deleted again at once",
    file: "src/server/s2s/fates.ts",
    find: 'if (fate !== "stored") each.entry?.lane.remove(each.entry, fate);',
    replace: "if (true) each.entry?.lane.remove(each.entry, fate);",
    breaks: ["stored-and-missing"],
  },
  {
    name: "what was proved stays in the journal",
    file: "src/server/s2s/journal.ts",
    find: '    this.#writer.writeSoon({ op: "delete", collection: JOURNAL, key: recordKey(placeOf(entry)) });\n',
    replace: "",
    breaks: ["two-fates"],
  },
  {
    name: "what waits in the journal goes out in another order",
    file: "src/server/s2s/journal-lane.ts",
    find: "this.#waiting.sort((one, other) => one.epoch - other.epoch || one.seq - other.seq);",
    replace: "this.#waiting.sort((one, other) => other.epoch - one.epoch || other.seq - one.seq);",
    breaks: ["journal"],
  },
  {
    name: "the deadline of a phase is ignored",
    file: "src/shutdown/phase-run.ts",
    find: "const outOfTime = (): void => this.#endNow(end);",
    replace: "const outOfTime = (): void => undefined;",
    breaks: ["limits"],
  },
  {
    name: "a session says goodbye although its client has said it already",
    file: "modules/presence/broadcaster.ts",
    find: "const wasAvailable = session.presence !== undefined;\n    if (!wasAvailable && standing",
    replace: "const wasAvailable = true;\n    if (!wasAvailable && standing",
    breaks: ["double-unavailable"],
  },
  {
    name: "who got directed presence is forgotten, and sees a ghost",
    file: "modules/presence/broadcaster.ts",
    find: "if (!isTold) outbox.send(presence.readdressed(session.jid, target), own);",
    replace: "",
    breaks: ["ghost"],
  },
  {
    name: "an inbound stanza is acknowledged before it is stored",
    file: "src/server/s2s/incoming-stanzas.ts",
    find: "      if (pending !== undefined) {\n",
    replace: "      if (pending !== undefined) {\n        this.#acks.count();\n        this.#acks.tell();\n",
    breaks: ["acknowledged-and-missing", "two-fates"],
  },
  {
    name: "an offline message counts as stored before it is on the disk",
    file: "modules/offline/offline-messages.ts",
    find: "    await this.#api.storage.flushed();\n    // Somebody",
    replace: "    // Somebody",
    breaks: ["stored-and-missing"],
  },
  {
    name: "a crash is forgotten: nobody is told who is gone",
    file: "modules/presence/goodbyes.ts",
    find: "      const wait = this.#api.route(barePresence",
    replace: "      if (this.#sent > 0) return;\n      const wait = this.#api.route(barePresence",
    breaks: ["ghost"],
  },
  {
    name: "what a client has not acknowledged is forgotten when its session ends",
    file: "src/server/c2s/client-session.ts",
    find: "this.#surroundings.reroute(unacked);",
    replace: "Promise.resolve();",
    breaks: ["no-fate"],
  },
  {
    name: "a session that is resumed gets everything again, acknowledged or not",
    file: "src/server/c2s/client-session.ts",
    find: "    const { size } = sm;\n    sm.acknowledge(h);",
    replace: "    const { size } = sm;",
    breaks: ["two-fates"],
  },
  {
    name: "a module that hangs before a phase's own work takes all of its time",
    file: "src/shutdown/phase-run.ts",
    find: "const OVER_BY: readonly number[] = [0.5, 0.9, 1];",
    replace: "const OVER_BY: readonly number[] = [1, 1, 1];",
    breaks: ["limits", "ghost"],
  },
];
