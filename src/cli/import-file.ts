// Reads accounts from JSON lines and imports them: first everything is checked, then everything is created. Every bad
// line is reported with its number.

import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { type AccountEntry, accountEntry, type UserAdmin } from "../operations/user-admin.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { Io } from "./io.ts";

/** An account with the line it stands on. */
interface NumberedEntry {
  readonly line: number;
  readonly entry: AccountEntry;
}

/** A line that cannot be imported. */
export interface LineProblem {
  readonly line: number;
  readonly message: string;
}

/** What `importAccounts` is to do. */
export interface ImportOptions {
  readonly users: Pick<UserAdmin, "check" | "import">;
  /** Imports the good lines even if there are bad ones. */
  readonly skipBad: boolean;
  /** Told of every batch that is done. */
  readonly onProgress: (step: "check" | "import", done: number, total: number) => void;
}

/** How an import ended. */
export interface ImportResult {
  readonly imported: number;
  readonly problems: readonly LineProblem[];
}

/** A request to a running server holds at most this many accounts, and about this many characters. */
const BATCH_ACCOUNTS = 500;
const BATCH_LENGTH = 256 * 1024;

/** Returns the lines of the file at `path`, or of standard input for `-` and without a path. */
export function inputLines(io: Io, path: string | undefined): AsyncIterable<string> {
  const input = path === undefined || path === "-" ? io.stdin : createReadStream(resolve(io.directory, path));
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  // readline does not pass on what goes wrong with its input.
  return (async function* () {
    const failed = new Promise<never>((_, reject) => input.once("error", reject));
    const iterator = lines[Symbol.asyncIterator]();
    for (;;) {
      const next = await Promise.race([iterator.next(), failed]).catch((cause: unknown) => {
        throw new MorendoError("MORENDO_IMPORT_FILE", `cannot read the accounts: ${asError(cause).message}`, { cause });
      });
      if (next.done === true) return;
      yield next.value;
    }
  })();
}

/**
 * Imports accounts from JSON lines. With a bad line among them nothing is imported, unless `skipBad` says so. Empty lines
 * do not count. Rejects when the store or the connection to the server fails midway; the message says how far it got.
 */
export async function importAccounts(lines: AsyncIterable<string>, options: ImportOptions): Promise<ImportResult> {
  const problems: LineProblem[] = [];
  const entries = await readEntries(lines, problems);
  const bad = new Set<number>();
  let checked = 0;
  for (const batch of batches(entries)) {
    for (const { index, message } of await options.users.check(batch.map(({ entry }) => entry))) {
      const line = batch[index]?.line ?? 0;
      bad.add(line);
      problems.push({ line, message });
    }
    checked += batch.length;
    options.onProgress("check", checked, entries.length);
  }
  problems.sort((a, b) => a.line - b.line);
  if (problems.length > 0 && !options.skipBad) return { imported: 0, problems };
  const good = entries.filter(({ line }) => !bad.has(line));
  return { imported: await create(good, options), problems };
}

async function create(entries: readonly NumberedEntry[], { users, onProgress }: ImportOptions): Promise<number> {
  let imported = 0;
  for (const batch of batches(entries)) {
    try {
      imported += await users.import(batch.map(({ entry }) => entry));
    } catch (cause) {
      const reach = `lines ${batch[0]?.line} to ${batch.at(-1)?.line}`;
      const message = `the import failed at ${reach}: ${asError(cause).message}; ${imported} accounts before that were imported`;
      throw new MorendoError("MORENDO_IMPORT_FAILED", message, { cause });
    }
    onProgress("import", imported, entries.length);
  }
  return imported;
}

async function readEntries(lines: AsyncIterable<string>, problems: LineProblem[]): Promise<NumberedEntry[]> {
  const entries: NumberedEntry[] = [];
  const seen = new Map<string, number>();
  let line = 0;
  for await (const text of lines) {
    line++;
    if (text.trim() === "") continue;
    const entry = readEntry(text);
    if (typeof entry === "string") {
      problems.push({ line, message: entry });
      continue;
    }
    const name = entry.jid.toLowerCase();
    const earlier = seen.get(name);
    if (earlier === undefined) {
      seen.set(name, line);
      entries.push({ line, entry });
    } else problems.push({ line, message: `${entry.jid} stands on line ${earlier} already` });
  }
  return entries;
}

function readEntry(text: string): AccountEntry | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    return `not JSON: ${asError(thrown).message}`;
  }
  const result = accountEntry.safeParse(value);
  if (!result.success) {
    return result.error.issues
      .map(({ path, message }) => [path.join("."), message].filter(Boolean).join(": "))
      .join("; ");
  }
  return text.length <= BATCH_LENGTH ? result.data : `longer than ${BATCH_LENGTH} characters`;
}

function* batches(entries: readonly NumberedEntry[]): Generator<readonly NumberedEntry[]> {
  let batch: NumberedEntry[] = [];
  let length = 0;
  for (const numbered of entries) {
    const size = JSON.stringify(numbered.entry).length;
    if (batch.length > 0 && (batch.length === BATCH_ACCOUNTS || length + size > BATCH_LENGTH)) {
      yield batch;
      batch = [];
      length = 0;
    }
    batch.push(numbered);
    length += size;
  }
  if (batch.length > 0) yield batch;
}
