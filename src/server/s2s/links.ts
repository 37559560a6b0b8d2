// The links to other domains: made when there is something to send, forgotten when they hold nothing worth keeping, woken for
// what waits in the journal. Not for: what a link does (remote-link.ts), nor how they end together (drain.ts).

import { StanzaError } from "../../stanza/stanza-error.ts";
import type { WheelTimeout } from "../../util/timer-wheel.ts";
import type { S2sContext } from "./context.ts";
import { DialGate } from "./dial-gate.ts";
import type { Drain } from "./drain.ts";
import type { Fates } from "./fates.ts";
import type { Journal } from "./journal.ts";
import type { Pings } from "./pings.ts";
import { type LinkState, RemoteLink } from "./remote-link.ts";

/** One link, as `status` tells of it. */
export interface LinkStatus {
  readonly local: string;
  readonly remote: string;
  readonly state: LinkState;
  readonly queued: number;
  readonly unproved: number;
}

export interface LinksOptions {
  readonly context: S2sContext;
  readonly fates: Fates;
  readonly pings: Pings;
  readonly journal: Journal | undefined;
}

/** How often it is looked whether everything sent is proved. */
const QUIET_LOOK_MS = 50;
/** How often links that hold nothing are forgotten. */
const SWEEP_MS = 60_000;

/** How many pairs of a local host and another domain can be in use: each costs memory, lookups and a connection. */
const MAX_LINKS = 20_000;

/** The links of all hosts. */
export class Links {
  /** The cap on dials. */
  readonly gate: DialGate;
  #options: LinksOptions;
  #context: S2sContext;
  #links = new Map<string, RemoteLink>();
  #sweep: WheelTimeout | undefined;
  #drain: Drain | undefined;
  #destroyed = false;

  constructor(options: LinksOptions) {
    const { config, steadyWheel } = options.context;
    this.#options = options;
    this.#context = options.context;
    this.gate = new DialGate(config.max_dials, steadyWheel);
  }

  /** Begins to forget links. */
  start(): void {
    this.#sweep = this.#context.wheel.add(SWEEP_MS, () => this.#forgetIdle());
  }

  [Symbol.iterator](): Iterator<RemoteLink> {
    return this.#links.values();
  }

  has(local: string, remote: string): boolean {
    return this.#links.has(nameOf(local, remote));
  }

  /** The link from a host to a domain, made when there is none; or why there can be none. */
  to(local: string, remote: string): RemoteLink | StanzaError {
    const name = nameOf(local, remote);
    const known = this.#links.get(name);
    if (known !== undefined) return known;
    if (this.#drain?.isFinal) return new StanzaError("remote-server-timeout", "the server is shutting down");
    if (this.#links.size >= MAX_LINKS)
      return new StanzaError("resource-constraint", "too many other servers are in use");
    const { context, fates, pings, journal } = this.#options;
    const lane = journal?.lane(local, remote);
    const link = new RemoteLink({ context, local, remote, fates, pings, gate: this.gate, lane });
    this.#links.set(name, link);
    this.#drain?.hurry(link);
    return link;
  }

  /** The values of the configuration have changed. */
  reconfigured(): void {
    this.gate.max = this.#context.config.max_dials;
    for (const link of this) link.reconfigured();
  }

  /** Sees to it that there is a link for everything that waits in the journal. */
  wakeLanes(): void {
    if (this.#destroyed || this.#drain !== undefined) return;
    for (const { local, remote } of this.#options.journal?.lanes() ?? []) {
      // A host that is not served any more has nobody who could say who we are.
      if (!this.#context.hosts.has(local)) continue;
      const link = this.to(local, remote);
      if (link instanceof RemoteLink) link.wake();
    }
  }

  /** Dials at once for what waits for a domain; returns for how many hosts of ours something does. */
  retry(remote: string): number {
    let count = 0;
    for (const lane of this.#options.journal?.lanes() ?? []) {
      if (lane.remote !== remote || !this.#context.hosts.has(lane.local)) continue;
      const link = this.to(lane.local, remote);
      if (!(link instanceof RemoteLink)) continue;
      link.retry();
      count++;
    }
    return count;
  }

  /**
   * Resolves when other servers have proved all they were sent, and nothing is on its way to a stream; those that cannot
   * be reached are not waited for. Resolves when `signal` aborts, too.
   */
  async quiet(signal: AbortSignal): Promise<void> {
    const isBusy = (link: RemoteLink): boolean => link.state !== "backing-off" && link.outstanding > 0;
    while (!signal.aborted && [...this].some(isBusy)) await this.#context.clock.sleep(QUIET_LOOK_MS, signal);
  }

  /** How many have an open stream. */
  get open(): number {
    let open = 0;
    for (const link of this) if (link.state === "open") open++;
    return open;
  }

  /** Every link, for operators. */
  status(): readonly LinkStatus[] {
    return Array.from(this, ({ local, remote, state, queued, unproved }) => {
      return { local, remote, state, queued, unproved };
    });
  }

  /** None is forgotten any more, nor made for what waits in the journal; what else is made takes part in the drain. */
  drainBy(drain: Drain): void {
    this.#sweep?.cancel();
    this.#drain = drain;
  }

  /** Ends them all now; what has no fate is lost. */
  destroy(): void {
    this.#destroyed = true;
    this.#sweep?.cancel();
    for (const link of this) link.destroy();
  }

  #forgetIdle(): void {
    const now = this.#context.clock.now();
    for (const [name, link] of this.#links) {
      if (!link.isDisposable(now)) continue;
      this.#links.delete(name);
      this.#options.journal?.forget(link.local, link.remote);
    }
    this.wakeLanes();
    this.#sweep?.restart();
  }
}

function nameOf(local: string, remote: string): string {
  return `${local} ${remote}`;
}
