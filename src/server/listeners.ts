// The listening sockets of one side of the server, clients' or other servers': opened together, paused, passed on, closed,
// and opened again on the same ports when a stop is cancelled. Not for: the connections that come in.

import { listenerName } from "../net/inherited.ts";
import type { Accepted, Listener, ListenOptions, Network, PassableSocket } from "../net/transport.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";

/** Where to listen, and the option that says so. */
export interface Place {
  readonly options: ListenOptions & { readonly purpose: string };
  readonly option: string;
}

/** What listeners need. */
export interface ListenersOptions {
  readonly network: Network;
  readonly log: Logger;
  /** Told of each connection. */
  accept(accepted: Accepted): void;
}

/** Listening sockets that have their life in common. */
export class Listeners {
  #options: ListenersOptions;
  #open: { readonly listener: Listener; readonly purpose: string }[] = [];
  /** What is listened on, each with the port it got; kept while the sockets are closed. */
  #places: Place[] = [];
  /** Who wants nothing to be accepted. */
  #holders = new Set<string>();

  constructor(options: ListenersOptions) {
    this.#options = options;
  }

  /** What is listened for and where, as `purpose host:port`. */
  get names(): readonly string[] {
    return this.#open.map(({ listener: { host, port }, purpose }) => listenerName({ purpose, host, port }));
  }

  /** What other processes need to listen in our place. */
  get passable(): readonly PassableSocket[] {
    return this.#open.flatMap(({ listener }) => listener.passable ?? []);
  }

  /** Opens a socket for each place. Rejects with the error of the first that cannot be opened, the others closed again. */
  async open(places: readonly Place[]): Promise<void> {
    try {
      for (const place of places) await this.#listen(place);
    } catch (thrown) {
      await this.close();
      throw thrown;
    }
  }

  /** Takes in the accept backlog and closes the sockets. Connections live on. */
  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map(({ listener }) => listener.close()));
  }

  /**
   * Takes `close` back: listens again on the same addresses and ports. A port that somebody else has taken meanwhile is a
   * rejection; the other sockets are open then all the same.
   */
  async reopen(): Promise<void> {
    const places = this.#places;
    this.#places = [];
    const failures: unknown[] = [];
    for (const place of places) {
      try {
        await this.#listen(place);
      } catch (thrown) {
        this.#places.push(place);
        failures.push(thrown);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Accepts nothing, in the name of `holder`, on sockets opened later either: who connects waits in the backlog. */
  pause(holder: string): void {
    this.#holders.add(holder);
    for (const { listener } of this.#open) listener.pause();
  }

  /** Goes on after `pause`, once nobody holds it any more: those who wait are taken in. */
  resume(holder: string): void {
    this.#holders.delete(holder);
    if (this.#holders.size > 0) return;
    for (const { listener } of this.#open) listener.resume();
  }

  /** Another process has the sockets: lets go of ours, without taking in those who wait, who are its own. */
  passOn(): void {
    this.#places = [];
    for (const { listener } of this.#open.splice(0)) listener.passable?.release();
  }

  async #listen({ options, option }: Place): Promise<void> {
    const { network, log, accept } = this.#options;
    try {
      const listener = await network.listen(options, accept);
      if (this.#holders.size > 0) listener.pause();
      this.#open.push({ listener, purpose: options.purpose });
      this.#places.push({ options: { ...options, port: listener.port }, option });
    } catch (thrown) {
      const error = asError(thrown);
      error.message = `${error.message} (option ${option})`;
      log.error({ err: error, option }, "cannot listen");
      throw error;
    }
  }
}
