// Which server the interop tests are about, and how a test that cannot run here says so.

import type { Context } from "mocha";
import type { ServerKind } from "./server.ts";
import { skip } from "./skip.ts";

/** The server under test: Morendo, unless `MORENDO_SUBJECT` names another one to test the tests. */
export const SUBJECT: ServerKind = kindOf(process.env.MORENDO_SUBJECT) ?? "morendo";

/** Skips the running test or suite and prints why, when there is a reason. */
export function skipWithReason(context: Context, reason: string | undefined): void {
  if (reason !== undefined) skip(context, reason);
}

function kindOf(name: string | undefined): ServerKind | undefined {
  return name === "prosody" || name === "ejabberd" || name === "morendo" ? name : undefined;
}
