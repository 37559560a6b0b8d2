// Turns the errors of LMDB, lmdb-js and the file system into MorendoErrors that say what is wrong and what can be done.
// Also looks at the files before LMDB does: lmdb-js crashes the process on a file that is none of its own.

import { accessSync, closeSync, constants, mkdirSync, openSync, readSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import { asError, codeOf, MorendoError } from "../util/errors.ts";
import { damageOf } from "./lmdb-check.ts";

/** `MORENDO_STORE_DENIED`, `_FULL`, `_CORRUPT`, `_LOCKED`, `_PATH` or, for everything else, `_FAILED`. */
type StoreErrorCode = `MORENDO_STORE_${"DENIED" | "FULL" | "CORRUPT" | "LOCKED" | "PATH" | "FAILED"}`;

const DATA_FILE = "data.mdb";
const LOCK_FILE = "lock.mdb";
/** Where a page's header ends and, on the first pages, LMDB's magic number and format version stand. */
const MAGIC_AT = 24;
const MAGIC = 0xbeefc0de;
const FORMAT = 2;
const SMALLEST_FILE = 2 * 4096;
/** With less than this left a write that failed for no clear reason failed for lack of room. */
const LOW_SPACE = 1024 * 1024;

const CODES: Readonly<Record<string, StoreErrorCode>> = {
  EACCES: "MORENDO_STORE_DENIED",
  EPERM: "MORENDO_STORE_DENIED",
  EROFS: "MORENDO_STORE_DENIED",
  "13": "MORENDO_STORE_DENIED",
  "1": "MORENDO_STORE_DENIED",
  "30": "MORENDO_STORE_DENIED",
  ENOSPC: "MORENDO_STORE_FULL",
  "28": "MORENDO_STORE_FULL",
  "27": "MORENDO_STORE_FULL",
  "122": "MORENDO_STORE_FULL",
  "-30792": "MORENDO_STORE_FULL",
  "-30793": "MORENDO_STORE_CORRUPT",
  "-30794": "MORENDO_STORE_CORRUPT",
  "-30796": "MORENDO_STORE_CORRUPT",
  "-30797": "MORENDO_STORE_CORRUPT",
  "11": "MORENDO_STORE_LOCKED",
  "35": "MORENDO_STORE_LOCKED",
  "-30790": "MORENDO_STORE_LOCKED",
  ENOTDIR: "MORENDO_STORE_PATH",
  EEXIST: "MORENDO_STORE_PATH",
  ENOENT: "MORENDO_STORE_PATH",
  "20": "MORENDO_STORE_PATH",
  "2": "MORENDO_STORE_PATH",
};

const MEANING: Record<StoreErrorCode, string> = {
  MORENDO_STORE_DENIED: "may not be read and written by this user",
  MORENDO_STORE_FULL: "cannot grow: the disk is full or a quota is reached",
  MORENDO_STORE_CORRUPT: "is damaged or not an LMDB database of this version",
  MORENDO_STORE_LOCKED: "is locked by another process",
  MORENDO_STORE_PATH: "cannot be made: its path leads nowhere or through a file",
  MORENDO_STORE_FAILED: "failed",
};

/** Returns what went wrong with the store in `path` as a MorendoError; one that is a MorendoError already stays as it is. */
export function storeError(path: string, thrown: unknown): MorendoError {
  if (thrown instanceof MorendoError) return thrown;
  const code = CODES[rawCode(thrown)] ?? (isDiskFull(path) ? "MORENDO_STORE_FULL" : "MORENDO_STORE_FAILED");
  return describe(path, code, thrown);
}

/** Returns the error behind a failed commit: lmdb-js hands it over in a promise of its own. */
export async function commitCause(thrown: unknown): Promise<unknown> {
  if (typeof thrown !== "object" || thrown === null || !("commitError" in thrown)) return thrown;
  try {
    return await thrown.commitError;
  } catch (cause) {
    return cause;
  }
}

/** Makes the folder and throws when it, or a file in it, is not fit for LMDB. */
export function prepareFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    checkDataFile(path, join(path, DATA_FILE));
    checkLockFile(join(path, LOCK_FILE));
  } catch (thrown) {
    throw storeError(path, thrown);
  }
}

function checkDataFile(path: string, file: string): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined || size === 0) return;
  accessSync(file, constants.R_OK | constants.W_OK);
  const start = Buffer.alloc(MAGIC_AT + 8);
  const handle = openSync(file, "r");
  try {
    readSync(handle, start, 0, start.length, 0);
  } finally {
    closeSync(handle);
  }
  const sound = start.readUInt32LE(MAGIC_AT) === MAGIC && start.readUInt32LE(MAGIC_AT + 4) === FORMAT;
  if (!sound || size < SMALLEST_FILE) throw describe(path, "MORENDO_STORE_CORRUPT", undefined);
  const damage = damageOf(file);
  if (damage !== undefined) throw describe(path, "MORENDO_STORE_CORRUPT", new Error(`${DATA_FILE}: ${damage}`));
}

function checkLockFile(file: string): void {
  if (statSync(file, { throwIfNoEntry: false }) !== undefined) accessSync(file, constants.R_OK | constants.W_OK);
}

function describe(path: string, code: StoreErrorCode, cause: unknown): MorendoError {
  const detail = cause === undefined ? "" : ` (${asError(cause).message})`;
  return new MorendoError(code, `The store in ${path} ${MEANING[code]}${detail}.`, { cause });
}

function rawCode(thrown: unknown): string {
  const text = codeOf(thrown);
  if (text !== undefined) return text;
  return typeof thrown === "object" && thrown !== null && "code" in thrown ? String(thrown.code) : "";
}

/** A write that hits the end of the disk in its middle is reported as an I/O error: the free space tells them apart. */
function isDiskFull(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize < LOW_SPACE;
  } catch {
    // The folder itself is out of reach, so that the space cannot be known: the error at hand says more.
    return false;
  }
}
