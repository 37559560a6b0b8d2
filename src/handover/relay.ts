// What still reaches a predecessor after it has passed the service on, and is the successor's affair: it goes over the
// channel, each value with a number, and is answered when the successor has taken it over. Values start in the order in
// which they were sent; those that take longer do not hold up the others.

import { asError } from "../util/errors.ts";
import { type Channel, encode } from "./channel.ts";
import { clip, type FromPredecessor, type FromSuccessor, handoverError } from "./protocol.ts";

/** Takes over a value; a promise means that it has not been taken over yet. */
export type Take = (value: unknown) => void | Promise<void>;

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** The predecessor's end. */
export class Relay {
  #channel: Channel<FromSuccessor>;
  #waiting = new Map<number, Waiting>();
  #next = 1;
  #isOver = false;

  /** Takes the channel over, in both directions. */
  constructor(channel: Channel<FromSuccessor>) {
    this.#channel = channel;
    void this.#listen();
  }

  /**
   * Passes `value` on, which must be plain JSON, and resolves when the successor has taken it over. Rejects with
   * `MORENDO_HANDOVER_GONE` when the successor has gone, and with `MORENDO_HANDOVER_REFUSED` when it could not.
   */
  send(value: unknown): Promise<void> {
    if (this.#isOver) return Promise.reject(gone());
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      // Room is not waited for: whoever sends waits for the answer, and that bounds what is under way.
      this.#channel.post(encode({ type: "relay", id, value }));
    });
  }

  /** Ends it; what has not been answered is rejected. */
  close(): void {
    this.#channel.destroy();
    this.#over();
  }

  async #listen(): Promise<void> {
    for (;;) {
      const incoming = await this.#channel.receive();
      if (incoming.kind !== "message" || incoming.message.type !== "taken") break;
      const { id, why } = incoming.message;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (why === undefined) waiting?.resolve();
      else waiting?.reject(handoverError("REFUSED", why));
    }
    this.#over();
  }

  #over(): void {
    this.#isOver = true;
    for (const { reject } of this.#waiting.values()) reject(gone());
    this.#waiting.clear();
  }
}

/** The successor's end: gives each value to `take` until the predecessor has gone, then resolves. Never rejects. */
export async function takeRelayed(channel: Channel<FromPredecessor>, take: Take): Promise<void> {
  for (;;) {
    const incoming = await channel.receive();
    if (incoming.kind !== "message" || incoming.message.type !== "relay") break;
    const { id, value } = incoming.message;
    const answer = (why?: string): void => {
      channel.post(encode({ type: "taken", id, ...(why === undefined ? {} : { why: clip(why) }) }));
    };
    const failed = (thrown: unknown): void => answer(asError(thrown).message || "failed");
    try {
      const taken = take(value);
      if (taken === undefined) answer();
      else taken.then(() => answer(), failed);
    } catch (thrown) {
      failed(thrown);
    }
  }
  channel.destroy();
}

function gone(): Error {
  return handoverError("GONE", "the successor has gone");
}
