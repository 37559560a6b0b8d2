// Those who watch the life cycle by HTTP: each has the events of the operation `watch`, and all of them the same snapshot each
// second while there is anybody. Bounded in number; what one may leave unread is bounded by event-stream.ts.

import type { IncomingMessage, ServerResponse } from "node:http";
import { OPERATION_NAMES } from "../../config/operation-names.ts";
import type { Operations } from "../../operations/operations.ts";
import type { Clock, Timer } from "../../util/clock.ts";
import { callerFor, goneSignal } from "./caller.ts";
import { EventStream, type StreamFormat } from "./event-stream.ts";
import type { TokenHolder } from "./tokens.ts";

const SNAPSHOT_MS = 1_000;

/** What watchers need. */
export interface WatchersOptions {
  readonly operations: Pick<Operations, "perform">;
  /** Returns what is told each second. */
  readonly snapshot: () => unknown;
  readonly max: number;
  readonly clock: Clock;
}

/** Everybody who watches. */
export class Watchers {
  #options: WatchersOptions;
  #streams = new Set<EventStream>();
  #timer: Timer | undefined;

  constructor(options: WatchersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Whether one more is too many. */
  get isFull(): boolean {
    return this.#streams.size >= this.#options.max;
  }

  /**
   * Tells the client everything from now on, beginning with what it may do, a snapshot and the state, so that one that comes
   * again has missed nothing that counts. Resolves when it has gone away or the server has stopped.
   */
  async serve(
    request: IncomingMessage,
    response: ServerResponse,
    holder: TokenHolder,
    format: StreamFormat,
  ): Promise<void> {
    const { operations } = this.#options;
    const stream = new EventStream(response, format);
    const signal = goneSignal(request, response);
    this.#streams.add(stream);
    stream.begin();
    const allowed = OPERATION_NAMES.filter((name) => holder.may(name));
    stream.event("hello", JSON.stringify({ name: holder.name, allowed }));
    stream.event("status", JSON.stringify(this.#options.snapshot()));
    this.#tick();
    const emit = (event: string, data: unknown): void => stream.event(event, JSON.stringify(data));
    const outcome = await operations.perform("watch", {}, { caller: callerFor(holder), emit, signal });
    this.#streams.delete(stream);
    if (this.#streams.size === 0) this.#stop();
    // How it stands in the end, for who draws it.
    stream.event("status", JSON.stringify(this.#options.snapshot()));
    stream.event("end", JSON.stringify(outcome.ok ? null : outcome.error));
    stream.end();
  }

  /** Nobody is told anything any more but what operations say. */
  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tick(): void {
    this.#timer ??= this.#options.clock.setTimer(SNAPSHOT_MS, () => {
      this.#timer = undefined;
      const json = JSON.stringify(this.#options.snapshot());
      for (const stream of this.#streams) stream.event("status", json);
      if (this.#streams.size > 0) this.#tick();
    });
  }
}
