// Loopback addresses of one's own for each server under test, so that every one can use XMPP's standard ports and several
// test runs can share a machine. Linux answers on all of 127.0.0.0/8.

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

/** Returns a port nobody listens on, at this moment, on `address`. */
export function freePort(address = "127.0.0.1"): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, address, () => {
      const bound = server.address();
      server.close(() => resolve(typeof bound === "object" && bound !== null ? bound.port : 0));
    });
  });
}

function isFree(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, address, () => server.close(() => resolve(true)));
  });
}
