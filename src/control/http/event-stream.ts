// One answer that goes on for long: events, as server-sent events or as lines of JSON. Bounded: who does not keep up is
// dropped, and nobody waits for anybody.

import type { ServerResponse } from "node:http";
import { begin } from "./answers.ts";

/** What may wait for a reader, in bytes, before it is dropped. */
const MAX_UNREAD = 512 * 1024;

export type StreamFormat = "events" | "lines";

/** Returns the format that a client with this header `Accept` wants, if it wants a stream at all. */
export function streamFormat(accept: string | undefined): StreamFormat | undefined {
  const wanted = (accept ?? "").toLowerCase();
  if (wanted.includes("text/event-stream")) return "events";
  return wanted.includes("application/x-ndjson") || wanted.includes("application/ndjson") ? "lines" : undefined;
}

/** An answer in pieces. */
export class EventStream {
  #response: ServerResponse;
  #format: StreamFormat;

  constructor(response: ServerResponse, format: StreamFormat) {
    this.#response = response;
    this.#format = format;
  }

  /** Whether anything has been written. */
  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  /** Writes the head, so that the client knows it has been heard. */
  begin(): void {
    if (this.hasBegun || this.#response.destroyed) return;
    const type = this.#format === "events" ? "text/event-stream; charset=utf-8" : "application/x-ndjson; charset=utf-8";
    // Proxies would keep the pieces back until they have a lot of them.
    begin(this.#response, 200, { "Content-Type": type, "X-Accel-Buffering": "no" });
    this.#response.flushHeaders();
  }

  /** Writes an event whose data is JSON already. */
  event(name: string, json: string): void {
    this.#write(
      this.#format === "events"
        ? `event: ${name}\ndata: ${json}\n\n`
        : `{"event":${JSON.stringify(name)},"data":${json}}\n`,
    );
  }

  /** Shows the client, and whatever is in between, that there is somebody. */
  heartbeat(): void {
    this.#write(this.#format === "events" ? ":\n\n" : "\n");
  }

  /** Ends the answer. */
  end(): void {
    this.begin();
    this.#response.end();
  }

  #write(text: string): void {
    this.begin();
    if (!this.#response.writable) return;
    this.#response.write(text);
    if (this.#response.writableLength > MAX_UNREAD) this.#response.destroy();
  }
}
