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

const SOURCES = placesOf("../../");
const KIT = placesOf("../");
const MODULES = placesOf("../../../modules/");

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
  const isIn = (places: readonly string[]): boolean => places.some((place) => caller?.includes(place));
  return !isIn(KIT) && (isIn(SOURCES) || isIn(MODULES));
}

/** A folder in both spellings that a stack may have it in. */
function placesOf(relative: string): string[] {
  const url = new URL(relative, import.meta.url);
  return [url.href, fileURLToPath(url)];
}
