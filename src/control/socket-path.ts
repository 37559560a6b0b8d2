// Gets the path of the control socket ready: checks its length and its folder, and clears away the socket of a server
// that is dead, but never that of one that lives.

import { lstat, realpath, rename, stat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { codeOf, MorendoError } from "../util/errors.ts";

/** The longest path the kernel takes for a Unix socket (sun_path less its final zero). */
const MAX_PATH_BYTES = process.platform === "linux" ? 107 : 103;

/** Returns the name beside `path` under which the process `pid` makes its socket: short, because the length is limited. */
export function makingName(path: string, pid: number = process.pid): string {
  return join(dirname(path), `.${pid.toString(36)}`);
}

/** Removes what the process `pid`, which is dead, made beside `path` and never put there. */
export async function removeUnpublished(path: string, pid: number): Promise<void> {
  await unlink(makingName(path, pid)).catch((thrown: unknown) => {
    if (codeOf(thrown) !== "ENOENT") throw thrown;
  });
}

/** Throws `MORENDO_CONTROL_PATH` when `path` is too long for a socket. */
export function checkPathLength(path: string): void {
  const bytes = Math.max(Buffer.byteLength(path), Buffer.byteLength(makingName(path)));
  if (bytes > MAX_PATH_BYTES) {
    throw pathError(
      `${path} takes ${bytes} bytes, ${MAX_PATH_BYTES} is the most for a Unix socket: set \`socket\` in [control] to a shorter path`,
    );
  }
}

/** Throws `MORENDO_CONTROL_PATH` when no socket can or should be made at `path`. */
export async function checkSocketPath(path: string): Promise<void> {
  checkPathLength(path);
  const parent = dirname(path);
  const folder = await stat(parent).catch((thrown: unknown) => {
    if (codeOf(thrown) === "ENOENT") throw pathError(`the folder ${parent} is not there`);
    throw thrown;
  });
  if (!folder.isDirectory()) throw pathError(`${parent} is not a folder`);
  const us = process.geteuid?.();
  if (us !== undefined && us !== 0 && folder.uid !== us && folder.uid !== 0) {
    throw pathError(`the folder ${parent} belongs to another user, who could put another socket there`);
  }
  const isShared = (folder.mode & 0o022) !== 0 && (folder.mode & 0o1000) === 0;
  if (isShared) throw pathError(`others may write to the folder ${parent}: they could put their own socket there`);
}

function pathError(message: string): MorendoError {
  return new MorendoError("MORENDO_CONTROL_PATH", `control socket: ${message}`);
}

/**
 * Rejects with `MORENDO_CONTROL_DENIED` when the socket at `path` is not one to tell passwords to: it is somebody else's, who
 * put it there, or others may write to it. To root also belongs what belongs to the owner of the folder. Says nothing of a
 * path where nothing is.
 */
export async function checkOwner(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  const us = process.geteuid?.();
  if (found === undefined || us === undefined || !found.isSocket()) return;
  const folder = us === 0 && found.uid !== 0 ? await stat(dirname(await realpath(path))) : undefined;
  if (found.uid !== us && (folder === undefined ? found.uid !== 0 : folder.uid !== found.uid)) {
    throw denied(`${path} belongs to another user (uid ${found.uid}): run this as the user that runs Morendo`);
  }
  if ((found.mode & 0o022) === 0) return;
  throw denied(`others may write to ${path} (mode ${(found.mode & 0o777).toString(8)}): it has to be mode 600`);
}

function denied(message: string): MorendoError {
  return new MorendoError("MORENDO_CONTROL_DENIED", message);
}

/** Tells whether somebody answers at `path`: `live`, `stale` (a socket without an owner), `none`, or `other` (no socket). */
export async function probeSocket(path: string): Promise<"live" | "stale" | "none" | "other"> {
  const found = await lstat(path).catch((thrown: unknown) => {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  });
  if (found === undefined) return "none";
  if (!found.isSocket()) return "other";
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve("live");
    });
    socket.once("error", (error) => {
      const code = codeOf(error);
      if (code === "ECONNREFUSED") resolve("stale");
      else if (code === "ENOENT") resolve("none");
      // A full backlog: there is an owner, it is only busy.
      else if (code === "EAGAIN") resolve("live");
      else reject(error);
    });
  });
}

/** Removes the socket of a dead server. Does nothing when another server has put its own there in the meantime. */
export async function removeStale(path: string): Promise<void> {
  const before = await lstat(path);
  const aside = `${path}.${process.pid}`;
  await rename(path, aside);
  const moved = await lstat(aside);
  if (moved.ino === before.ino && (await probeSocket(aside)) === "stale") await unlink(aside);
  else await rename(aside, path);
}
