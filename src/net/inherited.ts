// Listening sockets that came from elsewhere: from a predecessor, which names each by what it is for and its address, or
// from a service manager, which names them by what they are for. Whoever wants to listen asks here before it binds.

import { close } from "node:fs";
import type { ListenOptions } from "./transport.ts";

/** A listening socket of this process that was opened by another one. */
export interface InheritedListener {
  readonly name: string;
  readonly fd: number;
}

/** A socket that was claimed; `isAsAsked`: it is known to listen where it was asked to. */
export interface ClaimedListener {
  readonly fd: number;
  readonly isAsAsked: boolean;
}

/** Returns the name under which a successor finds the listener for `options`: what it is for, and where it was to listen. */
export function listenerName({ purpose = "tcp", host, port }: ListenOptions): string {
  return `${purpose} ${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** The inherited listeners that nobody has claimed yet. */
export class InheritedListeners {
  #unclaimed: InheritedListener[];

  constructor(listeners: readonly InheritedListener[]) {
    this.#unclaimed = [...listeners];
  }

  /**
   * Takes the socket for `options` out, if there is one: the one that a predecessor opened for the same purpose and
   * address; else the first one that a service manager named after the purpose, whose address is the manager's affair.
   */
  claim(options: ListenOptions): ClaimedListener | undefined {
    const wanted = listenerName(options);
    const same = this.#take(wanted);
    if (same !== undefined) return { fd: same.fd, isAsAsked: true };
    const activated = options.purpose === undefined ? undefined : this.#take(options.purpose);
    return activated && { fd: activated.fd, isAsAsked: false };
  }

  /** Closes those that nobody has claimed, because the configuration has changed, and returns their names. */
  async closeUnclaimed(): Promise<readonly string[]> {
    const left = this.#unclaimed.splice(0);
    await Promise.all(left.map(({ fd }) => new Promise<void>((resolve) => close(fd, () => resolve()))));
    return left.map(({ name }) => name);
  }

  #take(wanted: string): InheritedListener | undefined {
    const at = this.#unclaimed.findIndex(({ name }) => name === wanted);
    return at < 0 ? undefined : this.#unclaimed.splice(at, 1)[0];
  }
}
