// The known gaps, in one place: when a stanza that was accepted may be gone without a trace, or come twice. Each excuse is
// as narrow as it can be, and one less is a step forward.

import type { SimulatedClient } from "./simulated-client.ts";
import type { World } from "./world.ts";

/** Why a message that the server had read may be without a fate; undefined when it may not. */
export function excuseForNoFate(
  world: World,
  /** Clients to whose connections it was written, and who did not get it. */
  receivers: readonly (SimulatedClient | undefined)[],
): string | undefined {
  // A client without XEP-0198 is promised nothing before the server's closing tag, and a killed server says none.
  if (world.killedAt !== undefined) return "the server was killed";
  // Without XEP-0198 nobody knows what a client had read when its connection broke.
  if (receivers.length > 0 && receivers.every((client) => client?.wasBroken === true)) {
    return "the receiver's connection broke";
  }
  return undefined;
}

/** Why a message may be with its receivers and have another fate as well; undefined when it may not. */
export function excuseForTwice(world: World, receivers: readonly SimulatedClient[]): string | undefined {
  // Taking it out of the store is not on the disk yet; it comes again rather than never.
  if (world.killedAt !== undefined) return "the server was killed";
  // It was read, but the acknowledgement did not get through: it comes again rather than never.
  const isUntold = (client: SimulatedClient): boolean =>
    client.plan.sm !== "no" && (client.wasBroken || world.wasCutShort);
  return receivers.length > 0 && receivers.every(isUntold)
    ? "the receiver's acknowledgement was lost with its connection"
    : undefined;
}

/** Why the sender of a stanza that comes back may not be told, or not once; undefined when it must. */
export function excuseForUntoldSender(world: World, sender: SimulatedClient): string | undefined {
  if (world.killedAt !== undefined) return "the server was killed";
  // The error waits with everything else for a session that may never be resumed, and comes again when nobody knows
  // whether it was read.
  return sender.plan.sm !== "no" && sender.wasBroken ? "the sender's connection broke" : undefined;
}

/** Why a stanza may have been taken although its server was told that it was not; undefined when it may not. */
export function excuseForUntold(world: World): string | undefined {
  // The last acknowledgement waits for the stanza in hand no longer than there is time: what is on its way into a slow
  // store then arrives there all the same. It comes again rather than never.
  return world.wasCutShort && world.scenario.storeMs > 0 ? "there was no time to wait for the store" : undefined;
}

/** Why a message that was acknowledged to another server may be gone; undefined when it may not. */
export function excuseForKilledQueue(world: World, to: string): string | undefined {
  if (world.killedAt === undefined) return undefined;
  // What waits for a client to acknowledge it, and never was in the store, waits in memory.
  const waits = world.clients.some(({ plan }) => plan.sm !== "no" && to.startsWith(plan.user));
  return waits ? "it waited for a client when the server was killed" : undefined;
}

/** Why a contact may still see a session when the server has stopped; undefined when it may not. */
export function excuseForGhost(world: World, from: string): string | undefined {
  // The session goes on after the next start, or its goodbye is said then.
  const goesOn = world.wasCutShort && world.keptSessions.includes(`"${from}"`);
  return goesOn ? "there was no time for more than to keep the session" : undefined;
}
