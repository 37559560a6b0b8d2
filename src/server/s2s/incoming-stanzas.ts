// The stanzas of an inbound stream: from whom they may come, and when one counts as handled (XEP-0198). No stanza passes
// unless the domain it says it is from was authenticated on this very stream for the host it is to, and none is counted
// before `deliver` has taken responsibility for it.

import { Jid } from "../../jid/jid.ts";
import { describeStanza, Stanza } from "../../stanza/stanza.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import { asError } from "../../util/errors.ts";
import { type Element, withAttrs, xml } from "../../xml/element.ts";
import type { Acknowledger } from "./acknowledger.ts";
import type { InboundOwner, S2sContext } from "./context.ts";
import { domainWithin } from "./elements.ts";

export interface IncomingStanzasOptions {
  readonly context: S2sContext;
  readonly acks: Acknowledger;
  readonly owner: InboundOwner;
}

/** Checks the stanzas of one stream and hands them over. */
export class IncomingStanzas {
  #context: S2sContext;
  #acks: Acknowledger;
  #owner: InboundOwner;
  #lastAt: number;
  #delivering: Promise<void> | undefined;

  constructor({ context, acks, owner }: IncomingStanzasOptions) {
    this.#context = context;
    this.#acks = acks;
    this.#owner = owner;
    this.#lastAt = context.clock.now();
  }

  /** When the last one came, by the clock. */
  get lastAt(): number {
    return this.#lastAt;
  }

  /** Settles when the stanza that is in work has been taken over; undefined when none is. Never rejects. */
  get delivering(): Promise<void> | undefined {
    return this.#delivering;
  }

  /** Takes a stanza of the peer; a promise is to be waited for before the next one. */
  onElement(element: Element): void | Promise<void> {
    const owner = this.#owner;
    if (owner.pairCount === 0) return owner.end("not-authorized");
    const from = Jid.parse(element.attrs.from ?? "");
    const to = Jid.parse(element.attrs.to ?? "");
    const remote = from?.domain ?? domainWithin(element.attrs.from ?? "");
    const local = to?.domain ?? domainWithin(element.attrs.to ?? "");
    if (remote === undefined || local === undefined) return owner.end("improper-addressing");
    if (!owner.isPair(remote, local)) {
      return owner.end(this.#context.hosts.has(local) ? "invalid-from" : "host-unknown");
    }
    this.#lastAt = this.#context.clock.now();
    if (from === undefined || to === undefined) return this.#onMalformed(element, from, local);
    const own = { from: from.toString(), to: to.toString() };
    const isClean = element.attrs.xmlns === undefined && element.attrs.from === own.from && element.attrs.to === own.to;
    return this.#deliver(new Stanza(isClean ? element : withAttrs(element, { ...own, xmlns: undefined }), from, to));
  }

  /**
   * An address whose domain is in order and whose other parts are not. RFC 6120 §4.9.3.7 would end the stream, but what
   * one user of a server calls himself must not cost the others their stream: the stanza alone is refused (§8.3.3.8).
   */
  #onMalformed(element: Element, from: Jid | undefined, local: string): void | Promise<void> {
    const { type, id } = element.attrs;
    this.#context.log.debug({ from: element.attrs.from, to: element.attrs.to }, "s2s: bad address");
    if (from === undefined || type === "error" || type === "result") return this.#acks.count();
    const host = Jid.of("", local);
    const attrs = { type: "error", id, from: local, to: from.toString() };
    const error = xml(element.name, attrs, new StanzaError("jid-malformed").toElement());
    return this.#deliver(new Stanza(error, host, from));
  }

  #deliver(stanza: Stanza): void | Promise<void> {
    try {
      const pending = this.#context.deliver(stanza);
      if (pending !== undefined) {
        this.#delivering = this.#deliverLater(stanza, pending);
        return this.#delivering;
      }
      this.#acks.count();
    } catch (thrown) {
      this.#notHandled(stanza, thrown);
    }
    return undefined;
  }

  async #deliverLater(stanza: Stanza, pending: Promise<void>): Promise<void> {
    try {
      await pending;
      this.#acks.count();
    } catch (thrown) {
      this.#notHandled(stanza, thrown);
    } finally {
      this.#delivering = undefined;
    }
  }

  /** Not counted in `h`, and nothing after it could be: the stream ends, and the peer knows which stanzas to look after. */
  #notHandled(stanza: Stanza, thrown: unknown): void {
    const fields = { stanza: describeStanza(stanza), error: asError(thrown).message };
    this.#context.log.error(fields, "s2s: a stanza was not handled");
    this.#owner.end("internal-server-error");
  }
}
