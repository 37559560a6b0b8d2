// An operator's announcement (XEP-0133 §4.23): who hears it. Not for: how many are told without holding the server up
// (teller.ts), nor for the announcement of a stop (announce-phase.ts, modules/announce).

import { Jid } from "../jid/jid.ts";
import type { Clock } from "../util/clock.ts";
import { MorendoError } from "../util/errors.ts";
import type { Random } from "../util/random.ts";
import type { Session } from "./session.ts";
import type { SessionTable } from "./session-table.ts";
import { Teller } from "./teller.ts";

/** What an announcement needs. */
export interface AnnouncingOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly hosts: readonly string[];
  readonly sessions: SessionTable;
}

/** How many sessions are told before other work has its turn. */
const BATCH = 50;
const NEVER = new AbortController().signal;

/**
 * Tells every available session, or those of one host. Resolves to how many, without waiting for clients that are slow to
 * read. Rejects with `MORENDO_NO_HOST` for a host that is not served here.
 */
export async function announce(
  { clock, random, hosts, sessions }: AnnouncingOptions,
  text: string,
  host: string | undefined,
): Promise<number> {
  const domain = host === undefined ? undefined : (Jid.parse(host)?.domain ?? host);
  if (domain !== undefined && !hosts.includes(domain)) {
    throw new MorendoError("MORENDO_NO_HOST", `${host} is not served here; the hosts are ${hosts.join(", ")}`);
  }
  const isMeant = ({ presence, account }: Session): boolean =>
    presence !== undefined && (domain === undefined || account.domain === domain);
  const meant = [...sessions.all()].filter(isMeant);
  return await new Teller({ clock, random, batch: BATCH }).tell({ sessions: meant, text: () => text, signal: NEVER });
}
