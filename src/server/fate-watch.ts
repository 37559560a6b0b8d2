// Tells whoever sent a stanza what became of it: stands between the parts that settle obligations and the tally. Costs
// one look into a map for each settled stanza that nobody asked about. Not for: what the fates are (src/shutdown/types.ts).

import type { Fate, ObligationSink } from "../shutdown/types.ts";
import type { Stanza } from "../stanza/stanza.ts";
import type { Router } from "./router.ts";

/** Told once what became of a stanza: its fate at another server, or that it was handled here. */
export type Settled = (fate: Fate | "handled") => void;

/** Passes fates on to the tally, and to whoever asked for those of single stanzas. */
export class FateWatch implements ObligationSink {
  #sink: ObligationSink;
  #asked = new WeakMap<object, Settled>();

  constructor(sink: ObligationSink) {
    this.#sink = sink;
  }

  settle(destination: string, fate: Fate, detail: Parameters<ObligationSink["settle"]>[2]): void {
    this.#sink.settle(destination, fate, detail);
    const { subject } = detail;
    if (typeof subject !== "object" || subject === null) return;
    const settled = this.#asked.get(subject);
    if (settled === undefined) return;
    this.#asked.delete(subject);
    settled(fate);
  }

  /** Routes `stanza`, and tells `settled` once what became of it. */
  route(router: Router, stanza: Stanza, settled: Settled): void | Promise<void> {
    if (stanza.to !== undefined && !router.isOurs(stanza.to)) {
      this.#asked.set(stanza, settled);
      return router.route(stanza);
    }
    const wait = router.route(stanza);
    if (wait === undefined) {
      settled("handled");
      return undefined;
    }
    return wait.then(
      () => settled("handled"),
      (thrown: unknown) => {
        settled("lost");
        throw thrown;
      },
    );
  }
}
