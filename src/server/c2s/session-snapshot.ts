// A resumable session as plain data that can leave the process and come back: everything that XEP-0198 §5 needs to go on
// as if nothing had happened. Reading one back trusts nothing. Not for: what modules keep for a session.

import { z } from "zod";
import { Jid } from "../../jid/jid.ts";
import { parseStanza } from "../../stanza/parse-stanza.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { MorendoError } from "../../util/errors.ts";
import { SmState } from "./sm-state.ts";

const count = z.int().nonnegative();
/** XEP-0198 §5: an SM-ID has 4000 bytes at most. */
const MAX_ID = 4_000;
const MAX_REFERENCE = 200;

const snapshotSchema = z.strictObject({
  smId: z.string().min(1).max(MAX_ID),
  /** The full JID. */
  jid: z.string(),
  /** When the resource was bound, in milliseconds since 1970. */
  created: count,
  /** How long the session may wait for its client, in milliseconds. */
  maxMs: count,
  /** How many of the client's stanzas have been carried, as `h` counts. */
  handled: count.max(0xffff_ffff),
  /** How many stanzas the client has been sent since acknowledgements were agreed on, those in `unacked` included. */
  sent: count,
  /**
   * What the client has not acknowledged, oldest first: the text, when it came, in milliseconds since 1970, and by what a
   * module knows it.
   */
  unacked: z.array(
    z.strictObject({ xml: z.string(), at: count.max(8.64e15), ref: z.string().max(MAX_REFERENCE).optional() }),
  ),
  /** The presence it last broadcast, while it is available. */
  presence: z.string().optional(),
  /** Since when it waits for its client, in milliseconds since 1970; it had a connection without this. */
  hibernatedSince: count.optional(),
  /**
   * The server was down since its client was here: `told` when its contacts know, and `presence` is what they will hear
   * when the client is back; `silent` when they heard nothing.
   */
  outage: z.enum(["told", "silent"]).optional(),
});

export type Outage = z.output<typeof snapshotSchema.shape.outage>;

export type SessionSnapshot = z.output<typeof snapshotSchema>;

/** What a snapshot is written from, and what one says when it has been read and checked. */
export interface SessionParts {
  readonly jid: Jid;
  readonly created: number;
  readonly sm: SmState;
  readonly presence: Stanza | undefined;
  readonly hibernatedSince: number | undefined;
  readonly outage: Outage;
}

/** Writes a snapshot of a session with this SM-ID. */
export function writeSnapshot(smId: string, parts: SessionParts): SessionSnapshot {
  const { jid, created, sm, presence, hibernatedSince, outage } = parts;
  return {
    smId,
    jid: jid.toString(),
    created,
    maxMs: sm.maxMs,
    handled: sm.handled.h,
    sent: sm.sent,
    unacked: Array.from(sm.unacked(), ({ text, at, ref }) => ({
      xml: text,
      at,
      ...(ref === undefined ? {} : { ref }),
    })),
    ...(presence === undefined ? {} : { presence: presence.text }),
    ...(hibernatedSince === undefined ? {} : { hibernatedSince }),
    ...(outage === undefined ? {} : { outage }),
  };
}

/** Reads a snapshot; throws `MORENDO_SESSION_STATE` with a message that names what is wrong with it. */
export function readSnapshot(data: unknown): SessionParts {
  const parsed = snapshotSchema.safeParse(data);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw damaged(issue === undefined ? "" : issue.path.join("."), issue?.message ?? "not a session");
  }
  const { smId, created, maxMs, handled, sent, unacked, hibernatedSince, outage, ...texts } = parsed.data;
  const jid = Jid.parse(texts.jid);
  if (jid === undefined || jid.local === "" || !jid.isFull || jid.toString() !== texts.jid) {
    throw damaged("jid", "not a full JID as it is written");
  }
  if (sent < unacked.length) throw damaged("sent", "less than what waits to be acknowledged");
  const sm = new SmState(smId, maxMs, { handled, proved: sent - unacked.length });
  for (const [index, { xml, at, ref }] of unacked.entries()) {
    const parsed = parseStanza(xml);
    if (parsed === undefined) throw damaged(`unacked.${index}.xml`, "not a stanza");
    const to = parsed.stanza?.to;
    if (to !== undefined && !to.bare.equals(jid.bare)) throw damaged(`unacked.${index}.xml`, "for somebody else");
    sm.add({ text: xml, copies: undefined, at, ref });
  }
  return { jid, created, sm, presence: presenceOf(jid, texts.presence), hibernatedSince, outage };
}

function presenceOf(jid: Jid, text: string | undefined): Stanza | undefined {
  if (text === undefined) return undefined;
  const presence = parseStanza(text)?.stanza;
  if (presence?.kind === "presence" && presence.type === "available" && presence.from.equals(jid)) return presence;
  throw damaged("presence", "not an available presence of this session");
}

function damaged(where: string, what: string): MorendoError {
  return new MorendoError("MORENDO_SESSION_STATE", `the state of a session cannot be used: ${where}: ${what}`);
}
