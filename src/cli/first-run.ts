// Makes what a new installation lacks and the server itself does not make: the data folder and a first account.

import { mkdir } from "node:fs/promises";
import type { UserAdmin } from "../operations/user-admin.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { Random } from "../util/random.ts";

/** Makes the data folder, for its owner only, when it is not there. */
export async function makeDataFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const message = `the data folder ${path} cannot be made: ${asError(cause).message} (option \`data\`)`;
    throw new MorendoError("MORENDO_DATA_FOLDER", message, { cause });
  }
}

/** An account that was made, with the password that is shown this once. */
export interface FirstAccount {
  readonly jid: string;
  readonly password: string;
}

/** Creates `admin@host` when there is no account at all; returns it, or undefined when there was one. */
export async function makeFirstAccount(
  host: string,
  users: Pick<UserAdmin, "any" | "add">,
  random: Random,
): Promise<FirstAccount | undefined> {
  if (await users.any()) return undefined;
  const first = { jid: `admin@${host}`, password: easyPassword(random) };
  await users.add(first.jid, first.password);
  return first;
}

/** Letters and digits that cannot be mistaken for each other. */
const ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789";

/** Returns a password to read and type: four groups of five, 99 bits. */
function easyPassword(random: Random): string {
  const group = (): string => Array.from({ length: 5 }, () => ALPHABET[random.below(ALPHABET.length)]).join("");
  return Array.from({ length: 4 }, group).join("-");
}
