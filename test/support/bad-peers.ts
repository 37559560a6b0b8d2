// Peers that misbehave on purpose, as far as an acceptor can: for servers that must not be held up by them.

import { ScriptedPeer } from "../../src/testing/scripted-peer.ts";
import { freePort } from "./addresses.ts";
import type { Network } from "./network.ts";

/** The ways in which the domains below are bad. */
export const BAD_PEERS = ["silent", "resetting", "refusing", "unresolvable"] as const;

/** The first half of an opening tag. */
const HALF_A_HEADER = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jab";

/** The domain of a bad peer. */
export function badDomain(how: (typeof BAD_PEERS)[number]): string {
  return `${how}.example`;
}

/** Puts one peer of each kind on the network. */
export async function addBadPeers(network: Network): Promise<void> {
  const silent = await ScriptedPeer.start({ domain: badDomain("silent"), script: { header: "ignore", end: "ignore" } });
  const resetting = await ScriptedPeer.start({
    domain: badDomain("resetting"),
    script: {
      header: (connection) => {
        connection.send(HALF_A_HEADER);
        setTimeout(() => connection.reset(), 20);
        return undefined;
      },
    },
  });
  for (const peer of [silent, resetting]) {
    network.dns.place(peer.domain, { address: "127.0.0.1", port: Number(peer.address.split(":")[1]) });
    network.add(() => peer.stop());
  }
  network.dns.place(badDomain("refusing"), { address: "127.0.0.1", port: await freePort() });
}
