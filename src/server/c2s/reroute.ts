// What the client of a session that ended has not acknowledged goes another way: in order, and in pieces, so that a full
// queue does not fall upon another client, or upon the store, all at once. Where each goes is the router's decision.

import { parseStanza } from "../../stanza/parse-stanza.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { asError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import type { Copies } from "../router.ts";
import type { Unacked } from "./sm-state.ts";

/** How much is under way at a time, in stanzas and in characters. */
const MAX_AT_A_TIME = 50;
const MAX_SIZE_AT_A_TIME = 128 * 1024;

export interface RerouteTools {
  readonly log: Logger;
  /** Finds another way for a stanza that came at `at`; a promise means that it is not there yet. */
  reroute(stanza: Stanza, at: number, copies: Copies | undefined): void | Promise<void>;
}

/** Resolves when each has its fate. Never rejects. */
export async function rerouteAll(unacked: readonly Unacked[], { log, reroute }: RerouteTools): Promise<void> {
  let waits: Promise<void>[] = [];
  let size = 0;
  for (const { text, at, copies, ref } of unacked) {
    // A module has it, and has been told.
    if (ref !== undefined) continue;
    const parsed = parseStanza(text);
    if (parsed === undefined) log.error({ text }, "a stanza that was not acknowledged cannot be read any more");
    if (parsed?.stanza === undefined) continue;
    const wait = reroute(parsed.stanza, at, copies);
    if (wait === undefined) continue;
    const noted = wait.catch((thrown: unknown) => {
      log.error({ err: asError(thrown) }, "a stanza that was not acknowledged could not be passed on");
    });
    waits.push(noted);
    size += text.length;
    if (waits.length < MAX_AT_A_TIME && size < MAX_SIZE_AT_A_TIME) continue;
    await Promise.all(waits);
    waits = [];
    size = 0;
  }
  await Promise.all(waits);
}
