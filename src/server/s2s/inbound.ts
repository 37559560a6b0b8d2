// The side of s2s that others connect to: the listening sockets, and the streams that came in by them. Not for: what is said
// on a stream (incoming-stream.ts), nor how they end together (drain.ts).

import type { Accepted, Network } from "../../net/transport.ts";
import type { Progress } from "../../shutdown/types.ts";
import { asError } from "../../util/errors.ts";
import { splitAddress } from "../address.ts";
import { Listeners } from "../listeners.ts";
import { allOf, type Waiting } from "../waiting.ts";
import type { S2sContext } from "./context.ts";
import { DialbackVerifier } from "./dialback-verifier.ts";
import type { Drain } from "./drain.ts";
import { IncomingStream } from "./incoming-stream.ts";

/** Listens, and owns the inbound streams. */
export class Inbound {
  readonly listeners: Listeners;
  #context: S2sContext;
  #verifier: DialbackVerifier;
  #streams = new Set<IncomingStream>();
  #drain: Drain | undefined;
  #destroyed = false;

  constructor(context: S2sContext, network: Network) {
    this.#context = context;
    this.#verifier = new DialbackVerifier(context);
    this.listeners = new Listeners({ network, log: context.log, accept: (accepted) => this.#accept(accepted) });
  }

  /** Listens on every configured address. Rejects when one cannot be had; the others are closed again. */
  async start(): Promise<void> {
    await this.listeners.open(
      this.#context.config.listen.map((address) => ({
        options: { ...splitAddress(address), purpose: "s2s" },
        option: "s2s.listen",
      })),
    );
  }

  [Symbol.iterator](): Iterator<IncomingStream> {
    return this.#streams.values();
  }

  /** How many streams there are. */
  get size(): number {
    return this.#streams.size;
  }

  /** The values of the configuration have changed. */
  reconfigured(): void {
    this.#verifier.reconfigured();
  }

  /** Whether stanzas from `remote` to `local` come in on one of them. */
  isPair(remote: string, local: string): boolean {
    for (const stream of this.#streams) if (stream.isPair(remote, local)) return true;
    return false;
  }

  /**
   * Takes nothing of what other servers send, in the name of `holder`; resolves when nothing that had come is at work any
   * more. `tell` hears of whom it waits for.
   */
  async hold(holder: string, tell?: (progress: Progress) => void): Promise<void> {
    this.listeners.pause(holder);
    const still: Waiting[] = [];
    for (const stream of this.#streams) {
      const done = stream.hold(holder);
      // Nothing is at work in a handshake, and it may take long.
      if (!stream.isHandshaking) still.push({ name: stream.domains[0] ?? "a server that has not authenticated", done });
    }
    await allOf(still, tell);
  }

  /** Goes on after `hold`, unless somebody else holds too. */
  release(holder: string): void {
    this.listeners.resume(holder);
    for (const stream of this.#streams) stream.release(holder);
  }

  /** What comes from now on takes part in the drain. */
  drainBy(drain: Drain): void {
    this.#drain = drain;
  }

  /** Ends everything now. */
  destroy(): void {
    this.#destroyed = true;
    for (const stream of this.#streams) stream.destroy();
    this.listeners.close().catch((thrown: unknown) => {
      this.#context.log.error({ error: asError(thrown).message }, "s2s: closing a listener failed");
    });
  }

  #accept(accepted: Accepted): void {
    if (this.#destroyed || !this.#makeRoom()) {
      this.#context.log.warn({ address: accepted.transport.remoteAddress }, "s2s: too many inbound connections");
      accepted.ready.catch(() => undefined);
      accepted.transport.destroy();
      return;
    }
    const onOver = (stream: IncomingStream): void => {
      this.#streams.delete(stream);
    };
    const stream = new IncomingStream({ context: this.#context, accepted, verifier: this.#verifier, onOver });
    this.#streams.add(stream);
    this.#drain?.onAccepted(stream);
  }

  /**
   * Whether one more inbound connection can be taken. When all places are taken, the stranger who has had the longest
   * time to say who it is makes room, so that connections which say nothing cannot keep other servers out.
   */
  #makeRoom(): boolean {
    if (this.#streams.size < this.#context.config.max_connections) return true;
    for (const stream of this.#streams) {
      if (stream.isAuthenticated) continue;
      const fields = { connections: this.#streams.size };
      this.#context.log.warn(fields, "s2s: a connection that has not authenticated makes room for another");
      this.#streams.delete(stream);
      stream.destroy();
      return true;
    }
    return false;
  }
}
