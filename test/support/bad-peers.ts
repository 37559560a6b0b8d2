// Peers that misbehave on purpose, as far as an acceptor can: for servers that must not be held up by them.

import { createServer, type Socket } from "node:net";
import { freePort } from "./addresses.ts";
import type { Network } from "./network.ts";

/** The ways in which the domains below are bad. */
export const BAD_PEERS = ["silent", "resetting", "refusing", "unresolvable"] as const;

/** The domain of a bad peer. */
export function badDomain(how: (typeof BAD_PEERS)[number]): string {
  return `${how}.example`;
}

/** Puts one peer of each kind on the network. */
export async function addBadPeers(network: Network): Promise<void> {
  await acceptor(network, badDomain("silent"), () => undefined);
  await acceptor(network, badDomain("resetting"), (socket) => {
    socket.once("data", () => {
      socket.write("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jab");
      setTimeout(() => socket.resetAndDestroy(), 20);
    });
  });
  network.dns.place(badDomain("refusing"), { address: "127.0.0.1", port: await freePort() });
}

async function acceptor(network: Network, domain: string, serve: (socket: Socket) => void): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    // The other side may reset what it gave up; that is its right.
    socket.on("error", () => socket.destroy());
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  network.dns.place(domain, {
    address: "127.0.0.1",
    port: typeof bound === "object" && bound !== null ? bound.port : 0,
  });
  network.add(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}
