// What the commands that show lists of users have in common.

import { type FormField, type FormValues, StanzaError, z } from "../../src/module.ts";
import type { Admin } from "./admin.ts";

/** The longest list that fits a client's stanza whatever the names. */
export const MAX_SHOWN = 1_000;

/** How many sessions are looked through for a list. */
const MAX_SESSIONS = 100_000;

/** How many users are wanted (XEP-0133 §4.18). */
export const MAX_ITEMS: FormField = {
  name: "max_items",
  type: "list-single",
  label: "How many to show at most",
  value: "25",
  options: [
    ...["25", "50", "75", "100", "150", "200"].map((value) => ({ value, label: value })),
    { value: "none", label: "No limit" },
  ],
};

/** The number that was chosen; undefined where none was. */
export function limitOf(values: FormValues): number | undefined {
  const chosen = values.text("max_items");
  return chosen === "" || chosen === "none" ? undefined : Number(chosen);
}

const list = z.object({
  users: z.number(),
  active: z.number(),
  sessions: z.array(z.object({ jid: z.string(), show: z.string() })),
});

/** Who is logged in. */
export type SessionList = z.output<typeof list>;

/** Asks who is logged in, on one host if told. */
export async function sessionList(
  admin: Admin,
  host?: string,
  limit: number = MAX_SESSIONS,
): Promise<SessionList | StanzaError> {
  const result = await admin.ask("session.list", { limit, ...(host === undefined ? {} : { host }) });
  return result instanceof StanzaError ? result : list.parse(result);
}
