// The operations on who is logged in: a list with its totals, and ending sessions. Not for: accounts (user-admin.ts).

import { z } from "zod";
import { Jid } from "../jid/jid.ts";
import type { Session } from "../server/session.ts";
import { MorendoError } from "../util/errors.ts";
import type { ServerPort } from "./server-port.ts";

/** The most sessions that one answer names. */
const MAX_LISTED = 100_000;

export const sessionsArguments = z.strictObject({
  /** Only those of one host. */
  host: z.string().optional(),
  /** How many are named; the totals are of all. */
  limit: z.int().nonnegative().max(MAX_LISTED).default(1_000),
});

export const endArguments = z.strictObject({
  jid: z.string(),
  /** What the client is told. */
  reason: z.string().min(1).max(1_000).default("the session was ended by the operator"),
});

/** A session as operators see it. */
interface ListedSession {
  /** The full JID. */
  readonly jid: string;
  /** The availability by its presence (RFC 6121 §4.7.2.1): `online` where it says nothing more, `none` before it sends any. */
  readonly show: string;
  readonly priority: number;
}

/** Who is logged in. */
export interface SessionList {
  /** All sessions. */
  readonly total: number;
  /** Accounts with a session that is available. */
  readonly users: number;
  /** Those of them with a session that is neither away nor not available for long. */
  readonly active: number;
  /** The sessions by name, as many as were asked for. */
  readonly sessions: readonly ListedSession[];
}

const IDLE: ReadonlySet<string> = new Set(["away", "xa"]);

/** Returns the list in one pass over the sessions. */
export function listSessions(
  sessions: Iterable<Session>,
  { host, limit }: z.output<typeof sessionsArguments>,
): SessionList {
  const domain = host === undefined ? undefined : Jid.parse(host)?.domain;
  const listed: ListedSession[] = [];
  const users = new Set<string>();
  const active = new Set<string>();
  let total = 0;
  for (const session of sessions) {
    if (host !== undefined && session.jid.domain !== domain) continue;
    total++;
    const show = showOf(session);
    if (show !== "none") {
      const account = session.account.toString();
      users.add(account);
      if (!IDLE.has(show)) active.add(account);
    }
    if (listed.length < limit) listed.push({ jid: session.jid.toString(), show, priority: session.priority });
  }
  return { total, users: users.size, active: active.size, sessions: listed };
}

/** Rejects with `MORENDO_ACCOUNT_NAME` when `text` names nobody here, and `MORENDO_SESSION_UNKNOWN` when nobody was logged in by it. */
export async function endSessions(
  server: Pick<ServerPort, "endSessions">,
  text: string,
  reason: string,
): Promise<{ readonly ended: number }> {
  const jid = Jid.parse(text);
  if (jid === undefined || jid.local === "") {
    throw new MorendoError("MORENDO_ACCOUNT_NAME", `${JSON.stringify(text)} is not an account; expected name@host`);
  }
  const ended = await server.endSessions(jid, reason);
  if (ended === 0) throw new MorendoError("MORENDO_SESSION_UNKNOWN", `${jid.toString()} is not logged in`);
  return { ended };
}

function showOf({ presence }: Session): string {
  if (presence === undefined) return "none";
  const show = presence.element.getChildText("show") ?? "";
  return ["away", "chat", "dnd", "xa"].includes(show) ? show : "online";
}
