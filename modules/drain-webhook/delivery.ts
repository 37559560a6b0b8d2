// Delivers one message of the webhook: attempts with pauses between them, within the time there is and never longer.

import type { Clock, Random } from "../../src/module.ts";
import { type Post, post } from "./post.ts";

/** How patient a delivery is. */
export interface Patience {
  /** How often to try. */
  readonly attempts: number;
  /** How long one attempt may take. */
  readonly timeoutMs: number;
  /** The pause after the first attempt; each further one is twice as long. */
  readonly pauseMs: number;
}

/** What a delivery works with. */
export interface Delivery {
  readonly patience: Patience;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborts when the time for all attempts is over. */
  readonly signal: AbortSignal;
  /** The milliseconds left for all attempts. */
  readonly remaining: () => number;
}

/** Resolves when the message was taken (2xx); rejects with the reason of the last attempt when it was not. */
export async function deliver(message: Post, { patience, clock, random, signal, remaining }: Delivery): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const failure = await attemptOnce(message, patience.timeoutMs, clock, signal);
    if (failure === undefined) return;
    const { reason, isFinal } = failure;
    const tried = `${attempt} ${attempt === 1 ? "attempt" : "attempts"}`;
    // Only the origin: the rest of an address may be a secret, and reports are read by many.
    const error = new Error(`POST to ${new URL(message.url).origin} failed after ${tried}: ${reason}`);
    if (isFinal || attempt >= patience.attempts || signal.aborted) throw error;
    const pause = patience.pauseMs * 2 ** (attempt - 1);
    const wait = pause / 2 + random.below(Math.ceil(pause / 2) + 1);
    // A pause that outlasts the time would only put off saying what is known already.
    if (wait >= remaining()) throw error;
    await clock.sleep(wait, signal);
    if (signal.aborted) throw error;
  }
}

interface Failure {
  readonly reason: string;
  /** Whether trying again is of no use. */
  readonly isFinal: boolean;
}

async function attemptOnce(
  message: Post,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const own = new AbortController();
  const timer = clock.setTimer(timeoutMs, () => own.abort());
  try {
    const status = await post(message, AbortSignal.any([signal, own.signal]));
    if (status >= 200 && status < 300) return undefined;
    return { reason: `status ${status}`, isFinal: !isWorthAnother(status) };
  } catch (thrown) {
    return { reason: thrown instanceof Error ? thrown.message : String(thrown), isFinal: false };
  } finally {
    timer.cancel();
  }
}

/** A server in trouble, or one that asks for patience (RFC 9110 §15.5.9, RFC 6585 §4), may take it the next time. */
function isWorthAnother(status: number): boolean {
  return status >= 500 || status === 408 || status === 429;
}
