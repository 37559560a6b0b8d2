// The known gap, in one place: when a stanza that was accepted may be gone without a trace. Each excuse is as narrow as it
// can be, and one less is a step forward.

import type { SimulatedClient } from "./simulated-client.ts";
import type { Connection } from "./simulated-network.ts";
import type { World } from "./world.ts";

/** What is known of a stanza without a fate. */
export interface Circumstances {
  readonly world: World;
  /** The connection that it came on, where that matters. */
  readonly connection: Connection | undefined;
  /** Clients to whose connections it was written, and who did not get it. */
  readonly receivers: readonly (SimulatedClient | undefined)[];
}

/** Returns why a stanza may be without a fate, or undefined when it may not. */
export function excuseOf({ world, receivers }: Circumstances): string | undefined {
  // What a server knows dies with it, until clients can use XEP-0198 and everything it has taken is on disk first.
  if (world.killedAt !== undefined) return "the server was killed";
  // Without XEP-0198 nobody knows what a client had read when its connection broke.
  if (receivers.length > 0 && receivers.every((client) => client?.wasBroken === true))
    return "a client's connection broke";
  return undefined;
}
