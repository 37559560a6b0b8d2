// How many connections there may be, in all and from one address; those that are one too many are told so, up to a number.

import type { Config } from "../../config/schema.ts";
import { StreamError } from "../../stanza/stream-error.ts";

/** How many of those turned away at a time are told why; the others are cut off at once. */
const MAX_TURNED_AWAY = 256;

/** What becomes of a connection. */
export type Admission = { readonly kind: "admitted" } | { readonly kind: "refused"; readonly error: StreamError };

/** Counts connections. */
export class ConnectionLimits {
  #config: Pick<Config["c2s"], "max_connections" | "max_connections_per_address">;
  #admitted = 0;
  /** Those that are over a limit and only told so. They count against no limit themselves. */
  #turnedAway = 0;
  #byAddress = new Map<string, number>();

  constructor(config: Pick<Config["c2s"], "max_connections" | "max_connections_per_address">) {
    this.#config = config;
  }

  /**
   * Counts one more connection from `group`, and returns whether it may stay; `leave` follows when it is gone. Undefined,
   * and nothing is counted, when there is not even room to tell it why not. With `refusal` it is to be refused anyway.
   */
  enter(group: string, refusal: StreamError | undefined): Admission | undefined {
    const error = refusal ?? this.#refusal(group);
    if (error === undefined) {
      this.#admitted++;
      this.#byAddress.set(group, (this.#byAddress.get(group) ?? 0) + 1);
      return { kind: "admitted" };
    }
    if (refusal === undefined && this.#turnedAway >= MAX_TURNED_AWAY) return undefined;
    this.#turnedAway++;
    return { kind: "refused", error };
  }

  /** A connection from `group` is gone. */
  leave(group: string, { kind }: Admission): void {
    if (kind === "refused") {
      this.#turnedAway--;
      return;
    }
    this.#admitted--;
    const left = (this.#byAddress.get(group) ?? 0) - 1;
    if (left > 0) this.#byAddress.set(group, left);
    else this.#byAddress.delete(group);
  }

  #refusal(group: string): StreamError | undefined {
    const { max_connections: most, max_connections_per_address: mostOfOne } = this.#config;
    if (this.#admitted >= most) return new StreamError("resource-constraint", "too many connections");
    return (this.#byAddress.get(group) ?? 0) < mostOfOne
      ? undefined
      : new StreamError("policy-violation", "too many connections from this address");
  }
}
