// Pings to other domains whose answers prove that everything written before has been handled (XEP-0199 as a barrier).
// The answer comes back on another stream, so the router shows us IQ answers to our hosts: see `answer`.

import type { Stanza } from "../../stanza/stanza.ts";
import type { Random } from "../../util/random.ts";

interface Pending {
  readonly local: string;
  readonly remote: string;
  readonly answered: () => void;
}

/** The pings that have no answer yet. Each stream has at most one, so their number is bounded by the streams'. */
export class Pings {
  #pending = new Map<string, Pending>();
  #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Makes an identifier that nobody can guess, and calls `answered` once when `remote` answers to it. */
  open(local: string, remote: string, answered: () => void): string {
    const id = this.#random.id();
    this.#pending.set(id, { local, remote, answered });
    return id;
  }

  /** Forgets a ping; its answer, if it comes, is then nobody's. */
  forget(id: string): void {
    this.#pending.delete(id);
  }

  /**
   * Looks at an IQ result or error. True when it answers one of our pings: the right identifier, from the domain that
   * was asked, to the host that asked. An error is as good as a result: the peer has handled the ping.
   */
  answer(stanza: Stanza): boolean {
    if (stanza.kind !== "iq" || (stanza.type !== "result" && stanza.type !== "error")) return false;
    const id = stanza.id;
    const pending = id === undefined ? undefined : this.#pending.get(id);
    if (id === undefined || pending === undefined) return false;
    if (stanza.from.toString() !== pending.remote || stanza.to?.toString() !== pending.local) return false;
    this.#pending.delete(id);
    pending.answered();
    return true;
  }
}
