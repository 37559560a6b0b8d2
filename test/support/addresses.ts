// Loopback addresses of one's own for each server under test, so that every one can use XMPP's standard ports and several
// test runs can share a machine. Linux answers on all of 127.0.0.0/8.

import { readFileSync } from "node:fs";
import { createServer } from "node:net";

/** The ports every server under test uses. */
export const PORTS = { c2s: 5222, c2sTls: 5223, s2s: 5269 } as const;

let next = 0;

/** Returns a loopback address on which the XMPP ports are free and which no other server of this process was given. */
export async function freeAddress(): Promise<string> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const address = `127.${16 + (process.pid % 200)}.${(process.pid >> 8) % 256}.${1 + (next++ % 250)}`;
    const free = await Promise.all(Object.values(PORTS).map((port) => isFree(address, port)));
    if (free.every(Boolean)) return address;
  }
  throw new Error("no free loopback address");
}

/**
 * Returns a port nobody listens on, at this moment, on `address`. It is none of those that the system gives out by itself
 * (32,768 and up), which the next connection of anybody might get.
 */
export async function freePort(address = "127.0.0.1"): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = 10_000 + ((process.pid * 50 + next++) % 22_000);
    if (await isFree(address, port)) return port;
  }
  throw new Error("no free port");
}

/** Counts the established TCP connections to `port` of any of the addresses, as the kernel lists them (Linux only). */
export function establishedTo(addresses: readonly string[], port: number): number {
  const wanted = new Set(
    addresses.map((address) => `${hex(address)}:${port.toString(16).toUpperCase().padStart(4, "0")}`),
  );
  // Fields: number, local address, remote address, state; 01 is ESTABLISHED.
  const rows = readFileSync("/proc/net/tcp", "utf8").split("\n");
  return rows.filter((row) => {
    const [, local = "", , state] = row.trim().split(/\s+/);
    return state === "01" && wanted.has(local);
  }).length;
}

/** An IPv4 address as /proc/net/tcp has it: the bytes in reverse on a little-endian machine. */
function hex(address: string): string {
  const bytes = address.split(".").map((part) => Number(part).toString(16).toUpperCase().padStart(2, "0"));
  return bytes.reverse().join("");
}

function isFree(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, address, () => server.close(() => resolve(true)));
  });
}
