// What belongs to one server of a test, and what of it is left after its end: its timers, listeners and connections, its
// listeners on AbortSignals, open files in its folder. What else the test has open is the test's own: see stock.ts.

import { fileURLToPath } from "node:url";
import type { Network } from "../../net/transport.ts";
import type { Clock } from "../../util/clock.ts";
import { AbortListeners } from "./abort-listeners.ts";
import type { Leftover } from "./leftover.ts";
import { openFiles } from "./open-files.ts";
import { WatchedClock } from "./watched-clock.ts";
import { WatchedNetwork } from "./watched-network.ts";

const SOURCES = fileURLToPath(new URL("../../", import.meta.url));
const MODULES = fileURLToPath(new URL("../../../modules/", import.meta.url));

/** The clock and network for one server, and what they know. */
export class ServerWatch {
  readonly clock: WatchedClock;
  readonly network: WatchedNetwork;
  #folder: string;
  #signals = new AbortListeners(isOurs);

  constructor({ clock, network, folder }: { clock: Clock; network: Network; folder: string }) {
    this.clock = new WatchedClock(clock);
    this.network = new WatchedNetwork(network);
    this.#folder = folder;
  }

  /** Everything of the server that is left. */
  leftovers(): Leftover[] {
    return [
      ...this.clock.leftovers(),
      ...this.network.leftovers(),
      ...this.#signals.leftovers(),
      ...Array.from(openFiles().values())
        .filter((path) => path.startsWith(`${this.#folder}/`))
        .map((what): Leftover => ({ kind: "file", what })),
    ];
  }

  /** Watches no more. */
  close(): void {
    this.#signals.close();
  }
}

/** Whether the code that called is the server's or a module's, and not the kit's or a test's. */
function isOurs(stack: string): boolean {
  const caller = stack
    .split("\n")
    .slice(1)
    .find((line) => !line.includes("/testing/leaks/") && /\(?(file:\/\/)?\//.test(line));
  if (caller === undefined || caller.includes(`${SOURCES}testing/`)) return false;
  return caller.includes(SOURCES) || caller.includes(MODULES);
}
