// The ways to the outside that every part of s2s uses: a connection to a domain within its time, and an XML stream with
// the configured bounds.

import type { Config } from "../../config/schema.ts";
import type { Dialled, Dialler } from "../../net/dial.ts";
import { createXmlStream } from "../../stream/xml-stream.ts";
import type { Clock } from "../../util/clock.ts";
import { asError } from "../../util/errors.ts";
import type { TimerWheel } from "../../util/timer-wheel.ts";
import { NS } from "../../xml/ns.ts";
import type { Connected, OpenStream } from "./context.ts";

/** Connects within `timeoutMs`; what takes longer is unreachable. */
export async function connectInTime(
  dialler: Dialler,
  domain: string,
  local: string,
  signal: AbortSignal,
  wheel: TimerWheel,
  timeoutMs: number,
): Promise<Connected> {
  const limit = new AbortController();
  const stop = (): void => limit.abort();
  signal.addEventListener("abort", stop);
  const timer = wheel.add(timeoutMs, stop);
  try {
    if (signal.aborted) stop();
    const dialled: Dialled = await dialler.connect(domain, limit.signal, local);
    return dialled;
  } catch (thrown) {
    return { failure: "unreachable", reason: limit.signal.aborted ? "no connection in time" : asError(thrown).message };
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", stop);
  }
}

/** Returns how s2s puts XML streams on transports, each with the bounds that are configured when it begins. */
export function streamOpener(clock: Clock, config: Config["s2s"]): OpenStream {
  return (transport, handler) => {
    const limits = {
      maxStanzaBytes: config.max_stanza_size,
      maxDepth: config.max_depth,
      maxAttributes: config.max_attributes,
      rate: config.rate,
      burst: config.burst,
    };
    const closeTimeoutMs = config.close_timeout;
    return createXmlStream({ transport, clock, contentNamespace: NS.server, limits, closeTimeoutMs, handler });
  };
}
