// Listening sockets that a service manager opened for us (systemd socket activation, sd_listen_fds(3)): the same kind of
// listeners by name as a predecessor passes on.

import { isSocket } from "./descriptors.ts";
import { handoverError } from "./protocol.ts";
import type { PassedListener } from "./successor-process.ts";

/** The first descriptor that is passed (SD_LISTEN_FDS_START). */
const FIRST_FD = 3;
const MAX_FDS = 1024;

/**
 * Returns the listeners passed by `LISTEN_FDS` and `LISTEN_FDNAMES`, and removes the variables from `environment`, so that
 * nobody whom we start takes them for its own. Sockets without a name are called `unknown`, as systemd does. Returns none
 * when `LISTEN_PID` is not `pid`: they are then for somebody else. Throws `MORENDO_HANDOVER_ENVIRONMENT` for values that make
 * no sense.
 */
export function activatedListeners(
  environment: Record<string, string | undefined>,
  pid: number,
): readonly PassedListener[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = environment;
  delete environment.LISTEN_PID;
  delete environment.LISTEN_FDS;
  delete environment.LISTEN_FDNAMES;
  if (LISTEN_PID === undefined || LISTEN_FDS === undefined) return [];
  if (count("LISTEN_PID", LISTEN_PID, Number.MAX_SAFE_INTEGER) !== pid) return [];
  const fds = count("LISTEN_FDS", LISTEN_FDS, MAX_FDS);
  const names = LISTEN_FDNAMES === undefined || LISTEN_FDNAMES === "" ? [] : LISTEN_FDNAMES.split(":");
  if (names.length > 0 && names.length !== fds) {
    throw handoverError("ENVIRONMENT", `LISTEN_FDNAMES has ${names.length} names for ${fds} sockets`);
  }
  return Array.from({ length: fds }, (_, index) => {
    const fd = FIRST_FD + index;
    const name = names[index] ?? "unknown";
    if (!isSocket(fd))
      throw handoverError("ENVIRONMENT", `LISTEN_FDS: descriptor ${fd} (${name}) is not an open socket`);
    return { name, fd };
  });
}

function count(variable: string, text: string, max: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= max))
    throw handoverError("ENVIRONMENT", `${variable}: ${JSON.stringify(text)} is not a number that makes sense`);
  return value;
}
